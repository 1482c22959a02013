// Waveform concealment for codecs that have none of their own (G.711, G.722, L16): one object per span.
#pragma once

#include <cstddef>
#include <cstdint>

namespace callreplay {

class Concealer {
 public:
  // sample_rate_hz: 8000 to 48000.
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
  int rate_;
  size_t lost_ = 0;      // samples concealed since the last good one
  size_t period_ = 0;    // pitch period in use, samples
  size_t position_ = 0;  // within the period
  size_t filled_ = 0;    // valid samples of history_
  static constexpr size_t kHistory = 48000 * 45 / 1000;
  int16_t history_[kHistory];  // the last good audio, newest last
};

}  // namespace callreplay
