/* The C face of WAV output: the header and the samples' bytes. Where they are written is the caller's affair.
 */
#ifndef CALLREPLAY_WAV_H
#define CALLREPLAY_WAV_H

#include <stddef.h>
#include <stdint.h>

#include "callreplay/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum cr_wav_encoding {
  CR_WAV_S16 = 0,  /* WAVE_FORMAT_PCM, little-endian */
  CR_WAV_ULAW = 1, /* WAVE_FORMAT_MULAW */
  CR_WAV_ALAW = 2  /* WAVE_FORMAT_ALAW */
} cr_wav_encoding;

#define CR_WAV_HEADER_MAX 128
/* `frames` when the length is not known: sizes become 0xFFFFFFFF, which readers take as "to the end of the
 * file". */
#define CR_WAV_UNKNOWN UINT64_MAX

/* Write the header of a file of `frames` frames to `out` (CR_WAV_HEADER_MAX octets); *size is its length, 44
 * for 16-bit PCM. Above 4 GiB it is RF64 with a ds64 chunk (EBU Tech 3306). */
cr_status cr_wav_header(cr_wav_encoding encoding, uint32_t rate_hz, uint32_t channels, uint64_t frames,
                        uint8_t *out, size_t *size);

/* The bytes of `count` samples: 2 each for CR_WAV_S16, 1 for the others. The buffers may not overlap. */
cr_status cr_wav_encode(cr_wav_encoding encoding, const int16_t *pcm, size_t count, uint8_t *out);

/* 1 if data of `bytes` needs a zero octet after it: chunks are of even length. */
int cr_wav_pad(uint64_t bytes);

#ifdef __cplusplus
}
#endif
#endif
