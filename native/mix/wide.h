// Signed integers of 128 bits: the compiler's, or two halves where it has none (32-bit processors).
#pragma once

#include <compare>
#include <cstdint>

namespace callreplay {

// As __int128: two's complement, quotients toward nought. Wraps around like uint64_t does, in both directions.
class TwoHalves {
 public:
  constexpr TwoHalves() = default;
  constexpr TwoHalves(int64_t value)  // NOLINT(google-explicit-constructor): as integers are
      : high_(value < 0 ? ~uint64_t{0} : 0), low_(static_cast<uint64_t>(value)) {}

  explicit constexpr operator int64_t() const { return static_cast<int64_t>(low_); }
  explicit constexpr operator uint64_t() const { return low_; }

  friend constexpr bool operator==(TwoHalves, TwoHalves) = default;
  friend constexpr std::strong_ordering operator<=>(TwoHalves a, TwoHalves b) {
    const auto high = static_cast<int64_t>(a.high_) <=> static_cast<int64_t>(b.high_);
    return high != 0 ? high : a.low_ <=> b.low_;
  }

  friend constexpr TwoHalves operator+(TwoHalves a, TwoHalves b) {
    const uint64_t low = a.low_ + b.low_;
    return {a.high_ + b.high_ + (low < a.low_ ? 1 : 0), low};
  }
  constexpr TwoHalves operator-() const { return TwoHalves{~high_, ~low_} + TwoHalves{1}; }
  friend constexpr TwoHalves operator-(TwoHalves a, TwoHalves b) { return a + -b; }

  friend constexpr TwoHalves operator*(TwoHalves a, TwoHalves b) {
    constexpr uint64_t kLow = 0xffffffff;
    const uint64_t a0 = a.low_ & kLow, a1 = a.low_ >> 32, b0 = b.low_ & kLow, b1 = b.low_ >> 32;
    const uint64_t cross = a1 * b0 + (a0 * b0 >> 32);
    const uint64_t other = a0 * b1 + (cross & kLow);
    return {a1 * b1 + (cross >> 32) + (other >> 32) + a.high_ * b.low_ + a.low_ * b.high_, a.low_ * b.low_};
  }

  constexpr TwoHalves operator<<(int places) const {  // 1 to 63
    return {high_ << places | low_ >> (64 - places), low_ << places};
  }

  // The divisor is not 0. Bit by bit: a few are divided for a block of samples.
  friend constexpr TwoHalves operator/(TwoHalves a, TwoHalves b) {
    const TwoHalves dividend = a.magnitude(), divisor = b.magnitude();
    TwoHalves quotient, rest;
    for (int bit = 127; bit >= 0; --bit) {
      const uint64_t next = (bit >= 64 ? dividend.high_ >> (bit - 64) : dividend.low_ >> bit) & 1;
      rest = rest << 1;
      rest.low_ |= next;
      quotient = quotient << 1;
      if (rest >= divisor) {
        rest = rest - divisor;
        quotient.low_ |= 1;
      }
    }
    return a.negative() != b.negative() ? -quotient : quotient;
  }
  friend constexpr TwoHalves operator%(TwoHalves a, TwoHalves b) { return a - a / b * b; }

 private:
  constexpr TwoHalves(uint64_t high, uint64_t low) : high_(high), low_(low) {}
  constexpr bool negative() const { return (high_ >> 63) != 0; }
  constexpr TwoHalves magnitude() const { return negative() ? -*this : *this; }

  uint64_t high_ = 0;
  uint64_t low_ = 0;
};

#ifdef __SIZEOF_INT128__
using Wide = __int128;
#else
using Wide = TwoHalves;
#endif

}  // namespace callreplay
