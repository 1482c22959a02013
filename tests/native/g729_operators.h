// The basic operations of ITU-T G.729 as plain functions, saturating where the standard says so. For the
// literal decoder that the kernels are tested against; nothing here is shared with the kernels.
#pragma once

#include <cstdint>

namespace g729_literal {

using W = int16_t;
using L = int32_t;

// Set by every 32-bit saturation; the synthesis filter alone looks at it.
struct Flag {
  bool raised = false;
};

inline W sat16(int64_t v) {
  return static_cast<W>(v > 32767 ? 32767 : v < -32768 ? -32768 : v);
}

inline L sat32(int64_t v, Flag *flag = nullptr) {
  if (v > INT32_MAX || v < INT32_MIN) {
    if (flag != nullptr) flag->raised = true;
    return v > 0 ? INT32_MAX : INT32_MIN;
  }
  return static_cast<L>(v);
}

inline W add(W a, W b) {
  return sat16(a + b);
}
inline W sub(W a, W b) {
  return sat16(a - b);
}
inline W neg(W a) {
  return sat16(-a);
}
inline W abs_w(W a) {
  return sat16(a < 0 ? -a : a);
}
inline W mul(W a, W b) {
  return sat16((static_cast<L>(a) * b) >> 15);
}
inline W mulr(W a, W b) {
  return sat16((static_cast<int64_t>(a) * b + 16384) >> 15);
}

W shr(W a, int n);
inline W shl(W a, int n) {
  if (n < 0) return shr(a, -n);
  if (a == 0) return 0;
  return n > 16 ? (a < 0 ? -32768 : 32767) : sat16(static_cast<int64_t>(a) * (1 << n));
}
inline W shr(W a, int n) {
  if (n < 0) return shl(a, -n);
  return n >= 15 ? static_cast<W>(a < 0 ? -1 : 0) : static_cast<W>(a >> n);
}
inline W shrr(W a, int n) {
  if (n > 15) return 0;
  return static_cast<W>(shr(a, n) + (n > 0 ? (a >> (n - 1)) & 1 : 0));
}

inline L lmul(W a, W b, Flag *flag = nullptr) {
  return sat32(2 * static_cast<int64_t>(a) * b, flag);
}
inline L ladd(L a, L b, Flag *flag = nullptr) {
  return sat32(static_cast<int64_t>(a) + b, flag);
}
inline L lsub(L a, L b, Flag *flag = nullptr) {
  return sat32(static_cast<int64_t>(a) - b, flag);
}
inline L lmac(L s, W a, W b, Flag *flag = nullptr) {
  return ladd(s, lmul(a, b, flag), flag);
}
inline L lmsu(L s, W a, W b, Flag *flag = nullptr) {
  return lsub(s, lmul(a, b, flag), flag);
}

L lshr(L a, int n);
inline L lshl(L a, int n, Flag *flag = nullptr) {
  if (n <= 0) return lshr(a, -n);
  if (a == 0) return 0;
  return n > 32 ? sat32(a < 0 ? INT64_MIN : INT64_MAX, flag)
                : sat32(static_cast<int64_t>(a) * (int64_t{1} << n), flag);
}
inline L lshr(L a, int n) {
  if (n < 0) return lshl(a, -n);
  return n >= 31 ? (a < 0 ? -1 : 0) : a >> n;
}
inline L lshrr(L a, int n) {
  if (n > 31) return 0;
  return static_cast<L>(lshr(a, n) + (n > 0 ? (a >> (n - 1)) & 1 : 0));
}

inline W hi(L a) {
  return static_cast<W>(a >> 16);
}
inline W low(L a) {
  return static_cast<W>(static_cast<uint16_t>(static_cast<uint32_t>(a)));
}
inline W rnd(L a, Flag *flag = nullptr) {
  return hi(sat32(static_cast<int64_t>(a) + 32768, flag));
}

inline int norm32(L a) {
  if (a == 0) return 0;
  if (a == -1) return 31;
  int n = 0;
  for (int64_t v = a < 0 ? ~static_cast<int64_t>(a) : a; v < 0x40000000; v <<= 1) ++n;
  return n;
}
inline int norm16(W a) {
  if (a == 0) return 0;
  if (a == -1) return 15;
  int n = 0;
  for (int v = a < 0 ? ~a : a; v < 0x4000; v <<= 1) ++n;
  return n;
}
inline W div15(W a, W b) {
  return a == b ? W{32767} : static_cast<W>((static_cast<L>(a) << 15) / b);
}

// L as a 16-bit high part and 15 bits below it; bit 0 of L is lost.
inline L mpy32x16(L a, W n) {
  const W high = hi(a);
  const W rest = static_cast<W>((a >> 1) & 0x7FFF);
  return ladd(lmul(high, n), 2 * static_cast<L>(mul(rest, n)));
}

inline W rand_next(W *seed) {
  *seed = low(static_cast<L>(*seed) * 31821 + 13849);
  return *seed;
}

}  // namespace g729_literal
