// Lanes of int16: the operations, and their law in plain C++ for any N. The registers of each instruction set
// overload them in i16_<isa>.h, included at the end.
//
//   sadd ssub          saturating, as ETSI add() and sub()
//   + - mullo          modulo 2^16
//   mulhi              (a * b) >> 16
//   mul15              (a * b) >> 15, as ETSI mult(); a and b must not both be -32768
//   sar<k> shl<k> shr<k>  arithmetic, left and logical shifts
//   sign               -1 where negative, else 0 (a mask)
//   negate_if          -a where the mask is -1
//   select             a where the mask is -1, else b
//   sign_factor        what times_sign() takes: remembers whether a value is negative
//   times_sign         w where the factor's value was not negative, else -w
//   any sum            of a mask; over the lanes, in 32 bits (8 lanes have it in registers)
//   Lut<N, K>          table of K = 16, 32 or 64 values; every index must be in [0, K)
//   pairs mac narrow   sums of products in 32 bits: acc += x0 * c0 + x1 * c1; narrow<k> is saturate(acc >> k)
#pragma once

#include <cstring>

#include "lanes/lanes.h"

namespace callreplay::CR_ISA {

CR_LANE int16_t saturate16(int32_t x) {
  return static_cast<int16_t>(x > 32767 ? 32767 : x < -32768 ? -32768 : x);
}

template <int N>
struct Lanes<int16_t, N> {
  int16_t v[N];

  Lanes() = default;
  CR_LANE Lanes(int16_t x) {
    for (int i = 0; i < N; ++i) v[i] = x;
  }
  static CR_LANE Lanes load(const int16_t *from) {
    Lanes r;
    std::memcpy(r.v, from, sizeof r.v);
    return r;
  }
  static CR_LANE Lanes widen(const uint8_t *from) {
    Lanes r;
    for (int i = 0; i < N; ++i) r.v[i] = from[i];
    return r;
  }
  // a in lane 0, b in lane 1; the others 0. And back.
  static CR_LANE Lanes load_pair(int16_t a, int16_t b) {
    Lanes r(0);
    r.v[0] = a;
    r.v[1] = b;
    return r;
  }
  CR_LANE void store_pair(int16_t *a, int16_t *b) const {
    *a = v[0];
    *b = v[1];
  }
  CR_LANE void store(int16_t *to) const { std::memcpy(to, v, sizeof v); }
  CR_LANE void store_low_octets(uint8_t *to) const {
    for (int i = 0; i < N; ++i) to[i] = static_cast<uint8_t>(v[i]);
  }
};

namespace law {

template <int N, class F>
CR_LANE Lanes<int16_t, N> map(const Lanes<int16_t, N> &a, F f) {
  Lanes<int16_t, N> r;
  for (int i = 0; i < N; ++i) r.v[i] = static_cast<int16_t>(f(static_cast<int32_t>(a.v[i])));
  return r;
}

template <int N, class F>
CR_LANE Lanes<int16_t, N> map(const Lanes<int16_t, N> &a, const Lanes<int16_t, N> &b, F f) {
  Lanes<int16_t, N> r;
  for (int i = 0; i < N; ++i) {
    r.v[i] = static_cast<int16_t>(f(static_cast<int32_t>(a.v[i]), static_cast<int32_t>(b.v[i])));
  }
  return r;
}

}  // namespace law

#define CR_LAW_BINARY(name, expression)                                                                 \
  template <int N>                                                                                      \
  CR_LANE Lanes<int16_t, N> name(const Lanes<int16_t, N> &a, const Lanes<int16_t, N> &b) {              \
    return law::map(                                                                                    \
        a, b, [](int32_t x, int32_t y) __attribute__((always_inline))->int32_t { return expression; }); \
  }
CR_LAW_BINARY(operator+, x + y)
CR_LAW_BINARY(operator-, x - y)
CR_LAW_BINARY(operator&, x &y)
CR_LAW_BINARY(operator|, x | y)
CR_LAW_BINARY(operator^, x ^ y)
CR_LAW_BINARY(sadd, saturate16(x + y))
CR_LAW_BINARY(ssub, saturate16(x - y))
CR_LAW_BINARY(mullo, x *y)
CR_LAW_BINARY(mulhi, (x * y) >> 16)
CR_LAW_BINARY(mul15, (x * y) >> 15)
CR_LAW_BINARY(min, x < y ? x : y)
CR_LAW_BINARY(max, x > y ? x : y)
CR_LAW_BINARY(greater, x > y ? -1 : 0)
CR_LAW_BINARY(times_sign, x *y)
#undef CR_LAW_BINARY

template <int k, int N>
CR_LANE Lanes<int16_t, N> sar(const Lanes<int16_t, N> &a) {
  return law::map(a, [](int32_t x) { return x >> k; });
}

template <int k, int N>
CR_LANE Lanes<int16_t, N> shl(const Lanes<int16_t, N> &a) {
  return law::map(a, [](int32_t x) { return x << k; });
}

template <int k, int N>
CR_LANE Lanes<int16_t, N> shr(const Lanes<int16_t, N> &a) {
  return law::map(a, [](int32_t x) { return (x & 0xFFFF) >> k; });
}

// a << count, each count in [0, 7], modulo 2^16.
template <int N>
CR_LANE Lanes<int16_t, N> shl_each(const Lanes<int16_t, N> &a, const Lanes<int16_t, N> &count) {
  return law::map(a, count, [](int32_t x, int32_t y) { return x << y; });
}

// 16 * floor(log2 a) plus the four bits below the leading one, for a in [1, 32767]: the segment and interval
// of a logarithmic quantiser.
template <int N>
CR_LANE Lanes<int16_t, N> log2_q4(const Lanes<int16_t, N> &a) {
  return law::map(a, [](int32_t x) {
    const int exponent = 31 - __builtin_clz(static_cast<uint32_t>(x) | 1);
    return (exponent << 4) + (((x << 4) >> exponent) & 15);
  });
}

template <int N>
CR_LANE Lanes<int16_t, N> sign_factor(const Lanes<int16_t, N> &a) {
  return law::map(a, [](int32_t x) { return x < 0 ? -1 : 1; });
}

// step * sgn(a), and 0 where a is 0.
template <int N>
CR_LANE Lanes<int16_t, N> step_towards(const Lanes<int16_t, N> &a, int16_t step) {
  return law::map(a, [step](int32_t x) { return x > 0 ? step : x < 0 ? -step : 0; });
}

template <int N>
CR_LANE bool any(const Lanes<int16_t, N> &mask) {
  int32_t all = 0;
  for (int i = 0; i < N; ++i) all |= mask.v[i];
  return all != 0;
}

template <int N>
CR_LANE int32_t sum(const Lanes<int16_t, N> &a) {
  int32_t total = 0;
  for (int i = 0; i < N; ++i) total += a.v[i];
  return total;
}

// to[2 i] = a's lane i, to[2 i + 1] = b's.
template <int N>
CR_LANE void store_interleaved(const Lanes<int16_t, N> &a, const Lanes<int16_t, N> &b, int16_t *to) {
  for (int i = 0; i < N; ++i) {
    to[2 * i] = a.v[i];
    to[2 * i + 1] = b.v[i];
  }
}

template <int N, int K>
struct Lut {
  const int16_t *table;
  explicit CR_LANE Lut(const int16_t (&entries)[K]) : table(entries) {}
  CR_LANE Lanes<int16_t, N> operator()(const Lanes<int16_t, N> &index) const {
    const int16_t *entries = table;
    return law::map(index, [entries](int32_t i) { return entries[i]; });
  }
};

template <int N>
struct Pairs {
  Lanes<int16_t, N> x0, x1;
};

template <int N>
struct Wide {
  int32_t v[N];
};

template <int N>
CR_LANE Pairs<N> pairs(const Lanes<int16_t, N> &x0, const Lanes<int16_t, N> &x1) {
  return {x0, x1};
}

template <int N>
CR_LANE void clear(Wide<N> &acc) {
  for (int i = 0; i < N; ++i) acc.v[i] = 0;
}

template <int N>
CR_LANE void mac(Wide<N> &acc, const Pairs<N> &x, int16_t c0, int16_t c1) {
  for (int i = 0; i < N; ++i) acc.v[i] += x.x0.v[i] * c0 + x.x1.v[i] * c1;
}

template <int k, int N>
CR_LANE Lanes<int16_t, N> narrow(const Wide<N> &acc) {
  Lanes<int16_t, N> r;
  for (int i = 0; i < N; ++i) r.v[i] = saturate16(acc.v[i] >> k);
  return r;
}

}  // namespace callreplay::CR_ISA

