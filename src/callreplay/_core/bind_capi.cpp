#include "bind.h"
#include "callreplay/capi.h"

void bind_capi(py::module_ &m) {
  // The name is the path of the attribute, as PyCapsule_Import wants it.
  m.attr("_C_API_v1") = py::capsule(cr_capi_table(), "callreplay._core._C_API_v1");
}
