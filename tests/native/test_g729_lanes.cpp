// Every width of the G.729 kernel against the literal decoder, lane by lane, on streams of every
// kind at once.
#include <algorithm>
#include <memory>
#include <string>

#include "checkasm.h"
#include "g729_literal.h"
#include "g729_streams.h"

using callreplay::G729Frame;
using callreplay::G729Kernel;
using g729_streams::Stream;
using g729_vectors::StoredFrame;

namespace {

constexpr cr_isa kIsas[] = {CR_ISA_SCALAR, CR_ISA_BASELINE, CR_ISA_NEON, CR_ISA_AVX2, CR_ISA_AVX512};
constexpr int16_t kGuard = 0x5A5A;

struct AlignedFree {
  void operator()(void *p) const { std::free(p); }
};
using StateMemory = std::unique_ptr<void, AlignedFree>;

StateMemory new_state(const G729Kernel &kernel) {
  StateMemory state(std::aligned_alloc(64, (kernel.state_bytes + 63) / 64 * 64));
  for (int lane = 0; lane < kernel.lanes; ++lane) {
    kernel.reset(state.get(), lane);
  }
  return state;
}

std::vector<StoredFrame> conformance_speech() {
  std::vector<uint8_t> octets;
  for (const char *name : {"/SPEECH.BIT", "/ALGTHM.BIT", "/LSP.BIT", "/FIXED.BIT"}) {
    g729_vectors::read_file(g729_vectors::folder() + name, &octets);
  }
  return g729_vectors::parse_serial(g729_vectors::words_of(octets));
}

// One lane: a stream, the literal decoder beside it, and 80 samples between guards.
struct Lane {
  Lane(g729_streams::Kind kind, uint32_t seed, const std::vector<StoredFrame> *speech)
      : stream(kind, seed, speech) {}
  Stream stream;
  g729_literal::Decoder literal;
  StoredFrame frame;
  int16_t pcm[96];
  int16_t expected[80];
};

// A frame of each lane of a kernel, and room for its samples.
struct Round {
  explicit Round(const G729Kernel &kernel)
      : views(static_cast<size_t>(kernel.lanes)), samples(views.size() * 80), pcm(views.size()) {
    for (size_t i = 0; i < views.size(); ++i) {
      pcm[i] = &samples[80 * i];
    }
  }
  std::vector<G729Frame> views;
  std::vector<int16_t> samples;
  std::vector<int16_t *> pcm;
};

// CALLREPLAY_CAMPAIGN: how many times as many streams as usual, for a long search.
uint32_t campaign() {
  const char *times = std::getenv("CALLREPLAY_CAMPAIGN");
  return times == nullptr ? 1 : std::max(1u, static_cast<uint32_t>(std::strtoul(times, nullptr, 10)));
}

// Of all lanes together.
int frames_in_all() {
  return checkasm::emulated() ? 1000 : 3000;
}

struct Tally {
  long differing = 0, touched = 0, resyntheses = 0;
};

// idle_in: one in so many frames leaves a lane out; 0 for never.
Tally run(const G729Kernel &kernel, int frames, uint32_t seed, uint32_t idle_in, int kind) {
  static const std::vector<StoredFrame> speech = conformance_speech();
  StateMemory state = new_state(kernel);
  std::mt19937 random(seed);
  std::vector<Lane> lanes;
  for (int i = 0; i < kernel.lanes; ++i) {
    const int own =
        kind >= 0 ? kind : static_cast<int>((seed + static_cast<uint32_t>(i)) % g729_streams::kKinds);
    lanes.emplace_back(static_cast<g729_streams::Kind>(own), seed * 977 + static_cast<uint32_t>(i), &speech);
  }
  std::vector<G729Frame> views(lanes.size());
  std::vector<int16_t *> pcm(lanes.size());
  Tally tally;
  for (int f = 0; f < frames; ++f) {
    for (size_t i = 0; i < lanes.size(); ++i) {
      Lane &lane = lanes[i];
      std::fill(std::begin(lane.pcm), std::end(lane.pcm), kGuard);
      pcm[i] = lane.pcm + 8;
      if (idle_in != 0 && random() % idle_in == 0) {
        views[i] = {nullptr, G729Frame::kIdle, random() % 2 == 0};
        pcm[i] = random() % 2 == 0 ? nullptr : pcm[i];
        std::fill(std::begin(lane.expected), std::end(lane.expected), kGuard);
        continue;
      }
      lane.frame = lane.stream.next();
      views[i] = lane.frame.view();
      if (lane.frame.erased || lane.frame.type == G729Frame::kUntransmitted) {
        views[i].octets = random() % 2 == 0 ? nullptr : views[i].octets;
      }
      lane.literal.decode(lane.frame.view(), lane.expected);
    }
    kernel.decode(state.get(), views.data(), pcm.data());
    for (Lane &lane : lanes) {
      for (int n = 0; n < 96; ++n) {
        const bool inside = n >= 8 && n < 88;
        tally.differing += inside && lane.pcm[n] != lane.expected[n - 8];
        tally.touched += !inside && lane.pcm[n] != kGuard;
      }
    }
  }
  for (const Lane &lane : lanes) {
    tally.resyntheses += lane.literal.resyntheses;
  }
  return tally;
}

}  // namespace