// The registers of this instruction set; kWidth16 is how many int16 lanes one holds.
#if defined(CR_ISA_avx2)
#include "lanes/i16_avx2.h"
#elif defined(CR_ISA_avx512)
#include "lanes/i16_avx512.h"
#elif defined(CR_ISA_neon)
#include "lanes/i16_neon.h"
#elif defined(CR_ISA_baseline) && defined(__SSE2__)
#include "lanes/i16_sse2.h"
#else
namespace callreplay::CR_ISA {
inline constexpr int kWidth16 = 8;
}
#endif

namespace callreplay::CR_ISA {

// Composed of the above, so the same for every register.
template <int N>
CR_LANE Lanes<int16_t, N> clamp(const Lanes<int16_t, N> &a, const Lanes<int16_t, N> &low,
                                const Lanes<int16_t, N> &high) {
  return min(max(a, low), high);
}

template <int N>
CR_LANE Lanes<int16_t, N> sign(const Lanes<int16_t, N> &a) {
  return sar<15>(a);
}

template <int N>
CR_LANE Lanes<int16_t, N> negate_if(const Lanes<int16_t, N> &a, const Lanes<int16_t, N> &mask) {
  return (a ^ mask) - mask;
}

template <int N>
CR_LANE Lanes<int16_t, N> select(const Lanes<int16_t, N> &mask, const Lanes<int16_t, N> &a,
                                 const Lanes<int16_t, N> &b) {
  return ((a ^ b) & mask) ^ b;
}

}  // namespace callreplay::CR_ISA
