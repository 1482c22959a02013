#include "decode/noise/comfort_noise.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace callreplay {
namespace {

// splitmix64: a bijection of the counter, so each sample's excitation is independent of how it was reached.
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// Sum of four 16-bit uniforms: near enough to Gaussian, variance 1. Each uniform has variance (2^32 - 1)
// / 12.
double excitation(uint64_t seed, int64_t position) {
  const uint64_t r = mix(seed ^ mix(static_cast<uint64_t>(position)));
  const double sum =
      static_cast<double>((r & 0xffff) + ((r >> 16) & 0xffff) + ((r >> 32) & 0xffff) + (r >> 48));
  constexpr double kMean = 2.0 * 65535.0;
  constexpr double kScale = 1.0 / 37837.23;  // sqrt(4 * (2^32 - 1) / 12)
  return (sum - kMean) * kScale;
}

}  // namespace

void ComfortNoise::start(uint64_t seed, int sample_rate_hz, double overload) {
  *this = ComfortNoise();
  seed_ = mix(seed);
  overload_ = overload;
  glide_ = 1.0 - std::exp(-1.0 / (0.010 * sample_rate_hz));  // 10 ms
}

void ComfortNoise::update(const uint8_t *payload, size_t size) {
  if (size == 0) {
    return;
  }
  known_ = true;
  // Clause 3.1: the level is in -dBov, most significant bit 0.
  const double rms = overload_ * std::pow(10.0, -(payload[0] & 127) / 20.0);
  double residual = 1.0;
  for (int i = 0; i < kOrder; ++i) {
    double k = 0.0;
    if (static_cast<size_t>(i) + 1 < size) {
      // Clause 3.2: k = 258 * (N - 127) / 32768. N = 255 would leave the unit circle; beyond 0.98 the filter
      // rings for longer than any noise is stationary.
      k = std::clamp(258.0 * (payload[i + 1] - 127) / 32768.0, -0.98, 0.98);
    }
    target_[i] = k;
    residual *= 1.0 - k * k;
  }
  // An all-pole lattice gains 1 / prod(1 - k^2) in power.
  target_gain_ = rms * std::sqrt(residual);
}

void ComfortNoise::stop() {
  gain_ = 0.0;
  std::fill(std::begin(backward_), std::end(backward_), 0.0);
  std::copy(std::begin(target_), std::end(target_), std::begin(reflection_));
}

void ComfortNoise::generate(int64_t first, int16_t *pcm, size_t count) {
  for (size_t n = 0; n < count; ++n) {
    gain_ += (target_gain_ - gain_) * glide_;
    // A convex mix of stable reflection coefficients is stable, whatever the mix.
    double forward = gain_ * excitation(seed_, first + static_cast<int64_t>(n));
    for (int i = kOrder - 1; i >= 0; --i) {
      reflection_[i] += (target_[i] - reflection_[i]) * glide_;
      forward -= reflection_[i] * backward_[i];
      backward_[i + 1] = backward_[i] + reflection_[i] * forward;
    }
    backward_[0] = forward;
    pcm[n] = static_cast<int16_t>(std::lrint(std::clamp(forward, -32768.0, 32767.0)));
  }
}

}  // namespace callreplay
