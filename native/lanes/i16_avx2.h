// Lanes<int16_t, 16>: one AVX2 register. Included by i16.h.
#pragma once

#include "lanes/x86.h"

namespace callreplay::CR_ISA {

inline constexpr int kWidth16 = 16;

template <>
struct Lanes<int16_t, 16> {
  __m256i v;

  Lanes() = default;
  CR_LANE Lanes(__m256i x) : v(x) {}
  CR_LANE Lanes(int16_t x) : v(_mm256_set1_epi16(x)) {}
  static CR_LANE Lanes load(const int16_t *from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from));
  }
  static CR_LANE Lanes widen(const uint8_t *from) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from)));
  }
  CR_LANE void store(int16_t *to) const { _mm256_storeu_si256(reinterpret_cast<__m256i *>(to), v); }
  CR_LANE void store_low_octets(uint8_t *to) const {
    const __m256i low = _mm256_and_si256(v, _mm256_set1_epi16(255));
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi16(low, low), 0x08);
    _mm_storeu_si128(reinterpret_cast<__m128i *>(to), _mm256_castsi256_si128(packed));
  }
};

using I16 = Lanes<int16_t, 16>;

CR_LANE I16 operator+(const I16 &a, const I16 &b) {
  return _mm256_add_epi16(a.v, b.v);
}
CR_LANE I16 operator-(const I16 &a, const I16 &b) {
  return _mm256_sub_epi16(a.v, b.v);
}
CR_LANE I16 operator&(const I16 &a, const I16 &b) {
  return _mm256_and_si256(a.v, b.v);
}
CR_LANE I16 operator|(const I16 &a, const I16 &b) {
  return _mm256_or_si256(a.v, b.v);
}
CR_LANE I16 operator^(const I16 &a, const I16 &b) {
  return _mm256_xor_si256(a.v, b.v);
}
CR_LANE I16 sadd(const I16 &a, const I16 &b) {
  return _mm256_adds_epi16(a.v, b.v);
}
CR_LANE I16 ssub(const I16 &a, const I16 &b) {
  return _mm256_subs_epi16(a.v, b.v);
}
CR_LANE I16 mullo(const I16 &a, const I16 &b) {
  return _mm256_mullo_epi16(a.v, b.v);
}
CR_LANE I16 mulhi(const I16 &a, const I16 &b) {
  return _mm256_mulhi_epi16(a.v, b.v);
}
CR_LANE I16 min(const I16 &a, const I16 &b) {
  return _mm256_min_epi16(a.v, b.v);
}
CR_LANE I16 max(const I16 &a, const I16 &b) {
  return _mm256_max_epi16(a.v, b.v);
}
CR_LANE I16 greater(const I16 &a, const I16 &b) {
  return _mm256_cmpgt_epi16(a.v, b.v);
}
template <int k>
CR_LANE I16 sar(const I16 &a) {
  return _mm256_srai_epi16(a.v, k);
}
template <int k>
CR_LANE I16 shl(const I16 &a) {
  return _mm256_slli_epi16(a.v, k);
}
template <int k>
CR_LANE I16 shr(const I16 &a) {
  return _mm256_srli_epi16(a.v, k);
}

CR_LANE I16 mul15(const I16 &a, const I16 &b) {
  const __m256i high = _mm256_mulhi_epi16(a.v, b.v);
  const __m256i low = _mm256_srli_epi16(_mm256_mullo_epi16(a.v, b.v), 15);
  return _mm256_or_si256(_mm256_add_epi16(high, high), low);
}

CR_LANE I16 shl_each(const I16 &a, const I16 &count) {
  // 2^count fits an octet; the index octet above each count has its top bit set, which gives 0.
  const __m256i powers = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ULL));
  const __m256i index = _mm256_or_si256(count.v, _mm256_set1_epi16(static_cast<int16_t>(0x8000)));
  return _mm256_mullo_epi16(a.v, _mm256_shuffle_epi8(powers, index));
}

CR_LANE I16 log2_q4(const I16 &a) {
  // An integer below 2^24 converted to float is exact: its exponent and leading mantissa bits are the answer.
  const __m256i zero = _mm256_setzero_si256();
  const auto bits = [](__m256i x) {
    return _mm256_srli_epi32(_mm256_castps_si256(_mm256_cvtepi32_ps(x)), 19);
  };
  const __m256i packed =
      _mm256_packs_epi32(bits(_mm256_unpacklo_epi16(a.v, zero)), bits(_mm256_unpackhi_epi16(a.v, zero)));
  return _mm256_sub_epi16(packed, _mm256_set1_epi16(127 << 4));
}

CR_LANE I16 sign_factor(const I16 &a) {
  return _mm256_or_si256(a.v, _mm256_set1_epi16(1));
}
CR_LANE I16 times_sign(const I16 &w, const I16 &factor) {
  return _mm256_sign_epi16(w.v, factor.v);
}
CR_LANE I16 step_towards(const I16 &a, int16_t step) {
  return _mm256_sign_epi16(_mm256_set1_epi16(step), a.v);
}
CR_LANE bool any(const I16 &mask) {
  return !_mm256_testz_si256(mask.v, mask.v);
}

// Tables as planes of low and high octets, 16 entries to a register: vpshufb looks up both octets of a lane
// with the index in each. Gathers are slower by half (lanes.md, trap 9).
template <int K>
struct Lut<16, K> {
  static constexpr int kParts = K / 16;
  __m256i low[kParts], high[kParts];

  explicit CR_LANE Lut(const int16_t (&entries)[K]) {
    const __m128i octets = _mm_set1_epi16(255);
    for (int part = 0; part < kParts; ++part) {
      const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i *>(entries + 16 * part));
      const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i *>(entries + 16 * part + 8));
      low[part] =
          _mm256_broadcastsi128_si256(_mm_packus_epi16(_mm_and_si128(a, octets), _mm_and_si128(b, octets)));
      high[part] = _mm256_broadcastsi128_si256(_mm_packus_epi16(_mm_srli_epi16(a, 8), _mm_srli_epi16(b, 8)));
    }
  }

  CR_LANE I16 operator()(const I16 &index) const {
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
    return _mm256_blendv_epi8(plane(low), plane(high), _mm256_set1_epi16(static_cast<int16_t>(0xFF00)));
  }
};

template <>
struct Pairs<16> {
  __m256i low, high;
};

template <>
struct Wide<16> {
  __m256i low, high;
};

CR_LANE Pairs<16> pairs(const I16 &x0, const I16 &x1) {
  return {_mm256_unpacklo_epi16(x0.v, x1.v), _mm256_unpackhi_epi16(x0.v, x1.v)};
}

CR_LANE void clear(Wide<16> &acc) {
  acc.low = acc.high = _mm256_setzero_si256();
}

CR_LANE void mac(Wide<16> &acc, const Pairs<16> &x, int16_t c0, int16_t c1) {
  const __m256i c = _mm256_set1_epi32(static_cast<int32_t>(static_cast<uint16_t>(c0)) | c1 * 65536);
  acc.low = _mm256_add_epi32(acc.low, _mm256_madd_epi16(x.low, c));
  acc.high = _mm256_add_epi32(acc.high, _mm256_madd_epi16(x.high, c));
}

template <int k>
CR_LANE I16 narrow(const Wide<16> &acc) {
  return _mm256_packs_epi32(_mm256_srai_epi32(acc.low, k), _mm256_srai_epi32(acc.high, k));
}

}  // namespace callreplay::CR_ISA
