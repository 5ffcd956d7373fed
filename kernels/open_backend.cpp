#include "kernels/open_backend.h"
