// Lanes of int16: the law in plain C++ for any N, then the register of this instruction set, kWidth16 lanes
// wide. docs/lanes.md lists the operations.
#pragma once

#include <cstring>

#include "lanes/registers.h"

namespace callreplay::CR_ISA {

CR_LANE int16_t saturate16(int32_t x) {
  return static_cast<int16_t>(x > 32767 ? 32767 : x < -32768 ? -32768 : x);
}

template <int N>
struct Lanes<int16_t, N> {
  using Element = int16_t;
  using Mask = Lanes;
  static constexpr int kLanes = N;
  int16_t v[N];

  static CR_LANE Lanes splat(int16_t x) {
    Lanes r;
    for (int i = 0; i < N; ++i) r.v[i] = x;
    return r;
  }
  static CR_LANE Lanes load(const int16_t *from) {
    Lanes r;
    std::memcpy(r.v, from, sizeof r.v);
    return r;
  }
  static CR_LANE Lanes load_octets(const uint8_t *from) {
    Lanes r;
    for (int i = 0; i < N; ++i) r.v[i] = from[i];
    return r;
  }
  CR_LANE void store(int16_t *to) const { std::memcpy(to, v, sizeof v); }
};

namespace law {

// A register has no int16 at v[i].
template <int N>
inline constexpr bool kPlain = sizeof(Lanes<int16_t, N>{}.v[0]) == sizeof(int16_t);

template <int N, class F>
CR_LANE Lanes<int16_t, N> map(Lanes<int16_t, N> a, F f) {
  static_assert(kPlain<N>);
  Lanes<int16_t, N> r;
  for (int i = 0; i < N; ++i) r.v[i] = static_cast<int16_t>(f(static_cast<int32_t>(a.v[i])));
  return r;
}

template <int N, class F>
CR_LANE Lanes<int16_t, N> map(Lanes<int16_t, N> a, Lanes<int16_t, N> b, F f) {
  static_assert(kPlain<N>);
  Lanes<int16_t, N> r;
  for (int i = 0; i < N; ++i) {
    r.v[i] = static_cast<int16_t>(f(static_cast<int32_t>(a.v[i]), static_cast<int32_t>(b.v[i])));
  }
  return r;
}

}  // namespace law

#define CR_LAW(name, value)                                                                        \
  template <int N>                                                                                 \
  CR_LANE Lanes<int16_t, N> name(Lanes<int16_t, N> a, Lanes<int16_t, N> b) {                       \
    return law::map(                                                                               \
        a, b, [](int32_t x, int32_t y) __attribute__((always_inline))->int32_t { return value; }); \
  }
#define CR_LAW_SHIFT(name, value)                        \
  template <int k, int N>                                \
  CR_LANE Lanes<int16_t, N> name(Lanes<int16_t, N> a) {  \
    return law::map(a, [](int32_t x) { return value; }); \
  }
// clang-format off
CR_LAW(operator+, x + y)
CR_LAW(operator-, x - y)
CR_LAW(operator*, x * y)
CR_LAW(operator&, x & y)
CR_LAW(operator|, x | y)
CR_LAW(operator^, x ^ y)
CR_LAW(operator>, x > y ? -1 : 0)
CR_LAW(sadd, saturate16(x + y))
CR_LAW(ssub, saturate16(x - y))
CR_LAW(mulhi, (x * y) >> 16)
CR_LAW(mul15, (x * y) >> 15)
CR_LAW(min, x < y ? x : y)
CR_LAW(max, x > y ? x : y)
CR_LAW(times_sign, x * y)
CR_LAW(shl_each, static_cast<int32_t>(static_cast<uint32_t>(x) << y))
CR_LAW_SHIFT(shl, static_cast<int32_t>(static_cast<uint32_t>(x) << k))
CR_LAW_SHIFT(shr, (x & 0xFFFF) >> k)
CR_LAW_SHIFT(sar, x >> k)
// clang-format on
#undef CR_LAW
#undef CR_LAW_SHIFT

template <int N>
CR_LANE Lanes<int16_t, N> log2_q4(Lanes<int16_t, N> a) {
  return law::map(a, [](int32_t x) {
    const int exponent = 31 - __builtin_clz(static_cast<uint32_t>(x) | 1);
    return (exponent << 4) + (((x << 4) >> exponent) & 15);
  });
}

template <int N>
CR_LANE Lanes<int16_t, N> sign_factor(Lanes<int16_t, N> a) {
  return law::map(a, [](int32_t x) { return x < 0 ? -1 : 1; });
}

template <int N>
CR_LANE Lanes<int16_t, N> step_towards(Lanes<int16_t, N> a, int16_t step) {
  return law::map(a, [step](int32_t x) { return x > 0 ? step : x < 0 ? -step : 0; });
}

template <int N>
CR_LANE bool any(Lanes<int16_t, N> mask) {
  int32_t all = 0;
  for (int i = 0; i < N; ++i) all |= mask.v[i];
  return all != 0;
}

template <int N>
CR_LANE int32_t sum(Lanes<int16_t, N> a) {
  static_assert(law::kPlain<N>);
  int32_t total = 0;
  for (int i = 0; i < N; ++i) total += a.v[i];
  return total;
}

template <int N>
CR_LANE void store_octets(uint8_t *to, Lanes<int16_t, N> a) {
  for (int i = 0; i < N; ++i) to[i] = static_cast<uint8_t>(a.v[i]);
}

template <int N>
CR_LANE void store_interleaved(int16_t *to, Lanes<int16_t, N> a, Lanes<int16_t, N> b) {
  static_assert(law::kPlain<N>);
  for (int i = 0; i < N; ++i) {
    to[2 * i] = a.v[i];
    to[2 * i + 1] = b.v[i];
  }
}

template <class V>
CR_LANE V load_two(int16_t a, int16_t b) {
  int16_t values[V::kLanes] = {a, b};
  return V::load(values);
}
template <int N>
CR_LANE void store_two(int16_t *a, int16_t *b, Lanes<int16_t, N> two) {
  static_assert(law::kPlain<N>);
  *a = two.v[0];
  *b = two.v[1];
}

template <int N, int K>
struct Lut {
  const int16_t *table;
  explicit CR_LANE Lut(const int16_t (&entries)[K]) : table(entries) {}
  CR_LANE Lanes<int16_t, N> operator()(Lanes<int16_t, N> index) const {
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
CR_LANE Pairs<N> pairs(Lanes<int16_t, N> x0, Lanes<int16_t, N> x1) {
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

// Sums of squares, unsigned 32 bits: three fit.
template <int N>
struct Squares {
  uint32_t v[N];
};

template <int N>
CR_LANE void clear(Squares<N> &sums) {
  for (int i = 0; i < N; ++i) sums.v[i] = 0;
}

template <int N>
CR_LANE void add_squares(Squares<N> &sums, Lanes<int16_t, N> a) {
  for (int i = 0; i < N; ++i) sums.v[i] += static_cast<uint32_t>(int32_t{a.v[i]} * a.v[i]);
}

template <int N>
CR_LANE void store_squares(uint32_t *even, uint32_t *odd, const Squares<N> &sums) {
  for (int i = 0; i < N / 2; ++i) {
    even[i] = sums.v[2 * i];
    odd[i] = sums.v[2 * i + 1];
  }
}

// The registers.
#if defined(CR_AVX512) || defined(CR_AVX2) || defined(CR_SSE2)

inline constexpr int kWidth16 = sizeof(Register) / sizeof(int16_t);

template <>
struct Lanes<int16_t, kWidth16> {
  using Element = int16_t;
  using Mask = Lanes;
  static constexpr int kLanes = kWidth16;
  Register v;

  static CR_LANE Lanes splat(int16_t x) { return {CR_MM(set1_epi16)(x)}; }
  static CR_LANE Lanes load(const int16_t *from) { return {load_register(from)}; }
  static CR_LANE Lanes load_octets(const uint8_t *from) {
#if defined(CR_AVX512)
    return {_mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(from)))};
#elif defined(CR_AVX2)
    return {_mm256_cvtepu8_epi16(load_128(from))};
#else
    return {_mm_unpacklo_epi8(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(from)), _mm_setzero_si128())};
#endif
  }
  CR_LANE void store(int16_t *to) const {
    store_register(to, v);
  }
};

using I16 = Lanes<int16_t, kWidth16>;

CR_BINARY(I16, operator+, CR_MM(add_epi16)(a.v, b.v))
CR_BINARY(I16, operator-, CR_MM(sub_epi16)(a.v, b.v))
CR_BINARY(I16, operator*, CR_MM(mullo_epi16)(a.v, b.v))
CR_BINARY(I16, operator&, CR_MM_BITS (and)(a.v, b.v))
CR_BINARY(I16, operator|, CR_MM_BITS(or)(a.v, b.v))
CR_BINARY(I16, operator^, CR_MM_BITS (xor)(a.v, b.v))
CR_BINARY(I16, sadd, CR_MM(adds_epi16)(a.v, b.v))
CR_BINARY(I16, ssub, CR_MM(subs_epi16)(a.v, b.v))
CR_BINARY(I16, mulhi, CR_MM(mulhi_epi16)(a.v, b.v))
CR_BINARY(I16, min, CR_MM(min_epi16)(a.v, b.v))
CR_BINARY(I16, max, CR_MM(max_epi16)(a.v, b.v))
CR_SHIFT(I16, shl, CR_MM(slli_epi16)(a.v, k))
CR_SHIFT(I16, shr, CR_MM(srli_epi16)(a.v, k))
CR_SHIFT(I16, sar, CR_MM(srai_epi16)(a.v, k))

CR_LANE I16 mul15(I16 a, I16 b) {
  const Register high = CR_MM(mulhi_epi16)(a.v, b.v);
  return I16{CR_MM(add_epi16)(high, high)} | shr<15>(a * b);
}

CR_LANE I16 log2_q4(I16 a) {
  // An integer below 2^24 converted to float is exact: its exponent and leading mantissa bits are the answer.
  const Register zero = CR_MM_BITS(setzero)();
  const auto top = [](Register x) { return CR_MM(srli_epi32)(as_bits(CR_MM(cvtepi32_ps)(x)), 19); };
  const Register packed =
      CR_MM(packs_epi32)(top(CR_MM(unpacklo_epi16)(a.v, zero)), top(CR_MM(unpackhi_epi16)(a.v, zero)));
  return I16{packed} - splat<I16>(127 << 4);
}

template <>
struct Pairs<kWidth16> {
  Register low, high;
};

template <>
struct Wide<kWidth16> {
  Register low, high;
};

CR_LANE Pairs<kWidth16> pairs(I16 x0, I16 x1) {
  return {CR_MM(unpacklo_epi16)(x0.v, x1.v), CR_MM(unpackhi_epi16)(x0.v, x1.v)};
}

CR_LANE void clear(Wide<kWidth16> &acc) {
  acc.low = acc.high = CR_MM_BITS(setzero)();
}

CR_LANE void mac(Wide<kWidth16> &acc, const Pairs<kWidth16> &x, int16_t c0, int16_t c1) {
  const Register c = CR_MM(set1_epi32)(static_cast<int32_t>(static_cast<uint16_t>(c0)) | c1 * 65536);
  acc.low = CR_MM(add_epi32)(acc.low, CR_MM(madd_epi16)(x.low, c));
  acc.high = CR_MM(add_epi32)(acc.high, CR_MM(madd_epi16)(x.high, c));
}

template <int k>
CR_LANE I16 narrow(const Wide<kWidth16> &acc) {
  return {CR_MM(packs_epi32)(CR_MM(srai_epi32)(acc.low, k), CR_MM(srai_epi32)(acc.high, k))};
}

template <>
struct Squares<kWidth16> {
  Register even, odd;
};

CR_LANE void clear(Squares<kWidth16> &sums) {
  sums.even = sums.odd = CR_MM_BITS(setzero)();
}

CR_LANE void add_squares(Squares<kWidth16> &sums, I16 a) {
  const Register even = CR_MM_BITS(and)(a.v, CR_MM(set1_epi32)(0xFFFF));
  const Register odd = CR_MM_BITS(andnot)(CR_MM(set1_epi32)(0xFFFF), a.v);
  sums.even = CR_MM(add_epi32)(sums.even, CR_MM(madd_epi16)(even, even));
  sums.odd = CR_MM(add_epi32)(sums.odd, CR_MM(madd_epi16)(odd, odd));
}

CR_LANE void store_squares(uint32_t *even, uint32_t *odd, const Squares<kWidth16> &sums) {
  store_register(even, sums.even);
  store_register(odd, sums.odd);
}

#endif
#if defined(CR_AVX512)

CR_BINARY(I16, operator>, _mm512_movm_epi16(_mm512_cmpgt_epi16_mask(a.v, b.v)))
CR_BINARY(I16, shl_each, _mm512_sllv_epi16(a.v, b.v))
// There is no vpsignw of this width; a product with +-1 is one instruction too.
CR_UNARY(I16, sign_factor, _mm512_or_si512(_mm512_srai_epi16(a.v, 15), _mm512_set1_epi16(1)))
CR_BINARY(I16, times_sign, _mm512_mullo_epi16(a.v, b.v))

CR_LANE I16 step_towards(I16 a, int16_t step) {
  const __m512i size = _mm512_maskz_set1_epi16(_mm512_test_epi16_mask(a.v, a.v), step);
  return {_mm512_mask_sub_epi16(size, _mm512_movepi16_mask(a.v), _mm512_setzero_si512(), size)};
}
CR_LANE bool any(I16 mask) {
  return _mm512_test_epi16_mask(mask.v, mask.v) != 0;
}
CR_LANE void store_octets(uint8_t *to, I16 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(to), _mm512_cvtepi16_epi8(a.v));
}

