#include "encode/speex/jobs.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <utility>

#include "kept.h"

namespace callreplay::speex {

namespace {

// What lanes without a job are fed.
alignas(64) const int16_t kQuiet[kWidebandFrame] = {};

constexpr size_t kLongestPacket = 128;

constexpr int kRounds = 5;

// Of a stream alone, AVX2 tries eight candidates at once in less time than AVX-512 sixteen: what a candidate reads are
// neighbours of what the one before read, so each of AVX-512's loads lies across two lines of the cache.
const SpeexKernel *alone_at_hand() {
  return speex_single_kernel(cr_isa_active() == CR_ISA_AVX512 ? CR_ISA_AVX2 : cr_isa_active());
}

Kernels kernels_at_hand() {
  Kernels kernels{alone_at_hand()};
  for (const SpeexKernel *kernel : callreplay::kernels_at_hand(speex_kernel)) {
    if (kernel->lanes > 1) {
      kernels.push_back(kernel);
    }
  }
  return kernels;
}

Kernels kernels_of(cr_isa isa) {
  Kernels kernels{speex_single_kernel(isa)};
  if (speex_kernel(isa)->lanes > 1) {
    kernels.push_back(speex_kernel(isa));
  }
  return kernels;
}

LanePlan two_or_more_in_lanes(const Kernels &kernels) {
  std::vector<LanePlan::Width> widths;
  for (const SpeexKernel *kernel : kernels) {
    const double cost = kernel->lanes == 1 ? 1.0 : 1.5;
    widths.push_back({static_cast<size_t>(kernel->lanes), cost, cost});
  }
  return LanePlan(std::move(widths));
}

// Narrowband at quality 8, of noise: what the kernels cost beside one another hardly depends on it. Idle
// lanes code silence, so they cost what others do.
LanePlan measure(const Kernels &kernels) {
  if (kernels.size() == 1) {
    return two_or_more_in_lanes(kernels);
  }
  struct Trial {
    AlignedArray<float> group;
    AlignedArray<char> scratch;
    AlignedArray<int32_t> values;
    FrameFields fields;
    std::vector<const int16_t *> pcm;
  };
  int16_t noise[kNarrowbandFrame];
  uint32_t state = 1;
  for (int16_t &sample : noise) {
    state = state * 1664525u + 1013904223u;
    sample = static_cast<int16_t>(static_cast<int32_t>(state) >> 19);
  }
  const RateOptions options{false, 8, false, false, false};
  const FrameMode mode = constant_mode(options);
  std::vector<std::unique_ptr<Trial>> trials;
  std::vector<std::function<void()>> runs;
  for (const SpeexKernel *kernel : kernels) {
    const auto lanes = static_cast<size_t>(kernel->lanes);
    trials.push_back(std::make_unique<Trial>());
    Trial &trial = *trials.back();
    trial.group = make_aligned<float>(kernel->state_floats * lanes);
    trial.scratch = make_aligned<char>(kernel->scratch_bytes);
    trial.values = make_aligned<int32_t>(static_cast<size_t>(kMaxFields) * lanes);
    trial.fields.value = trial.values.get();
    trial.pcm.assign(lanes, noise);
    for (int lane = 0; lane < kernel->lanes; ++lane) {
      kernel->reset(trial.group.get(), lane);
    }
    runs.emplace_back([kernel, &trial, &mode] {
      kernel->analyse(trial.group.get(), trial.scratch.get(), trial.pcm.data(), false,
                      needs_open_loop(mode.low));
      kernel->code(trial.group.get(), trial.scratch.get(), mode.low, mode.high, false, false, nullptr,
                   &trial.fields);
    });
  }
  const std::vector<double> ns = measured_ns(runs, kRounds);
  std::vector<LanePlan::Width> widths;
  for (size_t i = 0; i < kernels.size(); ++i) {
    widths.push_back({static_cast<size_t>(kernels[i]->lanes), ns[i], ns[i]});
  }
  return LanePlan(std::move(widths));
}

// A stream's state to and from a lane of a group.
void load(const SpeexKernel &kernel, float *group, size_t lane, const float *state) {
  const auto lanes = static_cast<size_t>(kernel.lanes);
  for (size_t i = 0; i < kernel.state_floats; ++i) {
    group[i * lanes + lane] = state[i];
  }
}

void save(const SpeexKernel &kernel, const float *group, size_t lane, float *state) {
  const auto lanes = static_cast<size_t>(kernel.lanes);
  for (size_t i = 0; i < kernel.state_floats; ++i) {
    state[i] = group[i * lanes + lane];
  }
}

}  // namespace

const LanePlan &measured_plan() {
  static std::atomic<const LanePlan *> place;
  return kept(place, [] { return std::make_unique<const LanePlan>(measure(kernels_at_hand())); });
}

Engine::Engine() : Engine(kernels_at_hand(), std::nullopt) {}

Engine::Engine(cr_isa isa) : Engine(kernels_of(isa), two_or_more_in_lanes(kernels_of(isa))) {}

Engine::Engine(Kernels kernels, std::optional<LanePlan> plan)
    : kernels_(std::move(kernels)), plan_(std::move(plan)) {
  size_t lanes = 0, scratch = 0;
  for (const SpeexKernel *kernel : kernels_) {
    lanes = std::max(lanes, static_cast<size_t>(kernel->lanes));
    scratch = std::max(scratch, kernel->scratch_bytes);
  }
  group_ = make_aligned<float>(state_floats() * lanes);
  scratch_ = make_aligned<char>(scratch);
  values_ = make_aligned<int32_t>(static_cast<size_t>(kMaxFields) * lanes);
  active_.resize(lanes);
  modes_.resize(lanes);
  pointers_.resize(lanes);
  lanes_.resize(lanes);
  fields_.value = values_.get();
}

// Packs the lane's fields, most significant bit first; the rest of the last octet is a 0 and then 1s.
void Engine::pack(int lanes, int lane, const Job &job, size_t frame) {
  if (frame < job.skip) {
    return;
  }
  uint8_t packet[kLongestPacket];
  size_t size = 0;
  uint64_t bits = 0;
  int held = 0;
  const int32_t *value = fields_.value + lane;
  for (int f = 0; f < fields_.count; ++f, value += lanes) {
    // At most 7 bits are held over and a field has at most 8: no overflow.
    bits = (bits << fields_.width[f]) | static_cast<uint32_t>(*value);
    held += fields_.width[f];
    while (held >= 8) {
      held -= 8;
      packet[size++] = static_cast<uint8_t>(bits >> held);
    }
  }
  if (held > 0) {
    const int rest = 8 - held;
    packet[size++] = static_cast<uint8_t>((bits << rest) | ((1u << (rest - 1)) - 1));
  }
  job.out->octets.insert(job.out->octets.end(), packet, packet + size);
  job.out->sizes.push_back(static_cast<uint8_t>(size));
}

// One frame of every lane, from analysis to packets.
void Engine::code_round(const SpeexKernel &kernel, const RateOptions &options, float *state,
                        const std::vector<Lane> &lanes) {
  const size_t count = static_cast<size_t>(kernel.lanes);
  const FrameMode constant = constant_mode(options);
  const bool fixed = options.constant();
  for (size_t lane = 0; lane < count; ++lane) {
    pointers_[lane] = lanes[lane].job != nullptr ? lanes[lane].pcm : kQuiet;
  }
  kernel.analyse(state, scratch_.get(), pointers_.data(), options.wideband,
                 !fixed || needs_open_loop(constant.low));
  for (size_t lane = 0; lane < count; ++lane) {
    const Lane &at = lanes[lane];
    if (at.job != nullptr && at.job->skip > 0 && at.frame == at.job->skip) {
      kernel.forget(state, static_cast<int>(lane));
    }
  }
  if (fixed) {
    kernel.code(state, scratch_.get(), constant.low, constant.high, options.wideband, false, nullptr,
                &fields_);
    for (size_t lane = 0; lane < count; ++lane) {
      if (lanes[lane].job != nullptr) {
        pack(kernel.lanes, static_cast<int>(lane), *lanes[lane].job, lanes[lane].frame);
      }
    }
    return;
  }
  for (size_t lane = 0; lane < count; ++lane) {
    if (lanes[lane].job != nullptr) {
      FrameFeatures features;
      kernel.features(scratch_.get(), static_cast<int>(lane), &features);
      modes_[lane] = lanes[lane].job->control->choose(options, features);
    }
  }
  // Each sub-mode that occurs is run once for all lanes; those that did not choose it keep their state.
  std::vector<uint8_t> &todo = active_;
  uint64_t coded = 0;
  for (size_t first = 0; first < count; ++first) {
    if (lanes[first].job == nullptr || (coded >> first & 1) != 0) {
      continue;
    }
    for (size_t lane = 0; lane < count; ++lane) {
      todo[lane] = lanes[lane].job != nullptr && modes_[lane] == modes_[first];
      coded |= static_cast<uint64_t>(todo[lane]) << lane;
    }
    kernel.code(state, scratch_.get(), modes_[first].low, modes_[first].high, options.wideband,
                modes_[first].dtx_hint, todo.data(), &fields_);
    for (size_t lane = 0; lane < count; ++lane) {
      if (todo[lane]) {
        pack(kernel.lanes, static_cast<int>(lane), *lanes[lane].job, lanes[lane].frame);
      }
    }
  }
}

// The rest of one job, alone.
void Engine::run_single(const RateOptions &options, const Lane &from) {
  const size_t samples = options.wideband ? kWidebandFrame : kNarrowbandFrame;
  lanes_[0] = from;
  for (; lanes_[0].frame < from.job->frames; ++lanes_[0].frame, lanes_[0].pcm += samples) {
    code_round(*kernels_[0], options, from.job->state, lanes_);
  }
}

// Fill the lanes that are free.
void Engine::seat(const SpeexKernel &kernel) {
  for (size_t lane = 0; lane < static_cast<size_t>(kernel.lanes); ++lane) {
    if (lanes_[lane].job == nullptr && !queue_.empty()) {
      lanes_[lane] = queue_.back();
      queue_.pop_back();
      load(kernel, group_.get(), lane, lanes_[lane].job->state);
    }
  }
}

// Back to the queue with what goes on elsewhere.
void Engine::unseat(const SpeexKernel &kernel) {
  for (size_t lane = 0; lane < static_cast<size_t>(kernel.lanes); ++lane) {
    if (lanes_[lane].job != nullptr) {
      save(kernel, group_.get(), lane, lanes_[lane].job->state);
      queue_.push_back(lanes_[lane]);
      lanes_[lane] = Lane{};
    }
  }
}

void Engine::run_lanes(const RateOptions &options, std::vector<Job> &jobs) {
  const LanePlan &plan = plan_ ? *plan_ : measured_plan();
  const size_t samples = options.wideband ? kWidebandFrame : kNarrowbandFrame;
  // Longest first keeps the lanes full to the end.
  std::stable_sort(jobs.begin(), jobs.end(), [](const Job &a, const Job &b) { return a.frames < b.frames; });
  queue_.clear();
  for (Job &job : jobs) {
    queue_.push_back({&job, 0, job.pcm});
  }
  std::fill(lanes_.begin(), lanes_.end(), Lane{});
  for (size_t left = jobs.size(); left > 0;) {
    const SpeexKernel &kernel = *kernels_[plan.first(left)];
    if (kernel.lanes == 1) {
      const Lane alone = queue_.back();
      queue_.pop_back();
      run_single(options, alone);
      lanes_[0] = Lane{};
      --left;
      continue;
    }
    // Free lanes of a group that was another's hold no numbers that could be slow.
    for (int lane = 0; lane < kernel.lanes; ++lane) {
      kernel.reset(group_.get(), lane);
    }
    while (left > 0 && kernels_[plan.first(left)] == &kernel) {
      seat(kernel);
      code_round(kernel, options, group_.get(), lanes_);
      for (size_t lane = 0; lane < static_cast<size_t>(kernel.lanes); ++lane) {
        Lane &at = lanes_[lane];
        if (at.job != nullptr) {
          at.pcm += samples;
          if (++at.frame == at.job->frames) {
            save(kernel, group_.get(), lane, at.job->state);
            at = Lane{};
            --left;
          }
        }
      }
    }
    unseat(kernel);
  }
}

void Engine::run(const RateOptions &options, std::vector<Job> &jobs) {
  std::erase_if(jobs, [](const Job &job) { return job.frames == 0; });
  if (jobs.size() <= 1 || kernels_.size() == 1) {
    for (Job &job : jobs) {
      run_single(options, {&job, 0, job.pcm});
    }
    return;
  }
  run_lanes(options, jobs);
}

}  // namespace callreplay::speex
