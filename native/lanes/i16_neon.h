// Lanes<int16_t, 8>: one NEON register of an AArch64 CPU. Included by i16.h.
#pragma once

#include <arm_neon.h>

namespace callreplay::CR_ISA {

inline constexpr int kWidth16 = 8;

template <>
struct Lanes<int16_t, 8> {
  int16x8_t v;

  Lanes() = default;
  CR_LANE Lanes(int16x8_t x) : v(x) {}
  CR_LANE Lanes(int16_t x) : v(vdupq_n_s16(x)) {}
  static CR_LANE Lanes load(const int16_t *from) { return vld1q_s16(from); }
  static CR_LANE Lanes widen(const uint8_t *from) { return vreinterpretq_s16_u16(vmovl_u8(vld1_u8(from))); }
  static CR_LANE Lanes load_pair(int16_t a, int16_t b) {
    return vsetq_lane_s16(b, vsetq_lane_s16(a, vdupq_n_s16(0), 0), 1);
  }
  CR_LANE void store_pair(int16_t *a, int16_t *b) const {
    *a = vgetq_lane_s16(v, 0);
    *b = vgetq_lane_s16(v, 1);
  }
  CR_LANE void store(int16_t *to) const { vst1q_s16(to, v); }
  CR_LANE void store_low_octets(uint8_t *to) const { vst1_u8(to, vmovn_u16(vreinterpretq_u16_s16(v))); }
};

using I16 = Lanes<int16_t, 8>;

CR_LANE I16 operator+(const I16 &a, const I16 &b) {
  return vaddq_s16(a.v, b.v);
}
CR_LANE I16 operator-(const I16 &a, const I16 &b) {
  return vsubq_s16(a.v, b.v);
}
CR_LANE I16 operator&(const I16 &a, const I16 &b) {
  return vandq_s16(a.v, b.v);
}
CR_LANE I16 operator|(const I16 &a, const I16 &b) {
  return vorrq_s16(a.v, b.v);
}
CR_LANE I16 operator^(const I16 &a, const I16 &b) {
  return veorq_s16(a.v, b.v);
}
CR_LANE I16 sadd(const I16 &a, const I16 &b) {
  return vqaddq_s16(a.v, b.v);
}
CR_LANE I16 ssub(const I16 &a, const I16 &b) {
  return vqsubq_s16(a.v, b.v);
}
CR_LANE I16 mullo(const I16 &a, const I16 &b) {
  return vmulq_s16(a.v, b.v);
}
CR_LANE I16 mulhi(const I16 &a, const I16 &b) {
  const int32x4_t low = vmull_s16(vget_low_s16(a.v), vget_low_s16(b.v));
  const int32x4_t high = vmull_high_s16(a.v, b.v);
  return vuzp2q_s16(vreinterpretq_s16_s32(low), vreinterpretq_s16_s32(high));
}
// sqdmulh is (2ab) >> 16; it saturates for -32768 * -32768 only, which mul15 excludes.
CR_LANE I16 mul15(const I16 &a, const I16 &b) {
  return vqdmulhq_s16(a.v, b.v);
}
CR_LANE I16 min(const I16 &a, const I16 &b) {
  return vminq_s16(a.v, b.v);
}
CR_LANE I16 max(const I16 &a, const I16 &b) {
  return vmaxq_s16(a.v, b.v);
}
CR_LANE I16 greater(const I16 &a, const I16 &b) {
  return vreinterpretq_s16_u16(vcgtq_s16(a.v, b.v));
}
template <int k>
CR_LANE I16 sar(const I16 &a) {
  return vshrq_n_s16(a.v, k);
}
template <int k>
CR_LANE I16 shl(const I16 &a) {
  return vshlq_n_s16(a.v, k);
}
template <int k>
CR_LANE I16 shr(const I16 &a) {
  return vreinterpretq_s16_u16(vshrq_n_u16(vreinterpretq_u16_s16(a.v), k));
}
CR_LANE I16 shl_each(const I16 &a, const I16 &count) {
  return vshlq_s16(a.v, count.v);
}

CR_LANE I16 log2_q4(const I16 &a) {
  const int16x8_t zeros = vclzq_s16(a.v);  // 1 to 15 for 1 to 32767
  const int16x8_t aligned = vshlq_s16(a.v, zeros);
  const int16x8_t below =
      vandq_s16(vreinterpretq_s16_u16(vshrq_n_u16(vreinterpretq_u16_s16(aligned), 11)), vdupq_n_s16(15));
  return vaddq_s16(vshlq_n_s16(vsubq_s16(vdupq_n_s16(15), zeros), 4), below);
}

CR_LANE I16 sign_factor(const I16 &a) {
  return vorrq_s16(vshrq_n_s16(a.v, 15), vdupq_n_s16(1));
}
CR_LANE I16 times_sign(const I16 &w, const I16 &factor) {
  return vmulq_s16(w.v, factor.v);
}
CR_LANE I16 step_towards(const I16 &a, int16_t step) {
  const int16x8_t negative = vshrq_n_s16(a.v, 15);
  const int16x8_t size = vandq_s16(vreinterpretq_s16_u16(vtstq_s16(a.v, a.v)), vdupq_n_s16(step));
  return vsubq_s16(veorq_s16(size, negative), negative);
}
CR_LANE int32_t sum(const I16 &a) {
  return vaddlvq_s16(a.v);
}
CR_LANE bool any(const I16 &mask) {
  return vmaxvq_u16(vreinterpretq_u16_s16(mask.v)) != 0;
}

CR_LANE void store_interleaved(const I16 &a, const I16 &b, int16_t *to) {
  vst2q_s16(to, int16x8x2_t{{a.v, b.v}});
}

// tbl looks octets up in one to four registers; a lane's two octets are at 2i and 2i + 1.
template <int K>
struct Lut<8, K> {
  static constexpr int kParts = K / 8;
  uint8x16_t part[kParts];

  explicit CR_LANE Lut(const int16_t (&entries)[K]) {
    for (int i = 0; i < kParts; ++i) part[i] = vreinterpretq_u8_s16(vld1q_s16(entries + 8 * i));
  }

  CR_LANE I16 operator()(const I16 &index) const {
    const int16x8_t octets = vaddq_s16(vmulq_n_s16(index.v, 0x0202), vdupq_n_s16(0x0100));
    uint8x16_t at = vreinterpretq_u8_s16(octets);
    if constexpr (K == 16) {
      return vreinterpretq_s16_u8(vqtbl2q_u8(uint8x16x2_t{{part[0], part[1]}}, at));
    } else {
      // An index beyond the table gives 0 (tbl) or leaves the lane alone (tbx).
      uint8x16_t r = vqtbl4q_u8(uint8x16x4_t{{part[0], part[1], part[2], part[3]}}, at);
      if constexpr (K == 64) {
        at = vsubq_u8(at, vdupq_n_u8(64));
        r = vqtbx4q_u8(r, uint8x16x4_t{{part[4], part[5], part[6], part[7]}}, at);
      }
      return vreinterpretq_s16_u8(r);
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
  return vqmovn_high_s32(vqmovn_s32(vshrq_n_s32(acc.low, k)), vshrq_n_s32(acc.high, k));
}

}  // namespace callreplay::CR_ISA