// One register holds 32 entries. vpermw takes the index modulo 32, vpermi2w modulo 64.
template <int K>
struct Lut<32, K> {
  static constexpr int kParts = K <= 32 ? 1 : K / 32;
  __m512i part[kParts];

  explicit CR_LANE Lut(const int16_t (&entries)[K]) {
    if constexpr (K == 16) {
      part[0] = _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(&entries[0])));
    } else {
      for (int i = 0; i < kParts; ++i) part[i] = _mm512_loadu_si512(entries + 32 * i);
    }
  }

  CR_LANE I16 operator()(I16 index) const {
    if constexpr (kParts == 1) {
      return {_mm512_permutexvar_epi16(index.v, part[0])};
    } else {
      const __m512i low = _mm512_permutex2var_epi16(part[0], index.v, part[1]);
      if constexpr (kParts == 2) {
        return {low};
      } else {
        const __mmask32 upper = _mm512_test_epi16_mask(index.v, _mm512_set1_epi16(64));
        return {_mm512_mask_mov_epi16(low, upper, _mm512_permutex2var_epi16(part[2], index.v, part[3]))};
      }
    }
  }
};

#elif defined(CR_AVX2)

CR_BINARY(I16, operator>, _mm256_cmpgt_epi16(a.v, b.v))
CR_UNARY(I16, sign_factor, _mm256_or_si256(a.v, _mm256_set1_epi16(1)))
CR_BINARY(I16, times_sign, _mm256_sign_epi16(a.v, b.v))

