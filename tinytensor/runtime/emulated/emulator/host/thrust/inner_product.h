#pragma once
#include "detail/all.h"
