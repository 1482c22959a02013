// One track's samples at the output's rate: runs of contiguous samples in, frames out. Silence between runs
// never enters the filter, so the length of the output is that of the timeline whatever the gaps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "mix/filter_bank.h"
#include "mix/kernels.h"
#include "mix/timeline.h"

namespace callreplay {

class Resampler {
 public:
  // `capacity`: input samples that may wait.
  Resampler(const MixKernel &kernel, const Placement &placement, int32_t from_hz, int32_t to_hz,
            size_t capacity);

  // A run begins at `sample`; the last one must be drained.
  void begin(int64_t sample);
  // How many more samples go in now, and in they go.
  size_t room() const;
  void push(const int16_t *pcm, size_t count);
  // The run has all its samples: what is missing to the filter's end is zeros.
  void end();

  bool running() const { return running_; }
  int64_t next_sample() const { return first_ + static_cast<int64_t>(held_) - zeros_; }
  // The next frame that comes out; all before it are out.
  int64_t next_frame() const { return frame_; }

  // The next frames, at most `count`, as far as the input reaches; ends the run when it is drained.
  size_t pull(int16_t *pcm, size_t count);

 private:
  size_t ready(size_t wanted) const;
  void by_phase(size_t count);
  void by_position(size_t count);
  void forget();

  static constexpr size_t kBlock = 1024;
  static constexpr size_t kPartial = kBlock + 64;  // MixKernel.fir works in blocks of 64

  const MixKernel &kernel_;
  const Placement placement_;
  size_t taps_;
  size_t capacity_;
  int64_t stride_ = 0;   // samples per `filters_` frames when the ratio is that simple; else 0
  int64_t filters_ = 0;  // frames until the fraction recurs
  bool exact_ = false;   // by_phase
  // exact_: filters_ filters, each split into stride_ parts, and of each part the taps that are not nought
  struct Part {
    size_t first, stop;
  };
  std::vector<float> phases_;
  std::vector<Part> parts_;
  std::shared_ptr<const FilterBank> bank_;
  bool running_ = false;
  bool ended_ = false;
  int64_t frame_ = 0;
  int64_t last_frame_ = 0;  // of a run that has ended
  int64_t first_ = 0;       // sample of input_[0]
  int64_t zeros_ = 0;       // after the end
  size_t held_ = 0;
  std::vector<float> input_;
  std::vector<float> split_;    // input_ by residue of stride_
  std::vector<float> partial_;  // outputs of one filter
  std::vector<float> output_;
};

}  // namespace callreplay