CR_LANE I16 shl_each(I16 a, I16 count) {
  // 2^count fits an octet; the index octet above each count has its top bit set, which gives 0.
  const __m256i powers = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ULL));
  const __m256i index = _mm256_or_si256(count.v, _mm256_set1_epi16(static_cast<int16_t>(0x8000)));
  return {_mm256_mullo_epi16(a.v, _mm256_shuffle_epi8(powers, index))};
}
CR_LANE I16 step_towards(I16 a, int16_t step) {
  return {_mm256_sign_epi16(_mm256_set1_epi16(step), a.v)};
}
CR_LANE bool any(I16 mask) {
  return !_mm256_testz_si256(mask.v, mask.v);
}
CR_LANE void store_octets(uint8_t *to, I16 a) {
  const __m256i low = _mm256_and_si256(a.v, _mm256_set1_epi16(255));
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi16(low, low), 0x08);
  store_128(to, _mm256_castsi256_si128(packed));
}

// Tables as planes of low and high octets, 16 entries to a register: vpshufb looks up both octets of a lane
// with the index in each. Gathers are slower by half.
template <int K>
struct Lut<16, K> {
  static constexpr int kParts = K / 16;
  __m256i low[kParts], high[kParts];

  explicit CR_LANE Lut(const int16_t (&entries)[K]) {
    const __m128i octets = _mm_set1_epi16(255);
    for (int part = 0; part < kParts; ++part) {
      const __m128i a = load_128(entries + 16 * part), b = load_128(entries + 16 * part + 8);
      low[part] =
          _mm256_broadcastsi128_si256(_mm_packus_epi16(_mm_and_si128(a, octets), _mm_and_si128(b, octets)));
      high[part] = _mm256_broadcastsi128_si256(_mm_packus_epi16(_mm_srli_epi16(a, 8), _mm_srli_epi16(b, 8)));
    }
  }

