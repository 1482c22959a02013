#include "bind.h"

void bind_speex(py::module_ &) {}
