/* The C face of the room `speech`: where somebody talks. */
#ifndef CALLREPLAY_SPEECH_H
#define CALLREPLAY_SPEECH_H

#include <stddef.h>
#include <stdint.h>

#include "callreplay/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A stretch of talk: samples [start, end) counted from the first one written, and the sum of their squares.
 */
typedef struct cr_talk {
  int64_t start;
  int64_t end;
  double energy;
} cr_talk;

/* A voice-activity detector for one speaker's PCM, mono. Where the blocks are cut changes nothing. */
typedef struct cr_speech cr_speech;

/* `rate_hz`: 8000 to 48000. Only what lies below 4 kHz is looked at. */
cr_status cr_speech_create(int32_t rate_hz, cr_speech **speech);
void cr_speech_destroy(cr_speech *speech);

/* The next samples. CR_STATE after cr_speech_finish. */
cr_status cr_speech_write(cr_speech *speech, const int16_t *pcm, size_t count);

/* The same of one channel of interleaved ones: `count` samples from `pcm` on, `channels` apart. */
cr_status cr_speech_write_channel(cr_speech *speech, const int16_t *pcm, size_t count, size_t channels);

/* The same of the first two of at least two channels, a detector each, in less time than one after the other. */
cr_status cr_speech_write_pair(cr_speech *one, cr_speech *two, const int16_t *pcm, size_t count,
                               size_t channels);

/* No more samples will come: talk that is under way ends here. */
cr_status cr_speech_finish(cr_speech *speech);

/* Hand out the stretches that have ended, in order and once each; *count of at most `capacity`. */
cr_status cr_speech_take(cr_speech *speech, cr_talk *talk, size_t capacity, size_t *count);

/* *sample: talk that is handed out later does not begin before it. */
cr_status cr_speech_settled(const cr_speech *speech, int64_t *sample);

#ifdef __cplusplus
}
#endif
#endif
