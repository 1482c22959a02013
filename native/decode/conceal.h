// Waveform concealment for codecs that have none of their own (G.711, G.722, L16): one object per span.
#pragma once

#include <cstddef>
#include <cstdint>

namespace callreplay {

// A loss is filled by linear prediction: the prediction residual of the last pitch period is repeated and
// drives the synthesis filter on from the very samples that were played last, so there is no seam to smooth
// and no delay.
class Concealer {
 public:
  // sample_rate_hz: 8000 to 48000; others are taken as the nearer limit.
  explicit Concealer(int sample_rate_hz);

  // Forget everything: the start of a span.
  void reset();

  // Good audio, in order. After a concealed stretch the first samples are cross-faded in place with the
  // continuation of the concealment, so `pcm` may change.
  void good(int16_t *pcm, size_t count);

  // Fill a loss of `count` samples; may be called repeatedly for one loss. Pitch repetition with fade;
  // silence after 60 ms since the last good sample. Returns how many of the samples are not plain silence.
  size_t lost(int16_t *pcm, size_t count);

 private:
  static constexpr size_t kMaxRateHz = 48000;
  static constexpr size_t kHistory = kMaxRateHz * 45 / 1000;
  static constexpr size_t kMaxPeriod = kMaxRateHz * 18 / 1000;
  static constexpr int kMaxOrder = 32;

  void remember(const int16_t *pcm, size_t count);
  void analyse();
  size_t find_period(float &voicing) const;
  float correlation(size_t lag, size_t span) const;
  bool predict();
  float next_sample();

  size_t rate_;
  int order_;
  size_t lost_ = 0;       // samples synthesised since the last good one; 0: not concealing, not recovering
  size_t recovered_ = 0;  // good samples cross-faded since the loss ended
  size_t filled_ = 0;     // valid samples of history_
  size_t period_ = 0;     // samples of excitation_ in use; 0: nothing to conceal from
  size_t position_ = 0;   // within the period
  bool recovering_ = false;
  uint32_t random_ = 1;
  float periodic_ = 0, noise_ = 0;     // gains of the repeated residual and of noise in its place
  float excitation_[kMaxPeriod];       // residual of the last period, oldest first
  float coefficients_[kMaxOrder + 1];  // A(z), a[0] = 1
  float memory_[kMaxOrder];            // last outputs, newest first
  int16_t history_[kHistory];          // the last audio, newest last, in the last filled_ places
};

}  // namespace callreplay
