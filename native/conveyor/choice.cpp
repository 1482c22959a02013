#include "conveyor/choice.h"

#include <cstring>

#include "kept.h"

namespace callreplay {

AlignedState::AlignedState(size_t bytes) : memory_(::operator new (bytes, std::align_val_t{64})) {
  std::memset(memory_.get(), 0, bytes);
}

namespace {

constexpr int kRounds = 25;

// Octets that are no pattern to any decoder.
std::vector<uint8_t> any_octets(size_t count) {
  std::vector<uint8_t> octets(count);
  uint64_t state = 1;
  for (uint8_t &octet : octets) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    octet = static_cast<uint8_t>(state >> 56);
  }
  return octets;
}

// A group of streams that all decode the same, over and over.
template <class Kernel>
struct Trial {
  explicit Trial(const Kernel &kernel_)
      : kernel(kernel_), state(kernel.state_bytes), stream(state_words(kernel)) {
    for (int lane = 0; lane < kernel.lanes; ++lane) {
      kernel.reset(state.get(), lane);
      pcm.push_back(samples[lane]);
    }
  }

  const Kernel &kernel;
  AlignedState state;
  std::vector<uint64_t> stream;
  std::vector<int16_t *> pcm;
  int16_t samples[kMaxLanes][2 * kG722Octets];
};

// One kernel alone needs no measuring. `call(trial, lanes)` decodes once in so many lanes; the others idle.
template <class Kernel, class Call>
Choice<Kernel> measure(std::vector<const Kernel *> kernels, Call &&call) {
  std::vector<std::unique_ptr<Trial<Kernel>>> trials;
  std::vector<std::function<void()>> runs;
  for (const Kernel *kernel : kernels) {
    trials.push_back(std::make_unique<Trial<Kernel>>(*kernel));
    for (const int lanes : {kernel->lanes, (kernel->lanes + 1) / 2}) {
      runs.emplace_back([&trial = *trials.back(), &call, lanes] { call(trial, lanes); });
    }
  }
  // The last lane of the widest moves there and back.
  runs.emplace_back([&trial = *trials.back()] {
    trial.kernel.save(trial.state.get(), trial.kernel.lanes - 1, trial.stream.data());
    trial.kernel.load(trial.state.get(), trial.kernel.lanes - 1, trial.stream.data());
  });
  const std::vector<double> ns =
      kernels.size() > 1 ? measured_ns(runs, kRounds) : std::vector<double>(runs.size(), 1.0);
  std::vector<LanePlan::Width> widths;
  for (size_t i = 0; i < kernels.size(); ++i) {
    widths.push_back({static_cast<size_t>(kernels[i]->lanes), ns[2 * i], ns[2 * i + 1]});
  }
  return {std::move(kernels), LanePlan(std::move(widths)), ns.back()};
}

}  // namespace

Choice<G722Kernel> measured(std::vector<const G722Kernel *> kernels) {
  const std::vector<uint8_t> octets = any_octets(kG722Octets);
  return measure(std::move(kernels), [&](Trial<G722Kernel> &trial, int lanes) {
    const uint8_t *payload[kMaxLanes] = {};
    std::fill_n(payload, lanes, octets.data());
    trial.kernel.decode(trial.state.get(), 0, payload, trial.pcm.data(), kG722Octets);
  });
}

Choice<G726Kernel> measured(std::vector<const G726Kernel *> kernels) {
  const std::vector<uint8_t> codes = any_octets(kG726Codes);
  return measure(std::move(kernels), [&](Trial<G726Kernel> &trial, int lanes) {
    const uint8_t *from[kMaxLanes] = {};
    std::fill_n(from, lanes, codes.data());
    trial.kernel.decode(trial.state.get(), 4, from, trial.pcm.data(), kG726Codes);
  });
}

Choice<G729Kernel> measured(std::vector<const G729Kernel *> kernels) {
  const std::vector<uint8_t> octets = any_octets(10);
  return measure(std::move(kernels), [&](Trial<G729Kernel> &trial, int lanes) {
    G729Frame frames[kMaxLanes];
    std::fill_n(frames, kMaxLanes, G729Frame{nullptr, G729Frame::kIdle, false});
    std::fill_n(frames, lanes, G729Frame{octets.data(), G729Frame::kSpeech, false});
    trial.kernel.decode(trial.state.get(), frames, trial.pcm.data());
  });
}

const Choice<G722Kernel> &g722_choice() {
  static std::atomic<const Choice<G722Kernel> *> place;
  return kept(place, [] {
    return std::make_unique<const Choice<G722Kernel>>(measured(kernels_at_hand(g722_kernel)));
  });
}

const Choice<G726Kernel> &g726_choice() {
  static std::atomic<const Choice<G726Kernel> *> place;
  return kept(place, [] {
    return std::make_unique<const Choice<G726Kernel>>(measured(kernels_at_hand(g726_kernel)));
  });
}

const Choice<G729Kernel> &g729_choice() {
  static std::atomic<const Choice<G729Kernel> *> place;
  return kept(place, [] {
    return std::make_unique<const Choice<G729Kernel>>(measured(kernels_at_hand(g729_kernel)));
  });
}

}  // namespace callreplay
