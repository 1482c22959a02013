#include "bind.h"
#include "capi.h"
#include "decode/kernels.h"

namespace {

const callreplay::G711Kernel &g711() {
  static const callreplay::G711Kernel *const kernel = [] {
    const auto *active = callreplay::g711_kernel(cr_isa_active());
    return active != nullptr ? active : callreplay::g711_kernel(CR_ISA_SCALAR);
  }();
  return *kernel;
}

void decode_ulaw(const uint8_t *octets, int16_t *pcm, size_t count) {
  g711().decode_ulaw(octets, pcm, count);
}
void decode_alaw(const uint8_t *octets, int16_t *pcm, size_t count) {
  g711().decode_alaw(octets, pcm, count);
}

constexpr cr_capi kApi = {
    CR_CAPI_MAJOR,         CR_CAPI_MINOR,       sizeof(cr_capi),     cr_status_message, cr_leg_check,
    cr_conveyor_create,    cr_conveyor_destroy, cr_conveyor_add,     cr_conveyor_step,  cr_conveyor_counts,
    cr_conveyor_occupancy, cr_renderer_create,  cr_renderer_destroy, cr_renderer_read,  cr_renderer_seek,
    cr_renderer_position,  cr_wav_header,       cr_wav_encode,       decode_ulaw,       decode_alaw,
};

}  // namespace

void bind_capi(py::module_ &m) {
  // The capsule keeps no state: the table is constant for the life of the process.
  m.attr("_C_API") = py::capsule(static_cast<const void *>(&kApi), CR_CAPI_NAME);
}
