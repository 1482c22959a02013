// I32x4 on AArch64 NEON.
#pragma once

#include <arm_neon.h>

#include "lanes/i32.h"

namespace callreplay::CR_ISA {

struct I32x4 {
  static constexpr int kLanes = 4;
  struct Mask {
    uint32x4_t v;
    friend CR_INLINE Mask operator&(Mask a, Mask b) { return {vandq_u32(a.v, b.v)}; }
    friend CR_INLINE Mask operator|(Mask a, Mask b) { return {vorrq_u32(a.v, b.v)}; }
    friend CR_INLINE Mask operator~(Mask a) { return {vmvnq_u32(a.v)}; }
  };
  struct Half {
    int16x4_t v;
  };
  int32x4_t v;

  friend CR_INLINE I32x4 operator+(I32x4 a, I32x4 b) { return {vaddq_s32(a.v, b.v)}; }
  friend CR_INLINE I32x4 operator-(I32x4 a, I32x4 b) { return {vsubq_s32(a.v, b.v)}; }
  friend CR_INLINE I32x4 operator&(I32x4 a, I32x4 b) { return {vandq_s32(a.v, b.v)}; }
  friend CR_INLINE I32x4 operator|(I32x4 a, I32x4 b) { return {vorrq_s32(a.v, b.v)}; }
  friend CR_INLINE I32x4 operator^(I32x4 a, I32x4 b) { return {veorq_s32(a.v, b.v)}; }
};

template <class V>
V splat(int32_t value);
template <class V>
V load(const int32_t *from);
template <class V>
V load16(const int16_t *from);
template <class V>
V load_pairs(const int16_t *rows);
template <class V>
V iota();
template <class V>
typename V::Mask mask_of(uint32_t bits);

CR_INLINE int16x8_t words(I32x4 a) {
  return vreinterpretq_s16_s32(a.v);
}
CR_INLINE I32x4 lanes(int16x8_t a) {
  return {vreinterpretq_s32_s16(a)};
}

template <>
CR_INLINE I32x4 splat<I32x4>(int32_t value) {
  return {vdupq_n_s32(value)};
}
template <>
CR_INLINE I32x4 load<I32x4>(const int32_t *from) {
  return {vld1q_s32(from)};
}
template <>
CR_INLINE I32x4 load16<I32x4>(const int16_t *from) {
  return {vmovl_s16(vld1_s16(from))};
}
template <>
CR_INLINE I32x4 load_pairs<I32x4>(const int16_t *rows) {
  const int16x8_t both = vld1q_s16(rows);
  return lanes(vzip1q_s16(both, vextq_s16(both, both, 4)));
}
template <>
CR_INLINE I32x4 iota<I32x4>() {
  const int32_t numbers[4] = {0, 1, 2, 3};
  return {vld1q_s32(numbers)};
}
template <>
CR_INLINE I32x4::Mask mask_of<I32x4>(uint32_t bits) {
  const uint32_t bit[4] = {1, 2, 4, 8};
  return {vtstq_u32(vdupq_n_u32(bits), vld1q_u32(bit))};
}

CR_INLINE void store(int32_t *to, I32x4 a) {
  vst1q_s32(to, a.v);
}
CR_INLINE void store16(int16_t *to, I32x4 a) {
  vst1_s16(to, vmovn_s32(a.v));
}
CR_INLINE void store_pairs(int16_t *rows, I32x4 a) {
  vst1q_s16(rows, vcombine_s16(vmovn_s32(a.v), vshrn_n_s32(a.v, 16)));
}

template <int k>
CR_INLINE I32x4 shl(I32x4 a) {
  return {vshlq_n_s32(a.v, k)};
}
template <int k>
CR_INLINE I32x4 shr(I32x4 a) {
  return {vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(a.v), k))};
}
template <int k>
CR_INLINE I32x4 sar(I32x4 a) {
  return {vshrq_n_s32(a.v, k)};
}
CR_INLINE I32x4 shlv(I32x4 a, I32x4 n) {
  return {vshlq_s32(a.v, n.v)};
}
CR_INLINE I32x4 sarv(I32x4 a, I32x4 n) {
  return {vshlq_s32(a.v, vnegq_s32(n.v))};
}

