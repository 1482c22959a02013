/* The C face of the Speex encoder: mono int16 PCM in, an Ogg Speex file out, page by page.
 *
 * A stream is one file. PCM is pushed into streams and waits there; cr_speex_encode() codes what waits, one
 * stream per SIMD lane, so give it as many streams at once as you have. The octets of a stream depend on its
 * options, comments, serial number and samples only: not on how the samples were cut into pushes, on the
 * other streams of a call, or on the instruction set. */
#ifndef CALLREPLAY_SPEEX_H
#define CALLREPLAY_SPEEX_H

#include <stddef.h>
#include <stdint.h>

#include "callreplay/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whether a call of a minute or more is cut in time at its quietest frames and encoded by several lanes at
 * once. A segmented stream holds back up to 80 seconds of PCM, so its first audio page comes late. */
typedef enum cr_speex_segments {
  CR_SPEEX_SEGMENTS_OFF = 0,
  CR_SPEEX_SEGMENTS_LONG = 1 /* calls of a minute or more, at constant bit rate */
} cr_speex_segments;

typedef struct cr_speex_options {
  int32_t rate_hz;  /* 8000: narrowband, 16000: wideband */
  int32_t quality;  /* 0..10; 8 is 15 kbit/s narrowband, 27.8 kbit/s wideband */
  int32_t vbr;      /* 1: the bit rate follows the signal, quality is kept */
  int32_t vad;      /* 1: background noise is coded by the noise vocoder. Part of vbr */
  int32_t dtx;      /* 1: and sent only when it changes. Implies vad */
  int32_t segments; /* cr_speex_segments */
} cr_speex_options;

typedef struct cr_speex_stream cr_speex_stream;
typedef struct cr_speex_batch cr_speex_batch;

/* Makes a stream. `comments` are `comment_count` UTF-8 strings "NAME=value" of the Vorbis comment header, in
 * order; they may hold 60000 octets together. `serial` is the stream's number in the Ogg file. The two header
 * pages are ready to be taken at once. CR_ARGUMENT: an option or a comment is out of range. CR_MEMORY. */
cr_status cr_speex_stream_create(const cr_speex_options *options, uint32_t serial,
                                 const char *const *comments, size_t comment_count, cr_speex_stream **stream);
void cr_speex_stream_destroy(cr_speex_stream *stream);

/* Appends `count` samples at the stream's rate. CR_STATE after cr_speex_stream_end(). CR_MEMORY. */
cr_status cr_speex_stream_push(cr_speex_stream *stream, const int16_t *pcm, size_t count);

/* No more samples will come; the next cr_speex_encode() completes the stream. Calling it twice does nothing.
 */
cr_status cr_speex_stream_end(cr_speex_stream *stream);

/* The octets that wait to be taken. The pointer is valid until the next call with this stream. */
const uint8_t *cr_speex_stream_octets(const cr_speex_stream *stream, size_t *size);

/* Drops the first `size` of them (at most all). */
void cr_speex_stream_drop(cr_speex_stream *stream, size_t size);

/* The working memory of an encoder: reuse it from call to call. */
cr_status cr_speex_batch_create(cr_speex_batch **batch);
void cr_speex_batch_destroy(cr_speex_batch *batch);

/* Codes every complete frame that waits in `count` distinct streams, and the tails of those that have ended.
 * Streams of one mode share lanes. CR_ARGUMENT: a null stream. CR_MEMORY: the streams are unusable and may
 * only be destroyed. */
cr_status cr_speex_encode(cr_speex_batch *batch, cr_speex_stream *const *streams, size_t count);

/* Octets that `samples` samples come to at constant bit rate, pages included, comments not; 0 for a bad
 * option. */
uint64_t cr_speex_estimate(const cr_speex_options *options, uint64_t samples);

#ifdef __cplusplus
}
#endif
#endif
