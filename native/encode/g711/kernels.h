#pragma once

#include <cstddef>
#include <cstdint>

#include "callreplay/isa.h"

namespace callreplay {

// G.711: `count` samples to as many octets. The buffers may not overlap.
struct G711Encoder {
  cr_isa isa;
  void (*ulaw)(const int16_t *pcm, uint8_t *octets, size_t count);
  void (*alaw)(const int16_t *pcm, uint8_t *octets, size_t count);
};

// Null when this CPU cannot run it; CR_ISA_SCALAR is always there.
const G711Encoder *g711_encoder_kernel(cr_isa isa);

}  // namespace callreplay
