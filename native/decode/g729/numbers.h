// Logarithm, power and inverse root of the standard, a lane at a time. Arguments outside the stated ranges,
// which only lanes have whose result is not used, give some number and no fault.
#pragma once

#include "decode/g729/state.h"

namespace callreplay::CR_ISA::g729 {

// point * 2^16 - 2 * (point - next) * a, for an entry of (point - next, point) and 0 <= a < 2^15.
template <class V>
CR_LANE V between_points(V entry, V a) {
  return (entry & splat<V>(static_cast<int32_t>(0xFFFF0000))) - shl<1>(madd(entry, a));
}

template <class V>
struct Log2 {
  V exponent, fraction_q15;
};

// (0, 0) for x <= 0.
template <class V>
CR_LANE Log2<V> log2(V x) {
  const auto positive = x > splat<V>(0);
  const V n = norm(x);
  const V m = shl_each(x, n);
  const V index = max(shr<25>(m) - splat<V>(32), splat<V>(0)) & splat<V>(31);
  const V y = between_points(look_up(tables::kLog2Steps.at, index), shr<10>(m) & splat<V>(0x7FFF));
  const V zero = splat<V>(0);
  return {select(positive, splat<V>(30) - n, zero), select(positive, sar<16>(y), zero)};
}

// 2^(14 + fraction), fraction Q15 in [0, 1).
template <class V>
CR_LANE V pow2_q14(V fraction) {
  const V entry = look_up(tables::kPow2Steps.at, shr<10>(fraction) & splat<V>(31));
  const V y = between_points(entry, shl<5>(fraction & splat<V>(0x3FF)));
  return sar<1>(sar<15>(y) + splat<V>(1));
}

// 2^30 / sqrt(x); 0x3FFFFFFF for x <= 0.
template <class V>
CR_LANE V inverse_sqrt(V x) {
  const V n = norm(x);
  const V e = splat<V>(30) - n;
  const V odd = e & splat<V>(1);
  const V m = sar_each(shl_each(x, n), odd ^ splat<V>(1));
  const V index = min(max(shr<25>(m) - splat<V>(16), splat<V>(0)), splat<V>(47));
  const V y = between_points(look_up(tables::kInverseSqrtSteps.at, index), shr<10>(m) & splat<V>(0x7FFF));
  return select(x > splat<V>(0), sar_each(y, sar<1>(e) + splat<V>(1)), splat<V>(0x3FFFFFFF));
}

// mpy32x16 for a factor 0 <= n < 2^15 and no saturation.
template <class V>
CR_LANE V mpy32x16(V x, V n) {
  return shl<1>(madd(shr<16>(x), n) + sar<15>(madd(shr<1>(x) & splat<V>(0x7FFF), n)));
}

// A saturated lmac sum of squares whose un-doubled terms were added with umin(., 2^30).
template <class V>
CR_LANE V doubled_energy(V half_energy) {
  const V limit = splat<V>(1 << 30);
  const V bounded = umin(half_energy, limit);
  return select(bounded == limit, splat<V>(0x7FFFFFFF), shl<1>(bounded));
}

// rnd(lshl(x, n)) for x >= 0 and n = norm32(x).
template <class V>
CR_LANE V mantissa(V x, V n) {
  return min(shr<16>(shl_each(x, n) + splat<V>(32768)), splat<V>(32767));
}

}  // namespace callreplay::CR_ISA::g729
