// Sixteen float lanes on AVX-512 (F, DQ, VL). Included by f32.h only.
#pragma once

// GCC 12 warns of the undefined sources that its own intrinsics pass on (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

namespace callreplay::CR_ISA {

inline constexpr int kF32Lanes = 16;

struct F32 {
  __m512 v;
};
struct I32 {
  __m512i v;
};
struct M32 {
  __mmask16 m;
};

CR_INLINE F32 operator+(F32 a, F32 b) {
  return {_mm512_add_ps(a.v, b.v)};
}
CR_INLINE F32 operator-(F32 a, F32 b) {
  return {_mm512_sub_ps(a.v, b.v)};
}
CR_INLINE F32 operator*(F32 a, F32 b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
CR_INLINE F32 operator/(F32 a, F32 b) {
  return {_mm512_div_ps(a.v, b.v)};
}
CR_INLINE F32 operator-(F32 a) {
  return {_mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f))};
}
CR_INLINE F32 &operator+=(F32 &a, F32 b) {
  return a = a + b;
}
CR_INLINE F32 &operator-=(F32 &a, F32 b) {
  return a = a - b;
}
CR_INLINE F32 &operator*=(F32 &a, F32 b) {
  return a = a * b;
}
// vminps and vmaxps return the second operand when neither is smaller or greater, like the scalar a < b ? a :
// b.
CR_INLINE F32 vmin(F32 a, F32 b) {
  return {_mm512_min_ps(a.v, b.v)};
}
CR_INLINE F32 vmax(F32 a, F32 b) {
  return {_mm512_max_ps(a.v, b.v)};
}
CR_INLINE F32 vsqrt(F32 a) {
  return {_mm512_sqrt_ps(a.v)};
}
CR_INLINE F32 vabs(F32 a) {
  return {_mm512_abs_ps(a.v)};
}

CR_INLINE M32 operator<(F32 a, F32 b) {
  return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)};
}
CR_INLINE M32 operator<=(F32 a, F32 b) {
  return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)};
}
CR_INLINE M32 operator>(F32 a, F32 b) {
  return b < a;
}
CR_INLINE M32 operator>=(F32 a, F32 b) {
  return b <= a;
}
CR_INLINE M32 operator&(M32 a, M32 b) {
  return {static_cast<__mmask16>(a.m & b.m)};
}
CR_INLINE M32 operator|(M32 a, M32 b) {
  return {static_cast<__mmask16>(a.m | b.m)};
}
CR_INLINE M32 operator!(M32 a) {
  return {static_cast<__mmask16>(~a.m)};
}
CR_INLINE bool any(M32 a) {
  return a.m != 0;
}
CR_INLINE F32 select(M32 m, F32 a, F32 b) {
  return {_mm512_mask_blend_ps(m.m, b.v, a.v)};
}
CR_INLINE I32 select(M32 m, I32 a, I32 b) {
  return {_mm512_mask_blend_epi32(m.m, b.v, a.v)};
}

CR_INLINE I32 operator+(I32 a, I32 b) {
  return {_mm512_add_epi32(a.v, b.v)};
}
CR_INLINE I32 operator-(I32 a, I32 b) {
  return {_mm512_sub_epi32(a.v, b.v)};
}
CR_INLINE I32 operator*(I32 a, I32 b) {
  return {_mm512_mullo_epi32(a.v, b.v)};
}
CR_INLINE I32 operator&(I32 a, I32 b) {
  return {_mm512_and_si512(a.v, b.v)};
}
CR_INLINE I32 operator|(I32 a, I32 b) {
  return {_mm512_or_si512(a.v, b.v)};
}
CR_INLINE M32 operator<(I32 a, I32 b) {
  return {_mm512_cmplt_epi32_mask(a.v, b.v)};
}
CR_INLINE M32 operator>(I32 a, I32 b) {
  return b < a;
}
CR_INLINE M32 operator==(I32 a, I32 b) {
  return {_mm512_cmpeq_epi32_mask(a.v, b.v)};
}
CR_INLINE I32 vmin(I32 a, I32 b) {
  return {_mm512_min_epi32(a.v, b.v)};
}
CR_INLINE I32 vmax(I32 a, I32 b) {
  return {_mm512_max_epi32(a.v, b.v)};
}

CR_INLINE I32 bits_of(F32 a) {
  return {_mm512_castps_si512(a.v)};
}
CR_INLINE F32 float_of_bits(I32 a) {
  return {_mm512_castsi512_ps(a.v)};
}
CR_INLINE I32 truncate(F32 a) {
  return {_mm512_cvttps_epi32(a.v)};
}
CR_INLINE F32 to_float(I32 a) {
  return {_mm512_cvtepi32_ps(a.v)};
}
CR_INLINE F32 splat_wide(float a) {
  return {_mm512_set1_ps(a)};
}
CR_INLINE I32 splat_int_wide(int32_t a) {
  return {_mm512_set1_epi32(a)};
}
CR_INLINE I32 lane_numbers() {
  return {_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)};
}
CR_INLINE F32 load_wide(const float *p) {
  return {_mm512_loadu_ps(p)};
}
CR_INLINE void store_wide(float *p, F32 a) {
  _mm512_storeu_ps(p, a.v);
}
CR_INLINE void store_int_wide(int32_t *p, I32 a) {
  _mm512_storeu_si512(p, a.v);
}
CR_INLINE F32 gather_wide(const float *table, I32 index) {
  return {_mm512_i32gather_ps(index.v, table, 4)};
}

}  // namespace callreplay::CR_ISA
