#include "bind.h"

void bind_raster(py::module_ &) {}
