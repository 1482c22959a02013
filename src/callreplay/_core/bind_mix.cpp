#include "bind.h"

void bind_mix(py::module_ &) {}