  CR_LANE I16 operator()(I16 index) const {
    const __m256i both = _mm256_or_si256(index.v, _mm256_slli_epi16(index.v, 8));
    const __m256i bit4 = _mm256_slli_epi16(both, 3);
    const __m256i bit5 = _mm256_slli_epi16(both, 2);
    const auto plane = [&](const __m256i *table) __attribute__((always_inline)) {
      __m256i found[kParts];
      for (int part = 0; part < kParts; ++part) found[part] = _mm256_shuffle_epi8(table[part], both);
      if constexpr (kParts >= 2) found[0] = _mm256_blendv_epi8(found[0], found[1], bit4);
      if constexpr (kParts == 4) {
        found[2] = _mm256_blendv_epi8(found[2], found[3], bit4);
        found[0] = _mm256_blendv_epi8(found[0], found[2], bit5);
      }
      return found[0];
    };
    return {_mm256_blendv_epi8(plane(low), plane(high), _mm256_set1_epi16(static_cast<int16_t>(0xFF00)))};
  }
};

#elif defined(CR_SSE2)

CR_BINARY(I16, operator>, _mm_cmpgt_epi16(a.v, b.v))
CR_UNARY(I16, sign_factor, _mm_or_si128(_mm_srai_epi16(a.v, 15), _mm_set1_epi16(1)))
CR_BINARY(I16, times_sign, _mm_mullo_epi16(a.v, b.v))

