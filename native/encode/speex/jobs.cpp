#include "encode/speex/jobs.h"

#include <algorithm>

namespace callreplay::speex {

namespace {

// What lanes without a job are fed.
alignas(64) const int16_t kQuiet[kWidebandFrame] = {};

// Below so many jobs one stream at a time is faster than a round of lanes that are mostly idle.
constexpr size_t kFewestJobs = 2;

constexpr size_t kLongestPacket = 128;

}  // namespace

Engine::Engine(cr_isa isa)
    : wide_(speex_kernel(isa)),
      single_(speex_single_kernel(isa)),
      group_(make_aligned<float>(wide_->state_floats * static_cast<size_t>(wide_->lanes))),
      scratch_(make_aligned<char>(std::max(wide_->scratch_bytes, single_->scratch_bytes))),
      values_(make_aligned<int32_t>(static_cast<size_t>(kMaxFields) * static_cast<size_t>(wide_->lanes))),
      active_(static_cast<size_t>(wide_->lanes)),
      modes_(static_cast<size_t>(wide_->lanes)),
      pointers_(static_cast<size_t>(wide_->lanes)),
      lanes_(static_cast<size_t>(wide_->lanes)) {
  fields_.value = values_.get();
  for (int lane = 0; lane < wide_->lanes; ++lane) {
    wide_->reset(group_.get(), lane);
  }
}

void Engine::load(size_t lane, const float *state) {
  const size_t lanes = static_cast<size_t>(wide_->lanes);
  for (size_t i = 0; i < wide_->state_floats; ++i) {
    group_[i * lanes + lane] = state[i];
  }
}

void Engine::save(size_t lane, float *state) const {
  const size_t lanes = static_cast<size_t>(wide_->lanes);
  for (size_t i = 0; i < wide_->state_floats; ++i) {
    state[i] = group_[i * lanes + lane];
  }
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

void Engine::run_single(const RateOptions &options, Job &job, size_t from) {
  const size_t samples = options.wideband ? kWidebandFrame : kNarrowbandFrame;
  for (size_t frame = from; frame < job.frames; ++frame) {
    lanes_[0] = {&job, frame, job.pcm + frame * samples};
    code_round(*single_, options, job.state, lanes_);
  }
}

void Engine::run_lanes(const RateOptions &options, std::vector<Job> &jobs) {
  const size_t samples = options.wideband ? kWidebandFrame : kNarrowbandFrame;
  const size_t count = static_cast<size_t>(wide_->lanes);
  // Longest first keeps the lanes full to the end.
  std::stable_sort(jobs.begin(), jobs.end(), [](const Job &a, const Job &b) { return a.frames > b.frames; });
  size_t next = 0;
  size_t busy = 0;
  std::fill(lanes_.begin(), lanes_.end(), Lane{});
  while (true) {
    for (size_t lane = 0; lane < count && next < jobs.size(); ++lane) {
      if (lanes_[lane].job == nullptr) {
        lanes_[lane] = {&jobs[next], 0, jobs[next].pcm};
        load(lane, jobs[next].state);
        ++next;
        ++busy;
      }
    }
    if (busy < kFewestJobs) {
      break;
    }
    code_round(*wide_, options, group_.get(), lanes_);
    for (size_t lane = 0; lane < count; ++lane) {
      Lane &at = lanes_[lane];
      if (at.job != nullptr) {
        at.pcm += samples;
        if (++at.frame == at.job->frames) {
          save(lane, at.job->state);
          at = Lane{};
          --busy;
        }
      }
    }
  }
  for (size_t lane = 0; lane < count; ++lane) {
    if (lanes_[lane].job != nullptr) {
      const Lane rest = lanes_[lane];
      save(lane, rest.job->state);
      run_single(options, *rest.job, rest.frame);
      break;
    }
  }
}

void Engine::run(const RateOptions &options, std::vector<Job> &jobs) {
  std::erase_if(jobs, [](const Job &job) { return job.frames == 0; });
  if (jobs.size() >= kFewestJobs && wide_->lanes > 1) {
    run_lanes(options, jobs);
    return;
  }
  for (Job &job : jobs) {
    run_single(options, job, 0);
  }
}

}  // namespace callreplay::speex
