// Lanes of float: the law of one lane, then the register of this instruction set, kWidth32 lanes wide.
//
// Every operation is exact in the same way on every back end: IEEE single addition, multiplication, division
// and square root, comparisons, bit operations. There is no fused multiply-add and no approximate reciprocal,
// so a lane gives the bits of the law. min and max are a < b ? a : b and a > b ? a : b, for zeros and NaN
// too. docs/lanes.md lists the operations.
#pragma once

#include "lanes/i32.h"

namespace callreplay::CR_ISA {

template <>
struct Lanes<float, 1> {
  using Element = float;
  using Mask = Mask32<1>;
  static constexpr int kLanes = 1;
  float v;

  static CR_LANE Lanes splat(float value) { return {value}; }
  static CR_LANE Lanes load(const float *from) { return {*from}; }
  CR_LANE void store(float *to) const { *to = v; }
};

// clang-format off
using F32x1 = Lanes<float, 1>;

CR_BINARY(F32x1, operator+, a.v + b.v)
CR_BINARY(F32x1, operator-, a.v - b.v)
CR_BINARY(F32x1, operator*, a.v * b.v)
CR_BINARY(F32x1, operator/, a.v / b.v)
CR_UNARY(F32x1, operator-, -a.v)
CR_COMPARE(F32x1, operator<, a.v < b.v)
CR_COMPARE(F32x1, operator<=, a.v <= b.v)
CR_BINARY(F32x1, min, a.v < b.v ? a.v : b.v)
CR_BINARY(F32x1, max, a.v > b.v ? a.v : b.v)
CR_UNARY(F32x1, abs, __builtin_fabsf(a.v))
CR_UNARY(F32x1, sqrt, __builtin_sqrtf(a.v))
// clang-format on

CR_LANE F32x1 select(M32x1 m, F32x1 a, F32x1 b) {
  return m.v ? a : b;
}
CR_LANE I32x1 bits_of(F32x1 a) {
  return {__builtin_bit_cast(int32_t, a.v)};
}
CR_LANE F32x1 float_of_bits(I32x1 a) {
  return {__builtin_bit_cast(float, a.v)};
}
CR_LANE I32x1 truncate(F32x1 a) {
  return {static_cast<int32_t>(a.v)};
}
CR_LANE F32x1 to_float(I32x1 a) {
  return {static_cast<float>(a.v)};
}
CR_LANE F32x1 gather(const float *table, I32x1 index) {
  return {table[index.v]};
}

// The registers.
#if defined(CR_AVX512) || defined(CR_AVX2) || defined(CR_SSE2)

template <>
struct Lanes<float, kWidth32> {
  using Element = float;
  using Mask = M32;
  static constexpr int kLanes = kWidth32;
  FloatRegister v;

  static CR_LANE Lanes splat(float value) { return {CR_MM(set1_ps)(value)}; }
  static CR_LANE Lanes load(const float *from) { return {CR_MM(loadu_ps)(from)}; }
  CR_LANE void store(float *to) const { CR_MM(storeu_ps)(to, v); }
};

// clang-format off
using F32 = Lanes<float, kWidth32>;

CR_BINARY(F32, operator+, CR_MM(add_ps)(a.v, b.v))
CR_BINARY(F32, operator-, CR_MM(sub_ps)(a.v, b.v))
CR_BINARY(F32, operator*, CR_MM(mul_ps)(a.v, b.v))
CR_BINARY(F32, operator/, CR_MM(div_ps)(a.v, b.v))
CR_UNARY(F32, operator-, CR_MM(xor_ps)(a.v, CR_MM(set1_ps)(-0.0f)))
// minps and maxps give the second operand when neither is smaller or greater, as the law does.
CR_BINARY(F32, min, CR_MM(min_ps)(a.v, b.v))
CR_BINARY(F32, max, CR_MM(max_ps)(a.v, b.v))
CR_UNARY(F32, abs, CR_MM(and_ps)(a.v, as_floats(CR_MM(set1_epi32)(0x7fffffff))))
CR_UNARY(F32, sqrt, CR_MM(sqrt_ps)(a.v))
CR_LANE I32 bits_of(F32 a) { return {as_bits(a.v)}; }
CR_LANE F32 float_of_bits(I32 a) { return {as_floats(a.v)}; }
CR_LANE I32 truncate(F32 a) { return {CR_MM(cvttps_epi32)(a.v)}; }
CR_LANE F32 to_float(I32 a) { return {CR_MM(cvtepi32_ps)(a.v)}; }
#if defined(CR_AVX512)
CR_COMPARE(F32, operator<, _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ))
CR_COMPARE(F32, operator<=, _mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ))
CR_LANE F32 select(M32 m, F32 a, F32 b) { return {_mm512_mask_blend_ps(m.v, b.v, a.v)}; }
CR_LANE F32 gather(const float *table, I32 index) { return {_mm512_i32gather_ps(index.v, table, 4)}; }
#elif defined(CR_AVX2)
CR_COMPARE(F32, operator<, as_bits(_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)))
CR_COMPARE(F32, operator<=, as_bits(_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)))
CR_LANE F32 select(M32 m, F32 a, F32 b) { return {_mm256_blendv_ps(b.v, a.v, as_floats(m.v))}; }
CR_LANE F32 gather(const float *table, I32 index) { return {_mm256_i32gather_ps(table, index.v, 4)}; }
#else
CR_COMPARE(F32, operator<, as_bits(_mm_cmplt_ps(a.v, b.v)))
CR_COMPARE(F32, operator<=, as_bits(_mm_cmple_ps(a.v, b.v)))
CR_LANE F32 select(M32 m, F32 a, F32 b) { return float_of_bits(select(m, bits_of(a), bits_of(b))); }
CR_LANE F32 gather(const float *table, I32 index) {
  alignas(16) int32_t at[4];
  store(at, index);
  return {_mm_setr_ps(table[at[0]], table[at[1]], table[at[2]], table[at[3]])};
}
#endif
// clang-format on

