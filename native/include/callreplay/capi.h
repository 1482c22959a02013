/* The C face as one table of functions, for extension modules that find it at run time (in Python: the
 * capsule callreplay._core._C_API_v1) instead of linking. Members are appended, never moved: check `size`
 * before using a member that came after the first release. */
#ifndef CALLREPLAY_CAPI_H
#define CALLREPLAY_CAPI_H

#include "callreplay/callreplay.h"
#include "callreplay/wav.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CR_CAPI_VERSION 1

typedef struct cr_capi {
  uint32_t version; /* CR_CAPI_VERSION; another one is another table */
  uint32_t size;    /* sizeof(cr_capi) of the library that made it */
  const char *(*status_message)(cr_status);
  cr_isa (*isa_active)(void);
  const char *(*isa_name)(cr_isa);
  cr_status (*leg_check)(const cr_leg *, size_t *);
  cr_status (*conveyor_create)(uint32_t, uint32_t, cr_conveyor **);
  void (*conveyor_destroy)(cr_conveyor *);
  cr_status (*conveyor_add)(cr_conveyor *, const cr_leg *);
  cr_status (*conveyor_step)(cr_conveyor *, const cr_chunk **, size_t *);
  cr_status (*conveyor_occupancy)(const cr_conveyor *, cr_occupancy *);
  cr_status (*renderer_create)(const cr_timeline *, const cr_render_leg *, size_t, const cr_event *, size_t,
                               cr_renderer **);
  void (*renderer_destroy)(cr_renderer *);
  cr_status (*renderer_read)(cr_renderer *, int16_t *, size_t, size_t *);
  cr_status (*renderer_seek)(cr_renderer *, int64_t);
  cr_status (*peaks_create)(uint32_t, uint64_t, cr_peaks **);
  void (*peaks_destroy)(cr_peaks *);
  cr_status (*peaks_write)(cr_peaks *, const int16_t *, size_t);
  size_t (*peaks_count)(const cr_peaks *);
  const cr_peak *(*peaks_data)(const cr_peaks *);
  cr_status (*wav_header)(cr_wav_encoding, uint32_t, uint32_t, uint64_t, uint8_t *, size_t *);
  cr_status (*wav_encode)(cr_wav_encoding, const int16_t *, size_t, uint8_t *);
} cr_capi;

/* The table of this library; valid for the life of the process. */
const cr_capi *cr_capi_table(void);

#ifdef __cplusplus
}
#endif
#endif
