#include "mix/timeline.h"

#include <algorithm>
#include <numeric>

namespace callreplay {
namespace {

constexpr int64_t kBillion = 1'000'000'000;
// Nothing audible is this far from the origin; positions are kept in int64 by it.
constexpr int64_t kFar = int64_t{1} << 60;

Wide floor_divide(Wide a, Wide b) {
  const Wide quotient = a / b;
  return quotient - Wide{a % b < 0 ? 1 : 0};
}

// Frames and samples below this, times a simple ratio and beside any offset, fit 64 bits.
constexpr int64_t kNear = int64_t{1} << 50;

bool is_near(int64_t value) {
  return value < kNear && value > -kNear;
}

int64_t divide_near(int64_t a, int64_t b) {
  const int64_t quotient = a / b;
  return quotient - (a % b < 0 ? 1 : 0);
}

int64_t narrow(Wide value) {
  return static_cast<int64_t>(std::clamp<Wide>(value, Wide{-kFar}, Wide{kFar}));
}

}  // namespace

// x(n) = (origin + n / rate - anchor) * sample_rate * (1 + drift)
//      = (n * 10^9 - offset) * sample_rate * (10^9 + ppb) / (rate * 10^18),  offset = (anchor - origin) *
//      rate.
// |n * 10^9 - offset| < 2^69 + 2^79, times 2^16 times 2^30: below 2^126.
Placement::Placement(int64_t anchor_ns, int64_t origin_ns, int32_t sample_rate_hz, int64_t drift_ppb,
                     int32_t rate_hz)
    : offset_((Wide{anchor_ns} - origin_ns) * rate_hz),
      numerator_(Wide{sample_rate_hz} * (kBillion + drift_ppb)),
      denominator_(Wide{rate_hz} * kBillion * kBillion),
      copy_(sample_rate_hz == rate_hz && drift_ppb == 0) {
  const int64_t divisor = std::gcd(sample_rate_hz, rate_hz);
  const int64_t stride = sample_rate_hz / divisor, filters = rate_hz / divisor;
  if (copy_) {
    first_frame_ = narrow(floor_divide(offset_ + kBillion / 2, kBillion));
  } else if (drift_ppb == 0 && stride <= kMaxStride && filters <= kMaxFilters) {
    // x(n) = (n * stride - offset) / filters, offset a whole number.
    offset_ = floor_divide(offset_ * stride + kBillion / 2, kBillion);
    unit_ = stride;
    numerator_ = 1;
    denominator_ = filters;
    // |offset| < 2^64 ns * 48000 * 8 / 10^9 < 2^53.
    simple_ = true;
    stride_ = stride;
    filters_ = filters;
    near_offset_ = static_cast<int64_t>(offset_);
  }
  // One frame is `unit` of n * unit.
  // NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): it does not follow 128 bits
  step_q48_ = static_cast<uint64_t>(((numerator_ * unit_) << 48) / denominator_);
}

Placement::Position Placement::at(int64_t frame) const {
  if (simple_ && is_near(frame)) {
    const int64_t product = frame * stride_ - near_offset_;
    const int64_t whole = divide_near(product, filters_);
    return {whole,
            (static_cast<uint64_t>(product - whole * filters_) << 48) / static_cast<uint64_t>(filters_)};
  }
  const Wide product = (Wide{frame} * unit_ - offset_) * numerator_;
  const Wide whole = floor_divide(product, denominator_);
  const Wide rest = product - whole * denominator_;  // < denominator < 2^76, so << 48 fits
  return {narrow(whole), static_cast<uint64_t>((rest << 48) / denominator_)};
}

bool Placement::recurs(int64_t frames, int64_t samples) const {
  return Wide{frames} * unit_ * numerator_ == Wide{samples} * denominator_;
}

int64_t Placement::frame_from(int64_t sample) const {
  if (copy_) {
    return narrow(Wide{first_frame_} + sample);
  }
  if (simple_ && is_near(sample)) {
    return -divide_near(-(sample * filters_ + near_offset_), stride_);
  }
  // The inverse of x(n), rounded up: n = (s * rate * 10^18 / numerator + offset) / 10^9.
  const Wide scaled = floor_divide(Wide{sample} * denominator_, numerator_);
  int64_t frame = narrow(floor_divide(scaled + offset_, unit_));
  while (at(frame).sample < sample) {
    ++frame;
  }
  while (at(frame - 1).sample >= sample) {
    --frame;
  }
  return frame;
}

}  // namespace callreplay
