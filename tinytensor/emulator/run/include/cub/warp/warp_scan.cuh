#pragma once
#include "cub/detail/warp.h"
