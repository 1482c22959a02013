#include "callreplay/capi.h"

extern "C" const cr_capi *cr_capi_table(void) {
  static const cr_capi table = {
      CR_CAPI_VERSION,       sizeof(cr_capi),    cr_status_message,   cr_isa_active,    cr_isa_name,
      cr_leg_check,          cr_conveyor_create, cr_conveyor_destroy, cr_conveyor_add,  cr_conveyor_step,
      cr_conveyor_occupancy, cr_renderer_create, cr_renderer_destroy, cr_renderer_read, cr_renderer_seek,
      cr_peaks_create,       cr_peaks_destroy,   cr_peaks_write,      cr_peaks_count,   cr_peaks_data,
      cr_wav_header,         cr_wav_encode,
  };
  return &table;
}
