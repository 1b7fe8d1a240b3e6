// What the headers of cuda/std give: the library under this name, too.
#pragma once
#include "library.h"
namespace cuda {
namespace std = ::std;
}
