// Where samples stand on the output's timeline, exactly: integers only, 128 bits wide where needed.
#pragma once

#include <cstdint>

#include "mix/wide.h"

namespace callreplay {

// Sample s of a span is at anchor + s / sample_rate / (1 + drift); frame n of the output at origin + n /
// rate. Where the rates are as a few to a few and no drift is corrected, the anchor is moved, by half a
// sample of their common multiple at most (16 and 8 kHz: 31 us), so that samples and frames coincide every so
// often: there half of the filter's taps are nought, or all but one.
class Placement {
 public:
  // Bounds that keep every product below 2^127: |anchor - origin| < 2^63 ns, rates <= 48000, |drift| <= 10^7
  // ppb, frames < 2^39, samples < 2^38.
  Placement(int64_t anchor_ns, int64_t origin_ns, int32_t sample_rate_hz, int64_t drift_ppb, int32_t rate_hz);

  // Rates are equal and no drift is corrected: samples are copied.
  bool is_copy() const { return copy_; }
  // The frame nearest to sample 0. Only for copies.
  int64_t first_frame() const { return first_frame_; }

  // Position of frame n in samples: the integer part, and the fraction in units of 2^-48.
  struct Position {
    int64_t sample;
    uint64_t fraction_q48;
  };
  Position at(int64_t frame) const;
  // Samples per frame, units of 2^-48, rounded down.
  uint64_t step_q48() const { return step_q48_; }

  // The first frame at or after sample s.
  int64_t frame_from(int64_t sample) const;
  // The most samples to so many frames, and frames to so many samples, of simple ratios.
  static constexpr int64_t kMaxStride = 8;
  static constexpr int64_t kMaxFilters = 512;
  // Whether frame n + frames lies exactly `samples` after frame n, for every n.
  bool recurs(int64_t frames, int64_t samples) const;

 private:
  // x(n) = (n * unit - offset) * numerator / denominator
  int64_t unit_ = 1'000'000'000;
  Wide offset_;     // (anchor - origin) * rate
  Wide numerator_;  // samples per frame = numerator / denominator
  Wide denominator_;
  uint64_t step_q48_;
  // Of simple ratios x(n) = (n * stride - offset) / filters in 64 bits, which divide several times as fast.
  bool simple_ = false;
  int64_t stride_ = 0, filters_ = 0, near_offset_ = 0;
  bool copy_;
  int64_t first_frame_ = 0;
};

}  // namespace callreplay
