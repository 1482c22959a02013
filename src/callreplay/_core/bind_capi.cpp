#include <cstddef>

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
    CR_CAPI_MAJOR,
    CR_CAPI_MINOR,
    sizeof(cr_capi),
    cr_status_message,
    cr_leg_check,
    cr_conveyor_create,
    cr_conveyor_destroy,
    cr_conveyor_add,
    cr_conveyor_step,
    cr_conveyor_counts,
    cr_conveyor_occupancy,
    cr_renderer_create,
    cr_renderer_destroy,
    cr_renderer_read,
    cr_renderer_seek,
    cr_renderer_position,
    cr_wav_header,
    cr_wav_encode,
    decode_ulaw,
    decode_alaw,
    cr_renderer_read_f32,
    cr_renderer_counts,
    cr_renderer_group_create,
    cr_renderer_group_destroy,
    cr_renderer_group_add,
    cr_renderer_group_read,
    cr_renderer_group_counts,
    cr_renderer_group_occupancy,
    cr_mixer_create,
    cr_mixer_destroy,
    cr_mixer_add_track,
    cr_mixer_push,
    cr_mixer_finish,
    cr_mixer_read,
    cr_mixer_position,
    cr_speex_stream_create,
    cr_speex_stream_destroy,
    cr_speex_stream_push,
    cr_speex_stream_end,
    cr_speex_stream_octets,
    cr_speex_stream_drop,
    cr_speex_batch_create,
    cr_speex_batch_destroy,
    cr_speex_encode,
    cr_speex_estimate,
    cr_peaks_create,
    cr_peaks_create_fit,
    cr_peaks_destroy,
    cr_peaks_write,
    cr_peaks_count,
    cr_peaks_data,
    cr_draw_band,
    cr_speech_create,
    cr_speech_destroy,
    cr_speech_write,
    cr_speech_write_channel,
    cr_speech_finish,
    cr_speech_take,
    cr_speech_settled,
    cr_isa_active,
    cr_isa_forced,
    cr_isa_available,
    cr_isa_name,
    cr_wav_pad,
    cr_renderer_group_waiting,
    cr_peaks8,
    cr_draw_marks,
    cr_png_room,
    cr_png_pack,
    cr_speech_write_pair,
};

constexpr size_t place_of(size_t function) {
  return 2 * sizeof(uint32_t) + sizeof(size_t) + function * sizeof(void *);
}
static_assert(offsetof(cr_capi, decode_alaw) == place_of(16), "what 1.0 has stays where it is");
static_assert(offsetof(cr_capi, speech_settled) == place_of(55), "what 1.1 has stays where it is");

}  // namespace

void bind_capi(py::module_ &m) {
  // The capsule keeps no state: the table is constant for the life of the process.
  m.attr("_C_API") = py::capsule(static_cast<const void *>(&kApi), CR_CAPI_NAME);
}
