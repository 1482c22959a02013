// Float lanes: one algorithm, written over a type V, runs one stream (V = float) or one stream per lane (V =
// F32).
//
// Every operation here is exact in the same way on every back end: IEEE single addition, multiplication,
// division and square root, comparisons, bit operations. There is no fused multiply-add and no approximate
// reciprocal, so a lane gives the bits of the scalar instance. Include it only from files that are compiled
// by callreplay_isa_sources(): everything lives in the namespace of the instruction set (lanes.md, trap 7).
#pragma once

#ifndef CR_ISA
#error "f32.h is for sources of callreplay_isa_sources() only"
#endif

#include <cstddef>
#include <cstdint>

#define CR_INLINE [[gnu::always_inline]] inline

namespace callreplay::CR_ISA {

// The scalar instance.
CR_INLINE float vmin(float a, float b) {
  return a < b ? a : b;
}
CR_INLINE float vmax(float a, float b) {
  return a > b ? a : b;
}
CR_INLINE int32_t vmin(int32_t a, int32_t b) {
  return a < b ? a : b;
}
CR_INLINE int32_t vmax(int32_t a, int32_t b) {
  return a > b ? a : b;
}
CR_INLINE float vsqrt(float a) {
  return __builtin_sqrtf(a);
}
CR_INLINE float vabs(float a) {
  return __builtin_fabsf(a);
}
CR_INLINE float select(bool m, float a, float b) {
  return m ? a : b;
}
CR_INLINE int32_t select(bool m, int32_t a, int32_t b) {
  return m ? a : b;
}
CR_INLINE bool any(bool m) {
  return m;
}
CR_INLINE int32_t bits_of(float a) {
  return __builtin_bit_cast(int32_t, a);
}
CR_INLINE float float_of_bits(int32_t a) {
  return __builtin_bit_cast(float, a);
}
CR_INLINE int32_t truncate(float a) {
  return static_cast<int32_t>(a);
}
CR_INLINE float to_float(int32_t a) {
  return static_cast<float>(a);
}

template <class V>
struct LanesOf;
template <>
struct LanesOf<float> {
  using Int = int32_t;
  using Mask = bool;
  static constexpr int kCount = 1;
};

}  // namespace callreplay::CR_ISA

#if defined(CR_ISA_avx512)
#include "lanes/f32_avx512.h"
#else
#include "lanes/f32_vector.h"
#endif

namespace callreplay::CR_ISA {

template <>
struct LanesOf<F32> {
  using Int = I32;
  using Mask = M32;
  static constexpr int kCount = kF32Lanes;
};

template <class V>
using IntOf = typename LanesOf<V>::Int;
template <class V>
using MaskOf = typename LanesOf<V>::Mask;
template <class V>
inline constexpr int kLanesOf = LanesOf<V>::kCount;

// The same value in every lane.
template <class V>
CR_INLINE V splat(float a) {
  if constexpr (kLanesOf<V> == 1) {
    return a;
  } else {
    return splat_wide(a);
  }
}
template <class V>
CR_INLINE IntOf<V> splat_int(int32_t a) {
  if constexpr (kLanesOf<V> == 1) {
    return a;
  } else {
    return splat_int_wide(a);
  }
}

// kLanesOf<V> consecutive floats at p, any alignment.
template <class V>
CR_INLINE V load(const float *p) {
  if constexpr (kLanesOf<V> == 1) {
    return *p;
  } else {
    return load_wide(p);
  }
}
template <class V>
CR_INLINE void store(float *p, V a) {
  if constexpr (kLanesOf<V> == 1) {
    *p = a;
  } else {
    store_wide(p, a);
  }
}
template <class V>
CR_INLINE void store_int(int32_t *p, IntOf<V> a) {
  if constexpr (kLanesOf<V> == 1) {
    *p = a;
  } else {
    store_int_wide(p, a);
  }
}

// table[index], the index being each lane's own. The caller proves that every index is inside the table.
template <class V>
CR_INLINE V gather(const float *table, IntOf<V> index) {
  if constexpr (kLanesOf<V> == 1) {
    return table[index];
  } else {
    return gather_wide(table, index);
  }
}
// history[index] of the lane itself, where history holds one V per sample.
template <class V>
CR_INLINE V gather_own(const V *history, IntOf<V> index) {
  if constexpr (kLanesOf<V> == 1) {
    return history[index];
  } else {
    return gather_wide(reinterpret_cast<const float *>(history),
                       index * splat_int_wide(kF32Lanes) + lane_numbers());
  }
}

// Replaces the low `width` bits of the value by `tag` (< 1 << width). Two packed values with different tags
// never compare equal, so the order of a search over packed values does not matter: it is why a search may
// run over several candidates at once and still choose what the scalar loop chooses.
template <class V>
CR_INLINE V pack_tag(V value, int width, IntOf<V> tag) {
  return float_of_bits((bits_of(value) & splat_int<V>(-1 << width)) | tag);
}
template <class V>
CR_INLINE IntOf<V> tag_of(V packed, int width) {
  return bits_of(packed) & splat_int<V>((1 << width) - 1);
}

}  // namespace callreplay::CR_ISA
