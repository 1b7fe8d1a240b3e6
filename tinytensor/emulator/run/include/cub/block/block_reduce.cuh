#pragma once
#include "cub/detail/block.h"
