/* The C face for extensions of others, through a capsule: no linking against callreplay.
 *
 * The capsule `callreplay._core._C_API` holds a cr_capi. Members are only ever added at its end, with a new
 * CR_CAPI_MINOR; any other change is a new CR_CAPI_MAJOR, which cr_capi_import() refuses. Needs Python.h
 * included first. Functions are those of the same name in the other headers; all of them may be called
 * without the GIL. */
#ifndef CALLREPLAY_CAPI_H
#define CALLREPLAY_CAPI_H

#include "callreplay/callreplay.h"

#define CR_CAPI_NAME "callreplay._core._C_API"
#define CR_CAPI_MAJOR 1
#define CR_CAPI_MINOR 0

typedef struct cr_capi {
  uint32_t major, minor;
  size_t size; /* of this struct, as the installed package has it */
  const char *(*status_message)(cr_status status);
  cr_status (*leg_check)(const cr_leg *leg, size_t *bad);
  cr_status (*conveyor_create)(uint32_t width, uint32_t block_ms, cr_conveyor **conveyor);
  void (*conveyor_destroy)(cr_conveyor *conveyor);
  cr_status (*conveyor_add)(cr_conveyor *conveyor, const cr_leg *leg);
  cr_status (*conveyor_step)(cr_conveyor *conveyor, const cr_chunk **chunks, size_t *count);
  cr_status (*conveyor_counts)(const cr_conveyor *conveyor, uint32_t leg, cr_leg_counts *counts);
  cr_status (*conveyor_occupancy)(const cr_conveyor *conveyor, cr_occupancy *occupancy);
  cr_status (*renderer_create)(const cr_timeline *timeline, const cr_render_leg *legs, size_t leg_count,
                               const cr_event *events, size_t event_count, cr_renderer **renderer);
  void (*renderer_destroy)(cr_renderer *renderer);
  cr_status (*renderer_read)(cr_renderer *renderer, int16_t *pcm, size_t max_frames, size_t *frames);
  cr_status (*renderer_seek)(cr_renderer *renderer, int64_t frame);
  int64_t (*renderer_position)(const cr_renderer *renderer);
  cr_status (*wav_header)(cr_wav_encoding encoding, uint32_t rate_hz, uint32_t channels, uint64_t frames,
                          uint8_t *out, size_t *size);
  cr_status (*wav_encode)(cr_wav_encoding encoding, const int16_t *pcm, size_t count, uint8_t *out);
  /* G.711: `count` octets to as many samples. The buffers may not overlap. */
  void (*decode_ulaw)(const uint8_t *octets, int16_t *pcm, size_t count);
  void (*decode_alaw)(const uint8_t *octets, int16_t *pcm, size_t count);
} cr_capi;

#ifdef Py_PYTHON_H
/* The table, or NULL with a Python error set. Needs the GIL. */
static inline const cr_capi *cr_capi_import(void) {
  PyObject *module = PyImport_ImportModule("callreplay._core");
  if (module == NULL) return NULL;
  Py_DECREF(module);
  const cr_capi *api = (const cr_capi *)PyCapsule_Import(CR_CAPI_NAME, 0);
  if (api != NULL && (api->major != CR_CAPI_MAJOR || api->minor < CR_CAPI_MINOR)) {
    PyErr_Format(PyExc_ImportError, "callreplay has C API %u.%u, this extension needs %d.%d",
                 (unsigned)api->major, (unsigned)api->minor, CR_CAPI_MAJOR, CR_CAPI_MINOR);
    return NULL;
  }
  return api;
}
#endif

#endif
