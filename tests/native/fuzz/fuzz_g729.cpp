// Any frames, of any type, lost or not, in any lane: every width must give what the literal decoder gives.
#include <cstdlib>
#include <memory>
#include <vector>

#include "../g729_literal.h"

namespace {

using callreplay::G729Frame;
using callreplay::G729Kernel;

constexpr cr_isa kIsas[] = {CR_ISA_SCALAR, CR_ISA_BASELINE, CR_ISA_NEON, CR_ISA_AVX2, CR_ISA_AVX512};
constexpr int kSources = 3, kFrameOctets = 11;

struct AlignedFree {
  void operator()(void *p) const { std::free(p); }
};

// A frame is a head octet and ten octets: bits 0-2 the type (3 is idle, above it repeats), bit 3 erased, bit
// 4 no octets.
G729Frame frame_at(const uint8_t *data) {
  constexpr G729Frame::Type kTypes[8] = {G729Frame::kUntransmitted, G729Frame::kSpeech, G729Frame::kSid,
                                         G729Frame::kIdle,          G729Frame::kSpeech, G729Frame::kSpeech,
                                         G729Frame::kSid,           G729Frame::kSpeech};
  const bool erased = (data[0] & 8) != 0, bare = (data[0] & 16) != 0;
  return {bare ? nullptr : data + 1, kTypes[data[0] & 7], erased};
}

struct Group {
  explicit Group(const G729Kernel *k)
      : kernel(k),
        state(std::aligned_alloc(64, (k->state_bytes + 63) / 64 * 64)),
        frames(k->lanes),
        pcm(k->lanes),
        to(k->lanes) {
    for (int lane = 0; lane < kernel->lanes; ++lane) {
      kernel->reset(state.get(), lane);
    }
  }
  const G729Kernel *kernel;
  std::unique_ptr<void, AlignedFree> state;
  std::vector<G729Frame> frames;
  struct Pcm {
    int16_t samples[80];
  };
  std::vector<Pcm> pcm;
  std::vector<int16_t *> to;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::vector<Group> groups;
  for (cr_isa isa : kIsas) {
    if (const G729Kernel *kernel = callreplay::g729_kernel(isa); kernel != nullptr) {
      groups.emplace_back(kernel);
    }
  }
  // Three streams take turns in the lanes; each has its literal decoder.
  g729_literal::Decoder literal[kSources];
  for (size_t at = 0; at + kSources * kFrameOctets <= size; at += kSources * kFrameOctets) {
    G729Frame frames[kSources];
    int16_t expected[kSources][80];
    for (int i = 0; i < kSources; ++i) {
      frames[i] = frame_at(data + at + static_cast<size_t>(i) * kFrameOctets);
      if (frames[i].type != G729Frame::kIdle) {
        G729Frame said = frames[i];
        said.erased |= said.octets == nullptr && said.type != G729Frame::kUntransmitted;
        literal[i].decode(said, expected[i]);
      }
    }
    for (Group &group : groups) {
      const int lanes = group.kernel->lanes;
      // A scalar group follows the first stream alone.
      for (int lane = 0; lane < lanes; ++lane) {
        group.frames[lane] = frames[lane % kSources];
        group.to[lane] = group.frames[lane].type == G729Frame::kIdle ? nullptr : group.pcm[lane].samples;
      }
      group.kernel->decode(group.state.get(), group.frames.data(), group.to.data());
      for (int lane = 0; lane < lanes; ++lane) {
        if (group.to[lane] != nullptr &&
            std::memcmp(group.to[lane], expected[lane % kSources], sizeof expected[0]) != 0) {
          std::abort();
        }
      }
    }
  }
  return 0;
}