#elif defined(CR_NEON)

template <>
struct Lanes<float, kWidth32> {
  using Element = float;
  using Mask = M32;
  static constexpr int kLanes = kWidth32;
  float32x4_t v;

  static CR_LANE Lanes splat(float value) { return {vdupq_n_f32(value)}; }
  static CR_LANE Lanes load(const float *from) { return {vld1q_f32(from)}; }
  CR_LANE void store(float *to) const { vst1q_f32(to, v); }
};

// clang-format off
using F32 = Lanes<float, kWidth32>;

CR_BINARY(F32, operator+, vaddq_f32(a.v, b.v))
CR_BINARY(F32, operator-, vsubq_f32(a.v, b.v))
CR_BINARY(F32, operator*, vmulq_f32(a.v, b.v))
CR_BINARY(F32, operator/, vdivq_f32(a.v, b.v))
CR_UNARY(F32, operator-, vnegq_f32(a.v))
CR_COMPARE(F32, operator<, vcltq_f32(a.v, b.v))
CR_COMPARE(F32, operator<=, vcleq_f32(a.v, b.v))
// Not vminq_f32: it orders -0 below +0, the law does not.
CR_BINARY(F32, min, vbslq_f32(vcltq_f32(a.v, b.v), a.v, b.v))
CR_BINARY(F32, max, vbslq_f32(vcgtq_f32(a.v, b.v), a.v, b.v))
CR_UNARY(F32, abs, vabsq_f32(a.v))
CR_UNARY(F32, sqrt, vsqrtq_f32(a.v))
CR_LANE F32 select(M32 m, F32 a, F32 b) { return {vbslq_f32(m.v, a.v, b.v)}; }
CR_LANE I32 bits_of(F32 a) { return {vreinterpretq_s32_f32(a.v)}; }
CR_LANE F32 float_of_bits(I32 a) { return {vreinterpretq_f32_s32(a.v)}; }
CR_LANE I32 truncate(F32 a) { return {vcvtq_s32_f32(a.v)}; }
CR_LANE F32 to_float(I32 a) { return {vcvtq_f32_s32(a.v)}; }
CR_LANE F32 gather(const float *table, I32 index) {
  return float_of_bits(gather(reinterpret_cast<const int32_t *>(table), index));
}
// clang-format on

#else

using F32 = F32x1;

#endif

// Lanes k to N - 1 of a, then 0 to k - 1 of b: what lies k behind a where b follows it.
#if defined(CR_AVX512)
template <int k>
CR_LANE F32 follow(F32 a, F32 b) {
  return {_mm512_castsi512_ps(_mm512_alignr_epi32(as_bits(b.v), as_bits(a.v), k))};
}
CR_LANE float first_lane(F32 a) {
  return _mm512_cvtss_f32(a.v);
}
#endif

template <class V>
using IntOf = Lanes<int32_t, V::kLanes>;

