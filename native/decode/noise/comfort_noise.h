// RFC 3389 comfort noise: white noise at the announced level, shaped by the
// announced reflection coefficients.
#pragma once

#include <cstddef>
#include <cstdint>

namespace callreplay {

class ComfortNoise {
 public:
  // `overload` is the amplitude of the square wave that RFC 3389 calls 0 dBov, in 16-bit units.
  void start(uint64_t seed, int sample_rate_hz, double overload);

  // A comfort noise payload (RFC 3389 clause 3): the level, then reflection coefficients. Holds until the
  // next. An empty payload changes nothing.
  void update(const uint8_t *payload, size_t size);

  // Whether an update came yet.
  bool known() const { return known_; }

  // Speech came: the next noise fades in anew.
  void stop();

  // Noise for samples first .. first + count of the span. The excitation of a sample depends on the seed and
  // its position only, so any partition of a stretch into calls gives the same samples.
  void generate(int64_t first, int16_t *pcm, size_t count);

 private:
  static constexpr int kOrder = 12;  // "12 or lower" is what encoders send (RFC 3389 clause 4)

  uint64_t seed_ = 0;
  bool known_ = false;
  double overload_ = 32124.0;
  double glide_ = 0.0;        // per-sample share of the way to the target
  double target_gain_ = 0.0;  // of the excitation
  double gain_ = 0.0;
  double target_[kOrder] = {};
  double reflection_[kOrder] = {};
  double backward_[kOrder + 1] = {};
};

}  // namespace callreplay