CR_LANE I16 shl_each(I16 a, I16 count) {
  // Bit by bit of the count: x += x & mask is a shift by one where the mask is set.
  const auto bit = [&](int n) {
    const __m128i one = _mm_set1_epi16(static_cast<int16_t>(1 << n));
    return _mm_cmpeq_epi16(_mm_and_si128(count.v, one), one);
  };
  const auto shifted = [](__m128i x, __m128i y, __m128i mask) {
    return _mm_xor_si128(x, _mm_and_si128(_mm_xor_si128(x, y), mask));
  };
  __m128i x = _mm_add_epi16(a.v, _mm_and_si128(a.v, bit(0)));
  x = shifted(x, _mm_slli_epi16(x, 2), bit(1));
  return {shifted(x, _mm_slli_epi16(x, 4), bit(2))};
}
CR_LANE I16 step_towards(I16 a, int16_t step) {
  const __m128i negative = _mm_srai_epi16(a.v, 15);
  const __m128i size = _mm_andnot_si128(_mm_cmpeq_epi16(a.v, _mm_setzero_si128()), _mm_set1_epi16(step));
  return {_mm_sub_epi16(_mm_xor_si128(size, negative), negative)};
}
CR_LANE int32_t sum(I16 a) {
  __m128i x = _mm_madd_epi16(a.v, _mm_set1_epi16(1));
  x = _mm_add_epi32(x, _mm_shuffle_epi32(x, _MM_SHUFFLE(1, 0, 3, 2)));
  x = _mm_add_epi32(x, _mm_shuffle_epi32(x, _MM_SHUFFLE(2, 3, 0, 1)));
  return _mm_cvtsi128_si32(x);
}
CR_LANE bool any(I16 mask) {
  return _mm_movemask_epi8(mask.v) != 0;
}
CR_LANE void store_octets(uint8_t *to, I16 a) {
  const __m128i low = _mm_and_si128(a.v, _mm_set1_epi16(255));
  _mm_storel_epi64(reinterpret_cast<__m128i *>(to), _mm_packus_epi16(low, low));
}
CR_LANE void store_interleaved(int16_t *to, I16 a, I16 b) {
  store_128(to, _mm_unpacklo_epi16(a.v, b.v));
  store_128(to + 8, _mm_unpackhi_epi16(a.v, b.v));
}
template <>
CR_LANE I16 load_two<I16>(int16_t a, int16_t b) {
  return {_mm_insert_epi16(_mm_cvtsi32_si128(static_cast<uint16_t>(a)), b, 1)};
}
CR_LANE void store_two(int16_t *a, int16_t *b, I16 two) {
  const int32_t both = _mm_cvtsi128_si32(two.v);
  *a = static_cast<int16_t>(both);
  *b = static_cast<int16_t>(both >> 16);
}

