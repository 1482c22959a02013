#include "bind.h"

void raise_on_error(cr_status status, const std::string &detail) {
  if (status == CR_OK) {
    return;
  }
  py::gil_scoped_acquire gil;
  py::module_::import("callreplay.errors").attr("raise_status")(static_cast<int>(status), detail);
}

void bind_isa(py::module_ &m) {
  m.def(
      "isa_active", [] { return cr_isa_name(cr_isa_active()); },
      "Name of the instruction set that the kernels use: scalar, baseline, neon, avx2 or avx512.");
  m.def(
      "isa_forced", [] { return cr_isa_forced() != 0; }, "Whether CALLREPLAY_SIMD decided.");
  m.def(
      "isa_available",
      [] {
        py::list names;
        for (int isa = CR_ISA_SCALAR; isa <= CR_ISA_AVX512; ++isa) {
          if (cr_isa_available(static_cast<cr_isa>(isa))) {
            names.append(cr_isa_name(static_cast<cr_isa>(isa)));
          }
        }
        return names;
      },
      "Names of the instruction sets that this build has and this CPU can run.");
  py::list table;
#define CR_STATUS(name, value, python, message) table.append(py::make_tuple(value, #name, #python, message));
#include "callreplay/status.def"
#undef CR_STATUS
  m.attr("STATUS_TABLE") = table;
}
