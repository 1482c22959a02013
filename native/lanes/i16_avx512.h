// Lanes<int16_t, 32>: one AVX-512BW register. Included by i16.h.
#pragma once

#include "lanes/x86.h"

namespace callreplay::CR_ISA {

inline constexpr int kWidth16 = 32;

template <>
struct Lanes<int16_t, 32> {
  __m512i v;

  Lanes() = default;
  CR_LANE Lanes(__m512i x) : v(x) {}
  CR_LANE Lanes(int16_t x) : v(_mm512_set1_epi16(x)) {}
  static CR_LANE Lanes load(const int16_t *from) { return _mm512_loadu_si512(from); }
  static CR_LANE Lanes widen(const uint8_t *from) {
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(from)));
  }
  CR_LANE void store(int16_t *to) const { _mm512_storeu_si512(to, v); }
  CR_LANE void store_low_octets(uint8_t *to) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(to), _mm512_cvtepi16_epi8(v));
  }
};

using I16 = Lanes<int16_t, 32>;

CR_LANE I16 operator+(const I16 &a, const I16 &b) {
  return _mm512_add_epi16(a.v, b.v);
}
CR_LANE I16 operator-(const I16 &a, const I16 &b) {
  return _mm512_sub_epi16(a.v, b.v);
}
CR_LANE I16 operator&(const I16 &a, const I16 &b) {
  return _mm512_and_si512(a.v, b.v);
}
CR_LANE I16 operator|(const I16 &a, const I16 &b) {
  return _mm512_or_si512(a.v, b.v);
}
CR_LANE I16 operator^(const I16 &a, const I16 &b) {
  return _mm512_xor_si512(a.v, b.v);
}
CR_LANE I16 sadd(const I16 &a, const I16 &b) {
  return _mm512_adds_epi16(a.v, b.v);
}
CR_LANE I16 ssub(const I16 &a, const I16 &b) {
  return _mm512_subs_epi16(a.v, b.v);
}
CR_LANE I16 mullo(const I16 &a, const I16 &b) {
  return _mm512_mullo_epi16(a.v, b.v);
}
CR_LANE I16 mulhi(const I16 &a, const I16 &b) {
  return _mm512_mulhi_epi16(a.v, b.v);
}
CR_LANE I16 min(const I16 &a, const I16 &b) {
  return _mm512_min_epi16(a.v, b.v);
}
CR_LANE I16 max(const I16 &a, const I16 &b) {
  return _mm512_max_epi16(a.v, b.v);
}
CR_LANE I16 greater(const I16 &a, const I16 &b) {
  return _mm512_movm_epi16(_mm512_cmpgt_epi16_mask(a.v, b.v));
}
template <int k>
CR_LANE I16 sar(const I16 &a) {
  return _mm512_srai_epi16(a.v, k);
}
template <int k>
CR_LANE I16 shl(const I16 &a) {
  return _mm512_slli_epi16(a.v, k);
}
template <int k>
CR_LANE I16 shr(const I16 &a) {
  return _mm512_srli_epi16(a.v, k);
}

CR_LANE I16 mul15(const I16 &a, const I16 &b) {
  const __m512i high = _mm512_mulhi_epi16(a.v, b.v);
  const __m512i low = _mm512_srli_epi16(_mm512_mullo_epi16(a.v, b.v), 15);
  return _mm512_or_si512(_mm512_add_epi16(high, high), low);
}

CR_LANE I16 shl_each(const I16 &a, const I16 &count) {
  return _mm512_sllv_epi16(a.v, count.v);
}

CR_LANE I16 log2_q4(const I16 &a) {
  // An integer below 2^24 converted to float is exact: its exponent and leading mantissa bits are the answer.
  const __m512i zero = _mm512_setzero_si512();
  const auto bits = [](__m512i x) {
    return _mm512_srli_epi32(_mm512_castps_si512(_mm512_cvtepi32_ps(x)), 19);
  };
  const __m512i packed =
      _mm512_packs_epi32(bits(_mm512_unpacklo_epi16(a.v, zero)), bits(_mm512_unpackhi_epi16(a.v, zero)));
  return _mm512_sub_epi16(packed, _mm512_set1_epi16(127 << 4));
}

// There is no vpsignw of this width; a product with +-1 is one instruction too.
CR_LANE I16 sign_factor(const I16 &a) {
  return _mm512_or_si512(_mm512_srai_epi16(a.v, 15), _mm512_set1_epi16(1));
}
CR_LANE I16 times_sign(const I16 &w, const I16 &factor) {
  return _mm512_mullo_epi16(w.v, factor.v);
}
CR_LANE I16 step_towards(const I16 &a, int16_t step) {
  const __m512i size = _mm512_maskz_set1_epi16(_mm512_test_epi16_mask(a.v, a.v), step);
  return _mm512_mask_sub_epi16(size, _mm512_movepi16_mask(a.v), _mm512_setzero_si512(), size);
}
CR_LANE bool any(const I16 &mask) {
  return _mm512_test_epi16_mask(mask.v, mask.v) != 0;
}

// One register holds 32 entries. vpermw takes the index modulo 32, vpermi2w modulo 64.
template <int K>
struct Lut<32, K> {
  static constexpr int kParts = K <= 32 ? 1 : 2;
  __m512i part[kParts];

  explicit CR_LANE Lut(const int16_t (&entries)[K]) {
    if constexpr (K == 16) {
      part[0] = _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(&entries[0])));
    } else {
      for (int i = 0; i < kParts; ++i) part[i] = _mm512_loadu_si512(entries + 32 * i);
    }
  }

  CR_LANE I16 operator()(const I16 &index) const {
    if constexpr (kParts == 1) {
      return _mm512_permutexvar_epi16(index.v, part[0]);
    } else {
      return _mm512_permutex2var_epi16(part[0], index.v, part[1]);
    }
  }
};

template <>
struct Pairs<32> {
  __m512i low, high;
};

template <>
struct Wide<32> {
  __m512i low, high;
};

CR_LANE Pairs<32> pairs(const I16 &x0, const I16 &x1) {
  return {_mm512_unpacklo_epi16(x0.v, x1.v), _mm512_unpackhi_epi16(x0.v, x1.v)};
}

CR_LANE void clear(Wide<32> &acc) {
  acc.low = acc.high = _mm512_setzero_si512();
}

CR_LANE void mac(Wide<32> &acc, const Pairs<32> &x, int16_t c0, int16_t c1) {
  const __m512i c = _mm512_set1_epi32(static_cast<int32_t>(static_cast<uint16_t>(c0)) | c1 * 65536);
  acc.low = _mm512_add_epi32(acc.low, _mm512_madd_epi16(x.low, c));
  acc.high = _mm512_add_epi32(acc.high, _mm512_madd_epi16(x.high, c));
}

template <int k>
CR_LANE I16 narrow(const Wide<32> &acc) {
  return _mm512_packs_epi32(_mm512_srai_epi32(acc.low, k), _mm512_srai_epi32(acc.high, k));
}

}  // namespace callreplay::CR_ISA
