#include "bind.h"

void bind_decode(py::module_ &) {}
