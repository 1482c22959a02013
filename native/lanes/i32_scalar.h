// I32x1: one lane, plain C++. The law.
#pragma once

#include "lanes/i32.h"

namespace callreplay::CR_ISA {

struct I32x1 {
  static constexpr int kLanes = 1;
  struct Mask {
    bool on;
    friend CR_INLINE Mask operator&(Mask a, Mask b) { return {a.on && b.on}; }
    friend CR_INLINE Mask operator|(Mask a, Mask b) { return {a.on || b.on}; }
    friend CR_INLINE Mask operator~(Mask a) { return {!a.on}; }
  };
  struct Half {
    int32_t v;
  };
  int32_t v;

  static CR_INLINE I32x1 wrap(uint32_t bits) { return {static_cast<int32_t>(bits)}; }
  CR_INLINE uint32_t bits() const { return static_cast<uint32_t>(v); }

  friend CR_INLINE I32x1 operator+(I32x1 a, I32x1 b) { return wrap(a.bits() + b.bits()); }
  friend CR_INLINE I32x1 operator-(I32x1 a, I32x1 b) { return wrap(a.bits() - b.bits()); }
  friend CR_INLINE I32x1 operator&(I32x1 a, I32x1 b) { return {a.v & b.v}; }
  friend CR_INLINE I32x1 operator|(I32x1 a, I32x1 b) { return {a.v | b.v}; }
  friend CR_INLINE I32x1 operator^(I32x1 a, I32x1 b) { return {a.v ^ b.v}; }
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

template <>
CR_INLINE I32x1 splat<I32x1>(int32_t value) {
  return {value};
}
template <>
CR_INLINE I32x1 load<I32x1>(const int32_t *from) {
  return {*from};
}
template <>
CR_INLINE I32x1 load16<I32x1>(const int16_t *from) {
  return {*from};
}
template <>
CR_INLINE I32x1 load_pairs<I32x1>(const int16_t *rows) {
  return I32x1::wrap(static_cast<uint16_t>(rows[0]) | static_cast<uint32_t>(rows[1]) << 16);
}
template <>
CR_INLINE I32x1 iota<I32x1>() {
  return {0};
}
template <>
CR_INLINE I32x1::Mask mask_of<I32x1>(uint32_t bits) {
  return {(bits & 1) != 0};
}

CR_INLINE int16_t low16(I32x1 a) {
  return static_cast<int16_t>(static_cast<uint16_t>(a.bits()));
}
CR_INLINE int16_t high16(I32x1 a) {
  return static_cast<int16_t>(a.v >> 16);
}
CR_INLINE I32x1 halves(int32_t lo, int32_t hi) {
  return I32x1::wrap((static_cast<uint32_t>(lo) & 0xFFFF) | static_cast<uint32_t>(hi) << 16);
}

CR_INLINE void store(int32_t *to, I32x1 a) {
  *to = a.v;
}
CR_INLINE void store16(int16_t *to, I32x1 a) {
  *to = low16(a);
}
CR_INLINE void store_pairs(int16_t *rows, I32x1 a) {
  rows[0] = low16(a);
  rows[1] = high16(a);
}

template <int k>
CR_INLINE I32x1 shl(I32x1 a) {
  return I32x1::wrap(a.bits() << k);
}
template <int k>
CR_INLINE I32x1 shr(I32x1 a) {
  return I32x1::wrap(a.bits() >> k);
}
template <int k>
CR_INLINE I32x1 sar(I32x1 a) {
  return {a.v >> k};
}
CR_INLINE I32x1 shlv(I32x1 a, I32x1 n) {
  return I32x1::wrap(a.bits() << (n.v & 31));
}
CR_INLINE I32x1 sarv(I32x1 a, I32x1 n) {
  return {a.v >> (n.v & 31)};
}

CR_INLINE I32x1 mul(I32x1 a, I32x1 b) {
  return I32x1::wrap(a.bits() * b.bits());
}
CR_INLINE I32x1 madd(I32x1 a, I32x1 b) {
  return I32x1::wrap(static_cast<uint32_t>(low16(a) * low16(b)) +
                     static_cast<uint32_t>(high16(a) * high16(b)));
}

CR_INLINE I32x1 min(I32x1 a, I32x1 b) {
  return {a.v < b.v ? a.v : b.v};
}
CR_INLINE I32x1 max(I32x1 a, I32x1 b) {
  return {a.v > b.v ? a.v : b.v};
}
CR_INLINE I32x1 umin(I32x1 a, I32x1 b) {
  return a.bits() < b.bits() ? a : b;
}
CR_INLINE I32x1::Mask gt(I32x1 a, I32x1 b) {
  return {a.v > b.v};
}
CR_INLINE I32x1::Mask eq(I32x1 a, I32x1 b) {
  return {a.v == b.v};
}
CR_INLINE I32x1 select(I32x1::Mask m, I32x1 a, I32x1 b) {
  return m.on ? a : b;
}
CR_INLINE bool any(I32x1::Mask m) {
  return m.on;
}
CR_INLINE bool all(I32x1::Mask m) {
  return m.on;
}
CR_INLINE uint32_t bits(I32x1::Mask m) {
  return m.on;
}

CR_INLINE I32x1::Half sat(I32x1 a) {
  return {a.v > 32767 ? 32767 : a.v < -32768 ? -32768 : a.v};
}
CR_INLINE I32x1 pair(I32x1::Half lo, I32x1::Half hi) {
  return halves(lo.v, hi.v);
}
CR_INLINE I32x1 cross(I32x1 a, I32x1 b) {
  return I32x1::wrap((a.bits() & 0xFFFF0000) | (b.bits() & 0xFFFF));
}
CR_INLINE I32x1 swap(I32x1 a) {
  return I32x1::wrap(a.bits() << 16 | a.bits() >> 16);
}

template <int k>
CR_INLINE I32x1 sar16(I32x1 a) {
  return halves(low16(a) >> k, a.v >> (16 + k));
}
CR_INLINE I32x1 adds16(I32x1 a, I32x1 b) {
  return pair(sat(I32x1{low16(a) + low16(b)}), sat(I32x1{high16(a) + high16(b)}));
}
CR_INLINE I32x1 subs16(I32x1 a, I32x1 b) {
  return pair(sat(I32x1{low16(a) - low16(b)}), sat(I32x1{high16(a) - high16(b)}));
}
CR_INLINE I32x1 mul15_16(I32x1 a, I32x1 b) {
  return halves((low16(a) * low16(b)) >> 15, (high16(a) * high16(b)) >> 15);
}
CR_INLINE I32x1 mulr16(I32x1 a, I32x1 b) {
  return halves((low16(a) * low16(b) + 16384) >> 15, (high16(a) * high16(b) + 16384) >> 15);
}
CR_INLINE I32x1 widest(I32x1 so_far, I32x1 a) {
  const int32_t lo = low16(a), hi = high16(a);
  return max(so_far, max(I32x1{lo < 0 ? -lo : lo}, I32x1{hi < 0 ? -hi : hi}));
}
CR_INLINE I32x1 peak(I32x1 so_far) {
  return so_far;
}

CR_INLINE I32x1 norm(I32x1 a) {
  return {a.v > 0 ? __builtin_clz(a.bits()) - 1 : 0};
}
CR_INLINE I32x1 div15(I32x1 a, I32x1 b) {
  return {a.v == b.v ? 32767 : (a.v << 15) / b.v};
}

CR_INLINE I32x1 gather(const int32_t *table, I32x1 index) {
  return {table[index.v]};
}
CR_INLINE void store_octets16(const I32x1 *pairs, int16_t *const *to, size_t offset) {
  for (int i = 0; i < 4; ++i) {
    to[0][offset + 2 * i] = low16(pairs[i]);
    to[0][offset + 2 * i + 1] = high16(pairs[i]);
  }
}

}  // namespace callreplay::CR_ISA