// SSE2 has no permute by a register: eight loads and inserts.
template <int K>
struct Lut<8, K> {
  const int16_t *table;
  explicit CR_LANE Lut(const int16_t (&entries)[K]) : table(entries) {}
  CR_LANE I16 operator()(I16 index) const {
    __m128i r = _mm_cvtsi32_si128(table[_mm_extract_epi16(index.v, 0)]);
    r = _mm_insert_epi16(r, table[_mm_extract_epi16(index.v, 1)], 1);
    r = _mm_insert_epi16(r, table[_mm_extract_epi16(index.v, 2)], 2);
    r = _mm_insert_epi16(r, table[_mm_extract_epi16(index.v, 3)], 3);
    r = _mm_insert_epi16(r, table[_mm_extract_epi16(index.v, 4)], 4);
    r = _mm_insert_epi16(r, table[_mm_extract_epi16(index.v, 5)], 5);
    r = _mm_insert_epi16(r, table[_mm_extract_epi16(index.v, 6)], 6);
    return {_mm_insert_epi16(r, table[_mm_extract_epi16(index.v, 7)], 7)};
  }
};

#elif defined(CR_NEON)

inline constexpr int kWidth16 = 8;

template <>
struct Lanes<int16_t, kWidth16> {
  using Element = int16_t;
  using Mask = Lanes;
  static constexpr int kLanes = kWidth16;
  int16x8_t v;

  static CR_LANE Lanes splat(int16_t x) { return {vdupq_n_s16(x)}; }
  static CR_LANE Lanes load(const int16_t *from) { return {vld1q_s16(from)}; }
  static CR_LANE Lanes load_octets(const uint8_t *from) {
    return {vreinterpretq_s16_u16(vmovl_u8(vld1_u8(from)))};
  }
  CR_LANE void store(int16_t *to) const { vst1q_s16(to, v); }
};

using I16 = Lanes<int16_t, kWidth16>;