// Composed of the above, so the same for every register.
template <int N>
CR_LANE Mask32<N> operator>(Lanes<float, N> a, Lanes<float, N> b) {
  return b < a;
}
template <int N>
CR_LANE Mask32<N> operator>=(Lanes<float, N> a, Lanes<float, N> b) {
  return b <= a;
}
template <int N>
CR_LANE Lanes<float, N> &operator+=(Lanes<float, N> &a, Lanes<float, N> b) {
  return a = a + b;
}
template <int N>
CR_LANE Lanes<float, N> &operator-=(Lanes<float, N> &a, Lanes<float, N> b) {
  return a = a - b;
}
template <int N>
CR_LANE Lanes<float, N> &operator*=(Lanes<float, N> &a, Lanes<float, N> b) {
  return a = a * b;
}

#if defined(CR_AVX2)
template <>
class RowsOf<F32> {
 public:
  CR_LANE RowsOf(const float *table, I32 first) {
    alignas(32) int32_t at[8];
    store(at, first);
    for (int lane = 0; lane < 8; ++lane) {
      row_[lane] = table + at[lane];
    }
  }
  CR_LANE F32 at(int i) const {
    return {_mm256_setr_ps(row_[0][i], row_[1][i], row_[2][i], row_[3][i], row_[4][i], row_[5][i], row_[6][i],
                           row_[7][i])};
  }

 private:
  const float *row_[8];
};
#endif

// table[index] of a table of kSize entries, a power of two and 16 or more, 0 <= index < kSize. Those of AVX-512 lie in registers,
// as long as a gather takes longer.
template <int kSize, class V>
CR_LANE V look_up(const float *table, IntOf<V> index) {
#if defined(CR_AVX512)
  if constexpr (V::kLanes == kWidth32 && kSize == 16) {
    return {_mm512_permutexvar_ps(index.v, _mm512_loadu_ps(table))};
  } else if constexpr (V::kLanes == kWidth32 && kSize == 32) {
    return {_mm512_permutex2var_ps(_mm512_loadu_ps(table), index.v, _mm512_loadu_ps(table + 16))};
  } else if constexpr (V::kLanes == kWidth32 && kSize <= 128) {
    const __mmask16 upper = _mm512_test_epi32_mask(index.v, _mm512_set1_epi32(kSize / 2));
    return {_mm512_mask_blend_ps(upper, look_up<kSize / 2, V>(table, index).v,
                                 look_up<kSize / 2, V>(table + kSize / 2, index).v)};
  }
#endif
  return gather(table, index);
}

// history[index] of the lane itself, where history holds one V per sample.
template <class V>
CR_LANE V gather_own(const V *history, IntOf<V> index) {
  if constexpr (V::kLanes == 1) {
    return history[index.v];
  } else {
    return gather(reinterpret_cast<const float *>(history),
                  index * splat<IntOf<V>>(V::kLanes) + iota<IntOf<V>>());
  }
}

// max(a, b), where `low` is min(a, b), neither is a NaN and they are no two zeros of different signs. Zen 4 takes minima,
// maxima and sums of AVX-512 through the same units; what is no minimum is found by the others.
template <class V>
CR_LANE V the_other(V a, V b, [[maybe_unused]] V low) {
#if defined(CR_AVX512)
  if constexpr (V::kLanes == kWidth32) {
    return {as_floats(_mm512_ternarylogic_epi32(as_bits(a.v), as_bits(b.v), as_bits(low.v), 0x96))};
  }
#endif
  return max(a, b);
}

// Replaces the low `width` bits of the value by `tag` (< 1 << width). Two packed values with different tags
// never compare equal, so the order of a search over packed values does not matter: it is why a search may
// run over several candidates at once and still choose what the scalar loop chooses.
template <class V>
CR_LANE V pack_tag(V value, int width, IntOf<V> tag) {
#if defined(CR_AVX512)
  if constexpr (V::kLanes == kWidth32) {
    return {
        as_floats(_mm512_ternarylogic_epi32(as_bits(value.v), _mm512_set1_epi32(-1 << width), tag.v, 0xEA))};
  }
#endif
  return float_of_bits((bits_of(value) & splat<IntOf<V>>(-1 << width)) | tag);
}
template <class V>
CR_LANE IntOf<V> tag_of(V packed, int width) {
  return bits_of(packed) & splat<IntOf<V>>((1 << width) - 1);
}

}  // namespace callreplay::CR_ISA
