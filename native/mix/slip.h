// The correction of a clock that is a little wrong: samples are copied, and every now and then a glide of 256
// of them makes one sample more or less. At 40 ppm and 8 kHz that is 32 ms every 3 s; the copies between are
// the very samples, and nothing is further from its place than half a sample. A glide changes the pitch by
// 0.6 % at most, and begins and ends without a step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "mix/kernels.h"

namespace callreplay {

// Runs of samples by a clock with drift in, runs by the right clock out. Sample s of the one is where sample
// v of the other is, s = v * (1 + drift): a whole number of samples apart but for the glides. What comes out
// depends on v only, not on how runs are cut into pushes.
class Slip {
 public:
  // Faster clocks are not corrected so: glides would follow on glides.
  static constexpr int64_t kMostPpb = 1'000'000;
  static bool suits(int64_t drift_ppb) {
    return drift_ppb != 0 && drift_ppb <= kMostPpb && drift_ppb >= -kMostPpb;
  }

  Slip(const MixKernel &kernel, int64_t drift_ppb);

  bool running() const { return running_; }
  int64_t next_sample() const { return next_sample_; }

  // A run begins at `sample`, >= 0.
  void begin(int64_t sample);
  // How many of the run's next samples come out as they are, first at next_output(); 0 within a glide.
  size_t copies() const;
  int64_t next_output() const { return next_output_; }
  // So many of them went on.
  void copied(const int16_t *pcm, size_t count);
  // Within a glide: takes at most `count` samples and returns how many.
  size_t take(const int16_t *pcm, size_t count);
  // The run has all its samples.
  void end();

  // What a glide gave, to be handed on before anything else: `waiting()` samples, first at next_output().
  size_t waiting() const { return output_.size() - sent_; }
  const int16_t *output() const { return output_.data() + sent_; }
  void sent(size_t count);

 private:
  static constexpr int64_t kGlide = 256;
  static constexpr int64_t kReach = 32;  // half of the filter

  int64_t glide_start(int64_t number) const;
  void approach();
  void glide(int64_t outputs, int64_t copies);

  const MixKernel &kernel_;
  const int64_t ppb_;   // its magnitude
  const int64_t sign_;  // of the drift
  bool running_ = false;
  bool gliding_ = false;
  int64_t next_sample_ = 0;
  int64_t next_output_ = 0;
  int64_t slips_ = 0;  // before the next glide
  int64_t start_ = 0;  // first output of the next glide
  int16_t history_[kReach] = {};
  std::vector<int16_t> input_;  // of the glide, from sample start_ + shift - kReach on
  std::vector<float> wide_, sums_;
  std::vector<int16_t> output_;
  size_t sent_ = 0;
};

}  // namespace callreplay
