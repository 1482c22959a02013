// The intrinsics of this instruction set. The three of x86 share names: CR_MM(add_epi16) is _mm_, _mm256_ or
// _mm512_add_epi16, CR_MM_BITS(and) is _mm_and_si128 and its sisters.
#pragma once

#include "lanes/lanes.h"

#if defined(CR_NEON)
#include <arm_neon.h>
#endif

#if defined(CR_AVX512) || defined(CR_AVX2) || defined(CR_SSE2)

// GCC 12 calls its own deliberate `__m512i __Y = __Y` uninitialised (GCC bug 105593); clang knows
// no such option.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#else
#include <immintrin.h>
#endif

#if defined(CR_AVX512)
#define CR_MM(operation) _mm512_##operation
#define CR_MM_BITS(operation) _mm512_##operation##_si512
#elif defined(CR_AVX2)
#define CR_MM(operation) _mm256_##operation
#define CR_MM_BITS(operation) _mm256_##operation##_si256
#else
#define CR_MM(operation) _mm_##operation
#define CR_MM_BITS(operation) _mm_##operation##_si128
#endif

namespace callreplay::CR_ISA {

#if defined(CR_AVX512)
using Register = __m512i;
using FloatRegister = __m512;
CR_LANE Register as_bits(FloatRegister a) {
  return _mm512_castps_si512(a);
}
CR_LANE FloatRegister as_floats(Register a) {
  return _mm512_castsi512_ps(a);
}
#elif defined(CR_AVX2)
using Register = __m256i;
using FloatRegister = __m256;
CR_LANE Register as_bits(FloatRegister a) {
  return _mm256_castps_si256(a);
}
CR_LANE FloatRegister as_floats(Register a) {
  return _mm256_castsi256_ps(a);
}
#else
using Register = __m128i;
using FloatRegister = __m128;
CR_LANE Register as_bits(FloatRegister a) {
  return _mm_castps_si128(a);
}
CR_LANE FloatRegister as_floats(Register a) {
  return _mm_castsi128_ps(a);
}
#endif

CR_LANE Register load_register(const void *from) {
  return CR_MM_BITS(loadu)(static_cast<const Register *>(from));
}
CR_LANE void store_register(void *to, Register a) {
  CR_MM_BITS(storeu)(static_cast<Register *>(to), a);
}
CR_LANE __m128i load_128(const void *from) {
  return _mm_loadu_si128(static_cast<const __m128i *>(from));
}
CR_LANE void store_128(void *to, __m128i a) {
  _mm_storeu_si128(static_cast<__m128i *>(to), a);
}

}  // namespace callreplay::CR_ISA

#endif