CR_BINARY(I16, operator+, vaddq_s16(a.v, b.v))
CR_BINARY(I16, operator-, vsubq_s16(a.v, b.v))
CR_BINARY(I16, operator*, vmulq_s16(a.v, b.v))
CR_BINARY(I16, operator&, vandq_s16(a.v, b.v))
CR_BINARY(I16, operator|, vorrq_s16(a.v, b.v))
CR_BINARY(I16, operator^, veorq_s16(a.v, b.v))
CR_BINARY(I16, operator>, vreinterpretq_s16_u16(vcgtq_s16(a.v, b.v)))
CR_BINARY(I16, sadd, vqaddq_s16(a.v, b.v))
CR_BINARY(I16, ssub, vqsubq_s16(a.v, b.v))
// sqdmulh is (2ab) >> 16; it saturates for -32768 * -32768 only, which mul15 excludes.
CR_BINARY(I16, mul15, vqdmulhq_s16(a.v, b.v))
CR_BINARY(I16, min, vminq_s16(a.v, b.v))
CR_BINARY(I16, max, vmaxq_s16(a.v, b.v))
CR_BINARY(I16, shl_each, vshlq_s16(a.v, b.v))
CR_BINARY(I16, times_sign, vmulq_s16(a.v, b.v))
CR_UNARY(I16, sign_factor, vorrq_s16(vshrq_n_s16(a.v, 15), vdupq_n_s16(1)))
CR_SHIFT(I16, shl, vshlq_n_s16(a.v, k))
CR_SHIFT(I16, shr, vreinterpretq_s16_u16(vshrq_n_u16(vreinterpretq_u16_s16(a.v), k)))
CR_SHIFT(I16, sar, vshrq_n_s16(a.v, k))

CR_LANE I16 mulhi(I16 a, I16 b) {
  const int32x4_t low = vmull_s16(vget_low_s16(a.v), vget_low_s16(b.v));
  const int32x4_t high = vmull_high_s16(a.v, b.v);
  return {vuzp2q_s16(vreinterpretq_s16_s32(low), vreinterpretq_s16_s32(high))};
}
CR_LANE I16 log2_q4(I16 a) {
  const int16x8_t zeros = vclzq_s16(a.v);  // 1 to 15 for 1 to 32767
  const int16x8_t aligned = vshlq_s16(a.v, zeros);
  const int16x8_t below =
      vandq_s16(vreinterpretq_s16_u16(vshrq_n_u16(vreinterpretq_u16_s16(aligned), 11)), vdupq_n_s16(15));
  return {vaddq_s16(vshlq_n_s16(vsubq_s16(vdupq_n_s16(15), zeros), 4), below)};
}
CR_LANE I16 step_towards(I16 a, int16_t step) {
  const int16x8_t negative = vshrq_n_s16(a.v, 15);
  const int16x8_t size = vandq_s16(vreinterpretq_s16_u16(vtstq_s16(a.v, a.v)), vdupq_n_s16(step));
  return {vsubq_s16(veorq_s16(size, negative), negative)};
}
CR_LANE int32_t sum(I16 a) {
  return vaddlvq_s16(a.v);
}
CR_LANE bool any(I16 mask) {
  return vmaxvq_u16(vreinterpretq_u16_s16(mask.v)) != 0;
}
CR_LANE void store_octets(uint8_t *to, I16 a) {
  vst1_u8(to, vmovn_u16(vreinterpretq_u16_s16(a.v)));
}
CR_LANE void store_interleaved(int16_t *to, I16 a, I16 b) {
  vst2q_s16(to, int16x8x2_t{{a.v, b.v}});
}
template <>
CR_LANE I16 load_two<I16>(int16_t a, int16_t b) {
  return {vsetq_lane_s16(b, vsetq_lane_s16(a, vdupq_n_s16(0), 0), 1)};
}
CR_LANE void store_two(int16_t *a, int16_t *b, I16 two) {
  *a = vgetq_lane_s16(two.v, 0);
  *b = vgetq_lane_s16(two.v, 1);
}

