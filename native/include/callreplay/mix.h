/* The C face of the room `mix`: chunks of PCM on one timeline, and the renderers that decode and mix in one
 * go. */
#ifndef CALLREPLAY_MIX_H
#define CALLREPLAY_MIX_H

#include <stddef.h>
#include <stdint.h>

#include "callreplay/decode.h"
#include "callreplay/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An RFC 4733 event laid over one leg (or track). The audio of that leg is muted for its length; with `tone`
 * in 0-15 (0-9, * = 10, # = 11, A-D = 12-15) its tone pair is put there, with any other value nothing. */
typedef struct cr_event {
  uint32_t leg;
  int32_t tone;        /* 0 to 15, or -1 for silence */
  int64_t start_ns;    /* absolute */
  int64_t duration_ns; /* 0 to 3600 s */
  int32_t level_dbm0;  /* of both tones together, 0 to -63; 0 means that the sender gave none: -10 */
} cr_event;

/* Frame n of the output stands for the absolute time origin_ns + n / rate_hz seconds. */
typedef struct cr_timeline {
  int32_t rate_hz;  /* 8000 to 48000 */
  int32_t channels; /* 1 or 2 */
  int64_t origin_ns;
  int64_t frames;       /* length of the output, 0 to 2^38 */
  int32_t block_ms;     /* audio that may wait in the mixer, 20 to 10000 */
  int32_t ignore_drift; /* non-zero: every clock is taken to be right */
} cr_timeline;

/* The mixer: tracks of chunks in, one timeline out. A track is one span of one leg. */
typedef struct cr_mixer cr_mixer;

/* `events` is copied; it need not be sorted. cr_event.leg names what cr_mixer_add_track calls `leg`. */
cr_status cr_mixer_create(const cr_timeline *timeline, const cr_event *events, size_t event_count,
                          cr_mixer **mixer);
void cr_mixer_destroy(cr_mixer *mixer);

/* A new track on output channel `channel`. Sample s is at anchor_ns + s / sample_rate_hz / (1 + drift_ppb *
 * 1e-9). */
cr_status cr_mixer_add_track(cr_mixer *mixer, uint32_t leg, int32_t channel, int32_t sample_rate_hz,
                             int64_t anchor_ns, int64_t drift_ppb, uint32_t *track);

/* Hand in samples of a track, in order. Takes *accepted of `count` (perhaps 0, when the mixer is full: read,
 * then push the rest). What lies before the output's start or after its end is accepted and dropped. */
cr_status cr_mixer_push(cr_mixer *mixer, uint32_t track, int64_t first_sample, const int16_t *pcm,
                        size_t count, size_t *accepted);

/* No more samples will come for this track. */
cr_status cr_mixer_finish(cr_mixer *mixer, uint32_t track);

/* Write up to `max_frames` frames (interleaved when there are two channels) that every track has passed to
 * `pcm`. *frames = 0: some track must be pushed or finished first, or, when cr_mixer_position() is the end,
 * all is read. */
cr_status cr_mixer_read(cr_mixer *mixer, int16_t *pcm, size_t max_frames, size_t *frames);
int64_t cr_mixer_position(const cr_mixer *mixer);

/* One leg of a call to be rendered and the channel it goes to; channel -1 leaves it out. */
typedef struct cr_render_leg {
  const cr_leg *leg;
  int32_t channel;
} cr_render_leg;

/* The renderer: one call, decoded and mixed as it is read. Memory is bounded by the block, not by the call.
 * What lies before the origin is not decoded but for a warm-up: 250 ms of packets for G.711 and L16, so that
 * concealment is the same sample for sample; 2 s for G.722, G.726 and G.729, whose states forget. */
typedef struct cr_renderer cr_renderer;

/* The legs are copied as by cr_conveyor_add; bytes, columns and external PCM must outlive the renderer. */
cr_status cr_renderer_create(const cr_timeline *timeline, const cr_render_leg *legs, size_t leg_count,
                             const cr_event *events, size_t event_count, cr_renderer **renderer);
void cr_renderer_destroy(cr_renderer *renderer);

/* Write the next frames: *frames < max_frames only at the end. */
cr_status cr_renderer_read(cr_renderer *renderer, int16_t *pcm, size_t max_frames, size_t *frames);

/* The same frames as floats, -1 to 1: exactly what cr_renderer_read gives, divided by 32768. */
cr_status cr_renderer_read_f32(cr_renderer *renderer, float *pcm, size_t max_frames, size_t *frames);

/* Go to a frame, 0 to timeline.frames, forwards or backwards; decodes nothing but the warm-up. */
cr_status cr_renderer_seek(cr_renderer *renderer, int64_t frame);
int64_t cr_renderer_position(const cr_renderer *renderer);
cr_status cr_renderer_counts(const cr_renderer *renderer, uint32_t leg, cr_leg_counts *counts);

/* Many calls through one conveyor, so that the lanes stay full; a mixer each. */
typedef struct cr_renderer_group cr_renderer_group;

/* Blocks are handed out when they hold gather_ms (1 to 60000) of a call, or at its end. */
cr_status cr_renderer_group_create(uint32_t gather_ms, cr_renderer_group **group);
void cr_renderer_group_destroy(cr_renderer_group *group);

/* Add a call, at any time; *call is its number, which no other has before it has ended. Calls wait for
 * nothing: add as many as memory allows (about 60 kB each at 100 ms blocks, and what is gathered) and one
 * more whenever one ends. */
cr_status cr_renderer_group_add(cr_renderer_group *group, const cr_timeline *timeline,
                                const cr_render_leg *legs, size_t leg_count, const cr_event *events,
                                size_t event_count, uint32_t *call);

/* The next block of whichever call has one: *call, *frames, and *last = 1 with its last frames (perhaps 0 of
 * them). `capacity` is the room in int16: CR_ARGUMENT if the block does not fit,
 * and it waits. *frames = 0 and *last = 0: every call has ended. The frames of one
 * call come in order and equal those of a renderer of its own. */
cr_status cr_renderer_group_read(cr_renderer_group *group, int16_t *pcm, size_t capacity, uint32_t *call,
                                 size_t *frames, int *last);
/* Of a call under way, or of an ended one before the next is added. */
cr_status cr_renderer_group_counts(const cr_renderer_group *group, uint32_t call, uint32_t leg,
                                   cr_leg_counts *counts);
cr_status cr_renderer_group_occupancy(const cr_renderer_group *group, cr_occupancy *occupancy);

#ifdef __cplusplus
}
#endif
#endif