TEST_CASE("every lane of every width equals the literal decoder on streams of one kind") {
  for (cr_isa isa : kIsas) {
    const G729Kernel *kernel = callreplay::g729_kernel(isa);
    if (kernel == nullptr) {
      continue;
    }
    for (int kind = 0; kind < g729_streams::kKinds; ++kind) {
      CAPTURE(std::string(cr_isa_name(isa)));
      CAPTURE(kind);
      for (uint32_t time = 0; time < campaign(); ++time) {
        const uint32_t seed = 1 + static_cast<uint32_t>(kind) + time * g729_streams::kKinds;
        CAPTURE(seed);
        const Tally tally = run(*kernel, frames_in_all() / kernel->lanes, seed, 0, kind);
        CHECK(tally.differing == 0);
        CHECK(tally.touched == 0);
      }
    }
  }
}

TEST_CASE("lanes with different kinds of streams do not disturb each other, idle ones keep their state") {
  long resyntheses = 0;
  for (cr_isa isa : kIsas) {
    const G729Kernel *kernel = callreplay::g729_kernel(isa);
    if (kernel == nullptr) {
      continue;
    }
    for (uint32_t seed = 100; seed < 100 + 6 * campaign(); ++seed) {
      CAPTURE(std::string(cr_isa_name(isa)));
      CAPTURE(seed);
      const Tally tally = run(*kernel, frames_in_all() / kernel->lanes, seed, seed % 2 == 0 ? 0 : 4, -1);
      CHECK(tally.differing == 0);
      CHECK(tally.touched == 0);
      resyntheses += tally.resyntheses;
    }
  }
  CHECK(resyntheses > 0);  // or the streams were too tame to test the overflow control
}

TEST_CASE("a lane can be reset and reused while its neighbours go on") {
  for (cr_isa isa : kIsas) {
    const G729Kernel *kernel = callreplay::g729_kernel(isa);
    if (kernel == nullptr) {
      continue;
    }
    const std::vector<StoredFrame> none;
    StateMemory state = new_state(*kernel);
    std::vector<Lane> lanes;
    for (int i = 0; i < kernel->lanes; ++i) {
      lanes.emplace_back(g729_streams::kDisorder, 7 + static_cast<uint32_t>(i), &none);
    }
    std::vector<G729Frame> views(lanes.size());
    std::vector<int16_t *> pcm(lanes.size());
    long differing = 0;
    for (int f = 0; f < 60; ++f) {
      if (f == 30) {
        kernel->reset(state.get(), kernel->lanes - 1);
        lanes.back().literal = g729_literal::Decoder();
      }
      for (size_t i = 0; i < lanes.size(); ++i) {
        lanes[i].frame = lanes[i].stream.next();
        views[i] = lanes[i].frame.view();
        pcm[i] = lanes[i].pcm;
        lanes[i].literal.decode(views[i], lanes[i].expected);
      }
      kernel->decode(state.get(), views.data(), pcm.data());
      for (const Lane &lane : lanes) {
        differing += std::memcmp(lane.pcm, lane.expected, sizeof lane.expected) != 0;
      }
    }
    CAPTURE(std::string(cr_isa_name(isa)));
    CHECK(differing == 0);
  }
}

TEST_CASE("frames that say what cannot be") {
  for (cr_isa isa : kIsas) {
    const G729Kernel *kernel = callreplay::g729_kernel(isa);
    if (kernel == nullptr) {
      continue;
    }
    StateMemory state = new_state(*kernel);
    Round round(*kernel);
    for (size_t i = 0; i < round.views.size(); ++i) {
      // No octets though there should be some, and a type that does not exist.
      round.views[i] = {nullptr, i % 2 == 0 ? G729Frame::kSpeech : static_cast<G729Frame::Type>(77), false};
    }
    std::vector<g729_literal::Decoder> literal(round.views.size());
    for (int f = 0; f < 20; ++f) {
      kernel->decode(state.get(), round.views.data(), round.pcm.data());
      for (size_t i = 0; i < round.views.size(); ++i) {
        int16_t expected[80];
        literal[i].decode({nullptr, i % 2 == 0 ? G729Frame::kSpeech : G729Frame::kUntransmitted, i % 2 == 0},
                          expected);
        CHECK(std::memcmp(expected, round.pcm[i], sizeof expected) == 0);
      }
    }
  }
}

CHECKASM_BENCH("g729: a frame of speech of each lane") {
  const std::vector<StoredFrame> speech = conformance_speech();
  if (speech.empty()) {
    return;
  }
  for (const cr_isa isa : checkasm::available_isas()) {
    const G729Kernel *kernel = callreplay::g729_kernel(isa);
    StateMemory state = new_state(*kernel);
    Round round(*kernel);
    size_t at = 0;
    checkasm::report(cr_isa_name(isa), 80.0 * kernel->lanes, [&] {
      for (size_t i = 0; i < round.views.size(); ++i) {
        round.views[i] = speech[(at + 97 * i) % speech.size()].view();
      }
      ++at;
      kernel->decode(state.get(), round.views.data(), round.pcm.data());
    });
  }
}
