#pragma once
#include "cub/detail/device.h"
