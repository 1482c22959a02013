/* The C face of the room `mix`: chunks of PCM on one timeline. */
#ifndef CALLREPLAY_MIX_H
#define CALLREPLAY_MIX_H

#include <stddef.h>
#include <stdint.h>

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
  int32_t block_ms;     /* audio that may wait in the mixer, 20 to 60000 */
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

#ifdef __cplusplus
}
#endif
#endif
