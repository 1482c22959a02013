// Float lanes on the vector extensions of GCC and Clang: eight on AVX2, four on SSE2 and NEON. A mask is a
// vector of 0 and -1. Included by f32.h only.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace callreplay::CR_ISA {

#if defined(CR_ISA_avx2)
inline constexpr int kF32Lanes = 8;
#else
inline constexpr int kF32Lanes = 4;
#endif

typedef float F32Vector __attribute__((vector_size(4 * kF32Lanes)));
typedef int32_t I32Vector __attribute__((vector_size(4 * kF32Lanes)));

struct F32 {
  F32Vector v;
};
struct I32 {
  I32Vector v;
};
struct M32 {
  I32Vector m;
};

CR_INLINE I32 bits_of(F32 a) {
  return {reinterpret_cast<I32Vector>(a.v)};
}
CR_INLINE F32 float_of_bits(I32 a) {
  return {reinterpret_cast<F32Vector>(a.v)};
}
CR_INLINE F32 splat_wide(float a) {
  return {a - F32Vector{}};
}
CR_INLINE I32 splat_int_wide(int32_t a) {
  return {a - I32Vector{}};
}

CR_INLINE F32 operator+(F32 a, F32 b) {
  return {a.v + b.v};
}
CR_INLINE F32 operator-(F32 a, F32 b) {
  return {a.v - b.v};
}
CR_INLINE F32 operator*(F32 a, F32 b) {
  return {a.v * b.v};
}
CR_INLINE F32 operator/(F32 a, F32 b) {
  return {a.v / b.v};
}
CR_INLINE F32 operator-(F32 a) {
  return {-a.v};
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

CR_INLINE M32 operator<(F32 a, F32 b) {
  return {a.v < b.v};
}
CR_INLINE M32 operator<=(F32 a, F32 b) {
  return {a.v <= b.v};
}
CR_INLINE M32 operator>(F32 a, F32 b) {
  return {a.v > b.v};
}
CR_INLINE M32 operator>=(F32 a, F32 b) {
  return {a.v >= b.v};
}
CR_INLINE M32 operator&(M32 a, M32 b) {
  return {a.m & b.m};
}
CR_INLINE M32 operator|(M32 a, M32 b) {
  return {a.m | b.m};
}
CR_INLINE M32 operator!(M32 a) {
  return {~a.m};
}

CR_INLINE I32 operator+(I32 a, I32 b) {
  return {a.v + b.v};
}
CR_INLINE I32 operator-(I32 a, I32 b) {
  return {a.v - b.v};
}
CR_INLINE I32 operator*(I32 a, I32 b) {
  return {a.v * b.v};
}
CR_INLINE I32 operator&(I32 a, I32 b) {
  return {a.v & b.v};
}
CR_INLINE I32 operator|(I32 a, I32 b) {
  return {a.v | b.v};
}
CR_INLINE M32 operator<(I32 a, I32 b) {
  return {a.v < b.v};
}
CR_INLINE M32 operator>(I32 a, I32 b) {
  return {a.v > b.v};
}
CR_INLINE M32 operator==(I32 a, I32 b) {
  return {a.v == b.v};
}

CR_INLINE F32 load_wide(const float *p) {
  F32 a;
  __builtin_memcpy(&a.v, p, sizeof a.v);
  return a;
}
CR_INLINE void store_wide(float *p, F32 a) {
  __builtin_memcpy(p, &a.v, sizeof a.v);
}
CR_INLINE void store_int_wide(int32_t *p, I32 a) {
  __builtin_memcpy(p, &a.v, sizeof a.v);
}

#if defined(CR_ISA_avx2)
CR_INLINE I32 select(M32 m, I32 a, I32 b) {
  return {(I32Vector)_mm256_blendv_epi8((__m256i)b.v, (__m256i)a.v, (__m256i)m.m)};
}
CR_INLINE F32 select(M32 m, F32 a, F32 b) {
  return {_mm256_blendv_ps(b.v, a.v, (__m256)m.m)};
}
CR_INLINE bool any(M32 m) {
  return _mm256_movemask_ps((__m256)m.m) != 0;
}
CR_INLINE F32 vmin(F32 a, F32 b) {
  return {_mm256_min_ps(a.v, b.v)};
}
CR_INLINE F32 vmax(F32 a, F32 b) {
  return {_mm256_max_ps(a.v, b.v)};
}
CR_INLINE F32 vsqrt(F32 a) {
  return {_mm256_sqrt_ps(a.v)};
}
CR_INLINE I32 truncate(F32 a) {
  return {(I32Vector)_mm256_cvttps_epi32(a.v)};
}
CR_INLINE F32 to_float(I32 a) {
  return {_mm256_cvtepi32_ps((__m256i)a.v)};
}
CR_INLINE I32 lane_numbers() {
  return {I32Vector{0, 1, 2, 3, 4, 5, 6, 7}};
}
CR_INLINE F32 gather_wide(const float *table, I32 index) {
  return {_mm256_i32gather_ps(table, (__m256i)index.v, 4)};
}
#else
CR_INLINE I32 select(M32 m, I32 a, I32 b) {
  return {(a.v & m.m) | (b.v & ~m.m)};
}
CR_INLINE F32 select(M32 m, F32 a, F32 b) {
  return float_of_bits(select(m, bits_of(a), bits_of(b)));
}
CR_INLINE I32 lane_numbers() {
  return {I32Vector{0, 1, 2, 3}};
}
CR_INLINE F32 gather_wide(const float *table, I32 index) {
  return {F32Vector{table[index.v[0]], table[index.v[1]], table[index.v[2]], table[index.v[3]]}};
}
#if defined(__x86_64__)
CR_INLINE bool any(M32 m) {
  return _mm_movemask_ps((__m128)m.m) != 0;
}
CR_INLINE F32 vmin(F32 a, F32 b) {
  return {_mm_min_ps(a.v, b.v)};
}
CR_INLINE F32 vmax(F32 a, F32 b) {
  return {_mm_max_ps(a.v, b.v)};
}
CR_INLINE F32 vsqrt(F32 a) {
  return {_mm_sqrt_ps(a.v)};
}
CR_INLINE I32 truncate(F32 a) {
  return {(I32Vector)_mm_cvttps_epi32(a.v)};
}
CR_INLINE F32 to_float(I32 a) {
  return {_mm_cvtepi32_ps((__m128i)a.v)};
}
#elif defined(__aarch64__)
CR_INLINE bool any(M32 m) {
  return vmaxvq_u32((uint32x4_t)m.m) != 0;
}
// Not vminq_f32: it orders -0 below +0, the law does not.
CR_INLINE F32 vmin(F32 a, F32 b) {
  return select(a < b, a, b);
}
CR_INLINE F32 vmax(F32 a, F32 b) {
  return select(a > b, a, b);
}
CR_INLINE F32 vsqrt(F32 a) {
  return {(F32Vector)vsqrtq_f32((float32x4_t)a.v)};
}
CR_INLINE I32 truncate(F32 a) {
  return {(I32Vector)vcvtq_s32_f32((float32x4_t)a.v)};
}
CR_INLINE F32 to_float(I32 a) {
  return {(F32Vector)vcvtq_f32_s32((int32x4_t)a.v)};
}
#else
#error "no float lanes for this architecture"
#endif
#endif

CR_INLINE F32 vabs(F32 a) {
  return float_of_bits(bits_of(a) & splat_int_wide(0x7fffffff));
}
CR_INLINE I32 vmin(I32 a, I32 b) {
  return select(a < b, a, b);
}
CR_INLINE I32 vmax(I32 a, I32 b) {
  return select(a > b, a, b);
}

}  // namespace callreplay::CR_ISA