CR_INLINE I32x4 mul(I32x4 a, I32x4 b) {
  return {vmulq_s32(a.v, b.v)};
}
CR_INLINE I32x4 madd(I32x4 a, I32x4 b) {
  const int32x4_t first = vmull_s16(vget_low_s16(words(a)), vget_low_s16(words(b)));
  return {vpaddq_s32(first, vmull_high_s16(words(a), words(b)))};
}
CR_INLINE I32x4 min(I32x4 a, I32x4 b) {
  return {vminq_s32(a.v, b.v)};
}
CR_INLINE I32x4 max(I32x4 a, I32x4 b) {
  return {vmaxq_s32(a.v, b.v)};
}
CR_INLINE I32x4 umin(I32x4 a, I32x4 b) {
  return {vreinterpretq_s32_u32(vminq_u32(vreinterpretq_u32_s32(a.v), vreinterpretq_u32_s32(b.v)))};
}
CR_INLINE I32x4::Mask gt(I32x4 a, I32x4 b) {
  return {vcgtq_s32(a.v, b.v)};
}
CR_INLINE I32x4::Mask eq(I32x4 a, I32x4 b) {
  return {vceqq_s32(a.v, b.v)};
}
CR_INLINE I32x4 select(I32x4::Mask m, I32x4 a, I32x4 b) {
  return {vbslq_s32(m.v, a.v, b.v)};
}
CR_INLINE uint32_t bits(I32x4::Mask m) {
  const uint32_t bit[4] = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(m.v, vld1q_u32(bit)));
}
CR_INLINE bool any(I32x4::Mask m) {
  return vmaxvq_u32(m.v) != 0;
}
CR_INLINE bool all(I32x4::Mask m) {
  return vminvq_u32(m.v) != 0;
}

CR_INLINE I32x4::Half sat(I32x4 a) {
  return {vqmovn_s32(a.v)};
}
CR_INLINE I32x4 pair(I32x4::Half lo, I32x4::Half hi) {
  return lanes(vcombine_s16(vzip1_s16(lo.v, hi.v), vzip2_s16(lo.v, hi.v)));
}
CR_INLINE I32x4 cross(I32x4 a, I32x4 b) {
  return {vbslq_s32(vdupq_n_u32(0xFFFF), b.v, a.v)};
}
CR_INLINE I32x4 swap(I32x4 a) {
  return lanes(vrev32q_s16(words(a)));
}

template <int k>
CR_INLINE I32x4 sar16(I32x4 a) {
  return lanes(vshrq_n_s16(words(a), k));
}
CR_INLINE I32x4 adds16(I32x4 a, I32x4 b) {
  return lanes(vqaddq_s16(words(a), words(b)));
}
CR_INLINE I32x4 subs16(I32x4 a, I32x4 b) {
  return lanes(vqsubq_s16(words(a), words(b)));
}
CR_INLINE I32x4 mul15_16(I32x4 a, I32x4 b) {
  return lanes(vqdmulhq_s16(words(a), words(b)));
}
CR_INLINE I32x4 mulr16(I32x4 a, I32x4 b) {
  return lanes(vqrdmulhq_s16(words(a), words(b)));
}
CR_INLINE I32x4 widest(I32x4 so_far, I32x4 a) {
  return lanes(vmaxq_s16(words(so_far), vqabsq_s16(words(a))));
}
CR_INLINE I32x4 peak(I32x4 so_far) {
  return max(shr<16>(so_far), so_far & splat<I32x4>(0xFFFF));
}

CR_INLINE I32x4 norm(I32x4 a) {
  const int32x4_t shifts = vsubq_s32(vclzq_s32(a.v), vdupq_n_s32(1));
  return {vandq_s32(shifts, vreinterpretq_s32_u32(vcgtq_s32(a.v, vdupq_n_s32(0))))};
}
// a * 2^15 < 2^30 and the quotient <= 32767: the float quotient is off by less than one, the remainder mends
// it.
CR_INLINE I32x4 div15(I32x4 a, I32x4 b) {
  const I32x4 numerator = shl<15>(a);
  I32x4 q{vcvtq_s32_f32(vdivq_f32(vcvtq_f32_s32(numerator.v), vcvtq_f32_s32(b.v)))};
  const I32x4 rest = numerator - mul(q, b);
  q = q + sar<31>(rest);
  q = select(gt(b, rest), q, q + splat<I32x4>(1));
  return min(q, splat<I32x4>(32767));
}

CR_INLINE I32x4 gather(const int32_t *table, I32x4 index) {
  const AnyInt32 *from = table;
  int32x4_t v = vdupq_n_s32(from[vgetq_lane_s32(index.v, 0)]);
  v = vsetq_lane_s32(from[vgetq_lane_s32(index.v, 1)], v, 1);
  v = vsetq_lane_s32(from[vgetq_lane_s32(index.v, 2)], v, 2);
  return {vsetq_lane_s32(from[vgetq_lane_s32(index.v, 3)], v, 3)};
}

CR_INLINE void store_octets16(const I32x4 *pairs, int16_t *const *to, size_t offset) {
  const int32x4x2_t ab = vzipq_s32(pairs[0].v, pairs[1].v);
  const int32x4x2_t cd = vzipq_s32(pairs[2].v, pairs[3].v);
  for (int half = 0; half < 2; ++half) {
    const int32x4_t first = vcombine_s32(vget_low_s32(ab.val[half]), vget_low_s32(cd.val[half]));
    const int32x4_t second = vcombine_s32(vget_high_s32(ab.val[half]), vget_high_s32(cd.val[half]));
    vst1q_s16(to[2 * half] + offset, vreinterpretq_s16_s32(first));
    vst1q_s16(to[2 * half + 1] + offset, vreinterpretq_s16_s32(second));
  }
}

using I32 = I32x4;

}  // namespace callreplay::CR_ISA
