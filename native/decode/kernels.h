// What a codec gives the conveyor: kernels that advance N independent streams, one per lane, in lockstep. The
// conveyor knows codecs only through these tables. A table is chosen once, by g711_kernel() and its sisters.
#pragma once

#include <cstddef>
#include <cstdint>

#include "callreplay/isa.h"

namespace callreplay {

// G.711: stateless, so one stream at a time at memory speed.
struct G711Kernel {
  cr_isa isa;
  void (*decode_ulaw)(const uint8_t *octets, int16_t *pcm, size_t count);
  void (*decode_alaw)(const uint8_t *octets, int16_t *pcm, size_t count);
};

// G.722 at 64 (mode 0), 56 (1) or 48 kbit/s (2). The mode is fixed per call of decode: group streams by it.
struct G722Kernel {
  cr_isa isa;
  int lanes;
  size_t state_bytes;  // of one group of `lanes` streams; aligned to 64
  void (*reset)(void *state, int lane);
  // Lane i decodes `octets` octets at payload[i] to 2 * octets samples at pcm[i]. A lane whose payload is
  // null keeps its state and writes nothing.
  void (*decode)(void *state, int mode, const uint8_t *const *payload, int16_t *const *pcm, int octets);
  // One lane's state to and from `stream_bytes` octets, which are the same for every instruction set: a
  // stream may go on in another kernel's lane.
  size_t stream_bytes;
  void (*save)(const void *state, int lane, void *stream);
  void (*load)(void *state, int lane, const void *stream);
};

// G.726 at 2 to 5 bits a sample: 16, 24, 32 or 40 kbit/s. The bits are fixed per call of decode: group
// streams by them. Codes come one an octet, however they were packed (decode/g726/codes.h).
struct G726Kernel {
  cr_isa isa;
  int lanes;
  size_t state_bytes;  // of one group of `lanes` streams; aligned to 64
  void (*reset)(void *state, int lane);
  // Lane i decodes `samples` codes at codes[i] to as many samples at pcm[i]. A lane whose codes are null
  // keeps its state and writes nothing. Of an octet only the low `bits` count.
  void (*decode)(void *state, int bits, const uint8_t *const *codes, int16_t *const *pcm, int samples);
  size_t stream_bytes;  // as those of G722Kernel
  void (*save)(const void *state, int lane, void *stream);
  void (*load)(void *state, int lane, const void *stream);
};

// One 10 ms frame of one G.729 stream.
struct G729Frame {
  enum Type : uint8_t {
    kUntransmitted = 0,
    kSpeech = 1,
    kSid = 2,
    kIdle = 255
  };                      // kIdle: the lane is not there
  const uint8_t *octets;  // 10 (kSpeech) or 2 (kSid) octets; may be null when erased or kUntransmitted
  Type type;
  bool erased;  // lost on the way (bfi): the codec conceals
};

struct G729Kernel {
  cr_isa isa;
  int lanes;
  size_t state_bytes;  // of one group of `lanes` streams; aligned to 64
  void (*reset)(void *state, int lane);
  // Lane i turns frames[i] into 80 samples at pcm[i]; a kIdle lane keeps its state and writes nothing.
  void (*decode)(void *state, const G729Frame *frames, int16_t *const *pcm);
  // The generator of concealment (4.4.4), which a reset sets to kErasureSeed and each erased frame of speech
  // calls kErasureCalls times.
  void (*seed)(void *state, int lane, uint16_t seed);
  size_t stream_bytes;  // as those of G722Kernel
  void (*save)(const void *state, int lane, void *stream);
  void (*load)(void *state, int lane, const void *stream);
};
constexpr uint16_t kErasureSeed = 21845;
constexpr int kErasureCalls = 4;
constexpr uint16_t next_erasure_seed(uint16_t seed) {
  return static_cast<uint16_t>(seed * 31821u + 13849u);
}
constexpr uint16_t previous_erasure_seed(uint16_t seed) {
  return static_cast<uint16_t>((seed - 13849u) * 7301u);
}
static_assert(previous_erasure_seed(next_erasure_seed(kErasureSeed)) == kErasureSeed);

// The kernel of one instruction set, null when it was not compiled in or this CPU cannot run it;
// CR_ISA_SCALAR (one lane) is always there. Tests walk all; the conveyor has all up to cr_isa_active() at
// hand and takes what is cheapest for what waits.
const G711Kernel *g711_kernel(cr_isa isa);
const G722Kernel *g722_kernel(cr_isa isa);
const G726Kernel *g726_kernel(cr_isa isa);
const G729Kernel *g729_kernel(cr_isa isa);

}  // namespace callreplay
