// The encoder of one instruction set: frames of `lanes` streams in lockstep. What is above it (batches, VBR,
// packing) is compiled once and knows the lanes only through this table.
#pragma once

#include <cstddef>
#include <cstdint>

#include "callreplay/isa.h"

namespace callreplay::speex {

// What a frame turned out to be, for the choice of its sub-mode. Energies are sums of squares
// in 16-bit units.
struct FrameFeatures {
  float first_half_energy;
  float second_half_energy;
  float voicing;   // normalised open-loop correlation, 0..1; 0 when it was not asked for
  float high_rms;  // of the high band, wideband only
  float low_rms;
  float lsp[10];  // of the low band, radians
};

// Bits of one coded frame of every lane: value[f * lanes + lane] in the low width[f] bits. A kernel's owner
// allocates value for kMaxFields fields.
inline constexpr int kMaxFields = 176;
struct FrameFields {
  int count;
  uint8_t width[kMaxFields];
  int32_t *value;
};

struct SpeexKernel {
  cr_isa isa;
  int lanes;
  // A stream's state is `state_floats` floats; a group holds them as [float][lane], aligned to 64 octets.
  size_t state_floats;
  size_t scratch_bytes;  // of a group between analyse and code, aligned to 64
  // Start of a stream.
  void (*reset)(float *group, int lane);
  // Takes the next frame of every lane: pcm[lane] points at 160 (narrowband) or 320 (wideband) samples.
  void (*analyse)(float *group, void *scratch, const int16_t *const *pcm, bool wideband, bool open_loop);
  void (*features)(const void *scratch, int lane, FrameFeatures *out);
  // Codes the frame. Lanes whose active[lane] is 0 keep their state; active may be null (all are active).
  // high_mode is ignored for narrowband, and must be 0 with narrowband sub-mode 0. `dtx_hint`: sub-mode 1
  // tells the decoder that frames may follow which hold nothing.
  void (*code)(float *group, void *scratch, int mode, int high_mode, bool wideband, bool dtx_hint,
               const uint8_t *active, FrameFields *fields);
  // From now on the lane relies on nothing the decoder has in its past excitation (start of a segment).
  void (*forget)(float *group, int lane);
};

}  // namespace callreplay::speex

namespace callreplay {

// A lane per stream, and one stream that tries several candidates at once. Both write the same octets as the
// scalar instance, which is speex_kernel(CR_ISA_SCALAR). Null when the set was not compiled in or this CPU
// cannot run it.
const speex::SpeexKernel *speex_kernel(cr_isa isa);
const speex::SpeexKernel *speex_single_kernel(cr_isa isa);

}  // namespace callreplay