// tbl looks octets up in one to four registers; a lane's two octets are at 2i and 2i + 1.
template <int K>
struct Lut<8, K> {
  static constexpr int kParts = K / 8;
  uint8x16_t part[kParts];

  explicit CR_LANE Lut(const int16_t (&entries)[K]) {
    for (int i = 0; i < kParts; ++i) part[i] = vreinterpretq_u8_s16(vld1q_s16(entries + 8 * i));
  }

  CR_LANE I16 operator()(I16 index) const {
    const int16x8_t octets = vaddq_s16(vmulq_n_s16(index.v, 0x0202), vdupq_n_s16(0x0100));
    uint8x16_t at = vreinterpretq_u8_s16(octets);
    if constexpr (K == 16) {
      return {vreinterpretq_s16_u8(vqtbl2q_u8(uint8x16x2_t{{part[0], part[1]}}, at))};
    } else {
      // An index beyond the table gives 0 (tbl) or leaves the lane alone (tbx).
      uint8x16_t r = vqtbl4q_u8(uint8x16x4_t{{part[0], part[1], part[2], part[3]}}, at);
      if constexpr (K == 64) {
        at = vsubq_u8(at, vdupq_n_u8(64));
        r = vqtbx4q_u8(r, uint8x16x4_t{{part[4], part[5], part[6], part[7]}}, at);
      }
      return {vreinterpretq_s16_u8(r)};
    }
  }
};

template <>
struct Wide<8> {
  int32x4_t low, high;
};

CR_LANE void clear(Wide<8> &acc) {
  acc.low = acc.high = vdupq_n_s32(0);
}

CR_LANE void mac(Wide<8> &acc, const Pairs<8> &x, int16_t c0, int16_t c1) {
  acc.low = vmlal_n_s16(acc.low, vget_low_s16(x.x0.v), c0);
  acc.low = vmlal_n_s16(acc.low, vget_low_s16(x.x1.v), c1);
  acc.high = vmlal_high_n_s16(acc.high, x.x0.v, c0);
  acc.high = vmlal_high_n_s16(acc.high, x.x1.v, c1);
}

template <int k>
CR_LANE I16 narrow(const Wide<8> &acc) {
  return {vqmovn_high_s32(vqmovn_s32(vshrq_n_s32(acc.low, k)), vshrq_n_s32(acc.high, k))};
}

template <>
struct Squares<8> {
  uint32x4_t low, high;
};

CR_LANE void clear(Squares<8> &sums) {
  sums.low = sums.high = vdupq_n_u32(0);
}

CR_LANE void add_squares(Squares<8> &sums, I16 a) {
  sums.low = vaddq_u32(sums.low, vreinterpretq_u32_s32(vmull_s16(vget_low_s16(a.v), vget_low_s16(a.v))));
  sums.high = vaddq_u32(sums.high, vreinterpretq_u32_s32(vmull_high_s16(a.v, a.v)));
}

CR_LANE void store_squares(uint32_t *even, uint32_t *odd, const Squares<8> &sums) {
  vst1q_u32(even, vuzp1q_u32(sums.low, sums.high));
  vst1q_u32(odd, vuzp2q_u32(sums.low, sums.high));
}

#else

inline constexpr int kWidth16 = 8;
using I16 = Lanes<int16_t, kWidth16>;

#endif

template <class V>
CR_LANE V load_octets(const uint8_t *from) {
  return V::load_octets(from);
}

// Composed of the above, so the same for every register.
template <int N>
CR_LANE Lanes<int16_t, N> operator<(Lanes<int16_t, N> a, Lanes<int16_t, N> b) {
  return b > a;
}

template <int N>
CR_LANE Lanes<int16_t, N> sign(Lanes<int16_t, N> a) {
  return sar<15>(a);
}

template <int N>
CR_LANE Lanes<int16_t, N> select(Lanes<int16_t, N> mask, Lanes<int16_t, N> a, Lanes<int16_t, N> b) {
  return ((a ^ b) & mask) ^ b;
}

}  // namespace callreplay::CR_ISA
