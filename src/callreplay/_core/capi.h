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
#define CR_CAPI_MINOR 2
/* Define it before, to be served by older packages whose members are enough for you. */
#ifndef CR_CAPI_NEEDED_MINOR
#define CR_CAPI_NEEDED_MINOR CR_CAPI_MINOR
#endif

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
  /* Since 1.1 */
  cr_status (*renderer_read_f32)(cr_renderer *renderer, float *pcm, size_t max_frames, size_t *frames);
  cr_status (*renderer_counts)(const cr_renderer *renderer, uint32_t leg, cr_leg_counts *counts);
  cr_status (*renderer_group_create)(uint32_t gather_ms, cr_renderer_group **group);
  void (*renderer_group_destroy)(cr_renderer_group *group);
  cr_status (*renderer_group_add)(cr_renderer_group *group, const cr_timeline *timeline,
                                  const cr_render_leg *legs, size_t leg_count, const cr_event *events,
                                  size_t event_count, uint32_t *call);
  cr_status (*renderer_group_read)(cr_renderer_group *group, int16_t *pcm, size_t capacity, uint32_t *call,
                                   size_t *frames, int *last);
  cr_status (*renderer_group_counts)(const cr_renderer_group *group, uint32_t call, uint32_t leg,
                                     cr_leg_counts *counts);
  cr_status (*renderer_group_occupancy)(const cr_renderer_group *group, cr_occupancy *occupancy);
  cr_status (*mixer_create)(const cr_timeline *timeline, const cr_event *events, size_t event_count,
                            cr_mixer **mixer);
  void (*mixer_destroy)(cr_mixer *mixer);
  cr_status (*mixer_add_track)(cr_mixer *mixer, uint32_t leg, int32_t channel, int32_t sample_rate_hz,
                               int64_t anchor_ns, int64_t drift_ppb, uint32_t *track);
  cr_status (*mixer_push)(cr_mixer *mixer, uint32_t track, int64_t first_sample, const int16_t *pcm,
                          size_t count, size_t *accepted);
  cr_status (*mixer_finish)(cr_mixer *mixer, uint32_t track);
  cr_status (*mixer_read)(cr_mixer *mixer, int16_t *pcm, size_t max_frames, size_t *frames);
  int64_t (*mixer_position)(const cr_mixer *mixer);
  cr_status (*speex_stream_create)(const cr_speex_options *options, uint32_t serial,
                                   const char *const *comments, size_t comment_count,
                                   cr_speex_stream **stream);
  void (*speex_stream_destroy)(cr_speex_stream *stream);
  cr_status (*speex_stream_push)(cr_speex_stream *stream, const int16_t *pcm, size_t count);
  cr_status (*speex_stream_end)(cr_speex_stream *stream);
  const uint8_t *(*speex_stream_octets)(const cr_speex_stream *stream, size_t *size);
  void (*speex_stream_drop)(cr_speex_stream *stream, size_t size);
  cr_status (*speex_batch_create)(cr_speex_batch **batch);
  void (*speex_batch_destroy)(cr_speex_batch *batch);
  cr_status (*speex_encode)(cr_speex_batch *batch, cr_speex_stream *const *streams, size_t count);
  uint64_t (*speex_estimate)(const cr_speex_options *options, uint64_t samples);
  cr_status (*peaks_create)(uint32_t channels, uint64_t frames_per_bucket, cr_peaks **out);
  cr_status (*peaks_create_fit)(uint32_t channels, uint64_t total_frames, uint32_t buckets, cr_peaks **out);
  void (*peaks_destroy)(cr_peaks *peaks);
  cr_status (*peaks_write)(cr_peaks *peaks, const int16_t *pcm, size_t frames);
  size_t (*peaks_count)(const cr_peaks *peaks);
  const cr_peak *(*peaks_data)(const cr_peaks *peaks);
  cr_status (*draw_band)(const cr_band *band, const cr_peak *peaks, size_t step, uint32_t columns_per_pixel);
  cr_status (*speech_create)(int32_t rate_hz, cr_speech **speech);
  void (*speech_destroy)(cr_speech *speech);
  cr_status (*speech_write)(cr_speech *speech, const int16_t *pcm, size_t count);
  cr_status (*speech_write_channel)(cr_speech *speech, const int16_t *pcm, size_t count, size_t channels);
  cr_status (*speech_finish)(cr_speech *speech);
  cr_status (*speech_take)(cr_speech *speech, cr_talk *talk, size_t capacity, size_t *count);
  cr_status (*speech_settled)(const cr_speech *speech, int64_t *sample);
  /* Since 1.2 */
  cr_isa (*isa_active)(void);
  int (*isa_forced)(void);
  int (*isa_available)(cr_isa isa);
  const char *(*isa_name)(cr_isa isa);
  int (*wav_pad)(uint64_t bytes);
  cr_status (*renderer_group_waiting)(const cr_renderer_group *group, size_t *calls);
  cr_status (*peaks8)(const int16_t *pcm, size_t frames, uint32_t channels, uint32_t frames_per_pixel,
                      int8_t *out);
  cr_status (*draw_marks)(const cr_band *band, const cr_marks *marks);
  size_t (*png_room)(uint32_t width, uint32_t height);
  cr_status (*png_pack)(const uint8_t *pixels, size_t stride, uint32_t width, uint32_t height, uint8_t *out,
                        size_t room, size_t *size);
  cr_status (*speech_write_pair)(cr_speech *one, cr_speech *two, const int16_t *pcm, size_t count,
                                 size_t channels);
} cr_capi;

#ifdef Py_PYTHON_H
/* The table, or NULL with a Python error set. Needs the GIL. */
static inline const cr_capi *cr_capi_import(void) {
  PyObject *module = PyImport_ImportModule("callreplay._core");
  if (module == NULL) return NULL;
  Py_DECREF(module);
  const cr_capi *api = (const cr_capi *)PyCapsule_Import(CR_CAPI_NAME, 0);
  if (api != NULL && (api->major != CR_CAPI_MAJOR || api->minor < CR_CAPI_NEEDED_MINOR)) {
    PyErr_Format(PyExc_ImportError, "callreplay has C API %u.%u, this extension needs %d.%d",
                 (unsigned)api->major, (unsigned)api->minor, CR_CAPI_MAJOR, CR_CAPI_NEEDED_MINOR);
    return NULL;
  }
  return api;
}
#endif

#endif
