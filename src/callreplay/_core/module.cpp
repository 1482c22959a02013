// callreplay._core: the native engine for Python. Arrays in and out, GIL, status -> exception. No logic.
#include "bind.h"

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
  m.doc() = "Native engine of callreplay. Use the modules of callreplay, not this one.";
  bind_isa(m);
  bind_decode(m);
  bind_mix(m);
  bind_speex(m);
  bind_raster(m);
  bind_speech(m);
  bind_capi(m);
}
