#pragma once
#include "algorithms.h"
#include "random.h"
