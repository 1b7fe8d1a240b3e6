// Handles alone, for programs whose common header makes one; products are those of cublas_v2.h.
#pragma once
#include "cublas_v2.h"

typedef cublasHandle_t cublasLtHandle_t;
#define cublasLtCreate cublasCreate_v2
#define cublasLtDestroy cublasDestroy_v2
