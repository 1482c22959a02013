// Between streams, each contiguous in memory, and lanes: 16 octets of N streams in, 8 samples of
// N streams out.
//
// Interleaving row i with row i + R/2, log2(R) times, transposes R rows: the tiles are made of
// that step only.
#pragma once

#include "lanes/f32.h"
#include "lanes/i16.h"

namespace callreplay::CR_ISA {

// rows[t * N + lane] = from[lane][at + t], t in [0, 16).
template <int N>
CR_LANE void gather_octets(const uint8_t *const *from, size_t at, uint8_t *rows) {
  for (int lane = 0; lane < N; ++lane) {
    for (int t = 0; t < 16; ++t) rows[t * N + lane] = from[lane][at + t];
  }
}

// to[lane][at + t] = x[t] of the lane, t in [0, 8).
template <int N>
CR_LANE void scatter_samples(const Lanes<int16_t, N> (&x)[8], int16_t *const *to, size_t at) {
  int16_t rows[8][N];
  for (int t = 0; t < 8; ++t) store(rows[t], x[t]);
  for (int lane = 0; lane < N; ++lane) {
    for (int t = 0; t < 8; ++t) to[lane][at + t] = rows[t][lane];
  }
}

#if defined(CR_SSE2)

template <>
CR_LANE void gather_octets<8>(const uint8_t *const *from, size_t at, uint8_t *rows) {
  __m128i a[8], b[8];
  for (int i = 0; i < 8; ++i) a[i] = load_128(from[i] + at);
  const auto step = [](const __m128i(&x)[8], __m128i(&y)[8]) __attribute__((always_inline)) {
    for (int i = 0; i < 4; ++i) {
      y[2 * i] = _mm_unpacklo_epi8(x[i], x[i + 4]);
      y[2 * i + 1] = _mm_unpackhi_epi8(x[i], x[i + 4]);
    }
  };
  step(a, b);
  step(b, a);
  step(a, b);
  for (int i = 0; i < 8; ++i) store_128(rows + 16 * i, b[i]);
}

template <>
CR_LANE void scatter_samples<8>(const Lanes<int16_t, 8> (&x)[8], int16_t *const *to, size_t at) {
  __m128i a[8], b[8];
  for (int i = 0; i < 8; ++i) a[i] = x[i].v;
  const auto step = [](const __m128i(&p)[8], __m128i(&q)[8]) __attribute__((always_inline)) {
    for (int i = 0; i < 4; ++i) {
      q[2 * i] = _mm_unpacklo_epi16(p[i], p[i + 4]);
      q[2 * i + 1] = _mm_unpackhi_epi16(p[i], p[i + 4]);
    }
  };
  step(a, b);
  step(b, a);
  step(a, b);
  for (int i = 0; i < 8; ++i) store_128(to[i] + at, b[i]);
}

#elif defined(CR_AVX2)

template <>
CR_LANE void gather_octets<16>(const uint8_t *const *from, size_t at, uint8_t *rows) {
  __m128i a[16], b[16];
  for (int i = 0; i < 16; ++i) a[i] = load_128(from[i] + at);
  const auto step = [](const __m128i(&x)[16], __m128i(&y)[16]) __attribute__((always_inline)) {
    for (int i = 0; i < 8; ++i) {
      y[2 * i] = _mm_unpacklo_epi8(x[i], x[i + 8]);
      y[2 * i + 1] = _mm_unpackhi_epi8(x[i], x[i + 8]);
    }
  };
  step(a, b);
  step(b, a);
  step(a, b);
  step(b, a);
  for (int i = 0; i < 16; ++i) store_128(rows + 16 * i, a[i]);
}

// Each half of the registers is an 8 x 8 tile: lanes 0 to 7 and 8 to 15.
template <>
CR_LANE void scatter_samples<16>(const Lanes<int16_t, 16> (&x)[8], int16_t *const *to, size_t at) {
  __m256i a[8], b[8];
  for (int i = 0; i < 8; ++i) a[i] = x[i].v;
  const auto step = [](const __m256i(&p)[8], __m256i(&q)[8]) __attribute__((always_inline)) {
    for (int i = 0; i < 4; ++i) {
      q[2 * i] = _mm256_unpacklo_epi16(p[i], p[i + 4]);
      q[2 * i + 1] = _mm256_unpackhi_epi16(p[i], p[i + 4]);
    }
  };
  step(a, b);
  step(b, a);
  step(a, b);
  for (int i = 0; i < 8; ++i) {
    store_128(to[i] + at, _mm256_castsi256_si128(b[i]));
    store_128(to[i + 8] + at, _mm256_extracti128_si256(b[i], 1));
  }
}

#elif defined(CR_AVX512)

// Streams i and i + 16 share a register, so that a row of 32 octets comes out in one piece.
template <>
CR_LANE void gather_octets<32>(const uint8_t *const *from, size_t at, uint8_t *rows) {
  __m256i a[16], b[16];
  for (int i = 0; i < 16; ++i) {
    a[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(load_128(from[i] + at)),
                                   load_128(from[i + 16] + at), 1);
  }
  const auto step = [](const __m256i(&x)[16], __m256i(&y)[16]) __attribute__((always_inline)) {
    for (int i = 0; i < 8; ++i) {
      y[2 * i] = _mm256_unpacklo_epi8(x[i], x[i + 8]);
      y[2 * i + 1] = _mm256_unpackhi_epi8(x[i], x[i + 8]);
    }
  };
  step(a, b);
  step(b, a);
  step(a, b);
  step(b, a);
  for (int i = 0; i < 16; ++i) _mm256_storeu_si256(reinterpret_cast<__m256i *>(rows + 32 * i), a[i]);
}

// Each quarter of the registers is an 8 x 8 tile.
template <>
CR_LANE void scatter_samples<32>(const Lanes<int16_t, 32> (&x)[8], int16_t *const *to, size_t at) {
  __m512i a[8], b[8];
  for (int i = 0; i < 8; ++i) a[i] = x[i].v;
  const auto step = [](const __m512i(&p)[8], __m512i(&q)[8]) __attribute__((always_inline)) {
    for (int i = 0; i < 4; ++i) {
      q[2 * i] = _mm512_unpacklo_epi16(p[i], p[i + 4]);
      q[2 * i + 1] = _mm512_unpackhi_epi16(p[i], p[i + 4]);
    }
  };
  step(a, b);
  step(b, a);
  step(a, b);
  for (int i = 0; i < 8; ++i) {
    const auto put = [&](int lane, __m128i part) { store_128(to[lane] + at, part); };
    put(i, _mm512_castsi512_si128(b[i]));
    put(i + 8, _mm512_extracti32x4_epi32(b[i], 1));
    put(i + 16, _mm512_extracti32x4_epi32(b[i], 2));
    put(i + 24, _mm512_extracti32x4_epi32(b[i], 3));
  }
}

#elif defined(CR_NEON)

template <>
CR_LANE void gather_octets<8>(const uint8_t *const *from, size_t at, uint8_t *rows) {
  uint8x16_t a[8], b[8];
  for (int i = 0; i < 8; ++i) a[i] = vld1q_u8(from[i] + at);
  const auto step = [](const uint8x16_t(&x)[8], uint8x16_t(&y)[8]) __attribute__((always_inline)) {
    for (int i = 0; i < 4; ++i) {
      y[2 * i] = vzip1q_u8(x[i], x[i + 4]);
      y[2 * i + 1] = vzip2q_u8(x[i], x[i + 4]);
    }
  };
  step(a, b);
  step(b, a);
  step(a, b);
  for (int i = 0; i < 8; ++i) vst1q_u8(rows + 16 * i, b[i]);
}

template <>
CR_LANE void scatter_samples<8>(const Lanes<int16_t, 8> (&x)[8], int16_t *const *to, size_t at) {
  int16x8_t a[8], b[8];
  for (int i = 0; i < 8; ++i) a[i] = x[i].v;
  const auto step = [](const int16x8_t(&p)[8], int16x8_t(&q)[8]) __attribute__((always_inline)) {
    for (int i = 0; i < 4; ++i) {
      q[2 * i] = vzip1q_s16(p[i], p[i + 4]);
      q[2 * i + 1] = vzip2q_s16(p[i], p[i + 4]);
    }
  };
  step(a, b);
  step(b, a);
  step(a, b);
  for (int i = 0; i < 8; ++i) vst1q_s16(to[i] + at, b[i]);
}

#endif

// A square of rows becomes one of columns: value i of register j becomes value j of register i.
#if defined(CR_AVX512)
CR_LANE void transpose(F32 (&a)[16]) {
  __m512 b[16];
  for (int i = 0; i < 16; i += 2) {
    b[i] = _mm512_unpacklo_ps(a[i].v, a[i + 1].v);
    b[i + 1] = _mm512_unpackhi_ps(a[i].v, a[i + 1].v);
  }
  const auto pairs = [](__m512 x, __m512 y, bool upper) __attribute__((always_inline)) {
    const __m512d p = _mm512_castps_pd(x), q = _mm512_castps_pd(y);
    return _mm512_castpd_ps(upper ? _mm512_unpackhi_pd(p, q) : _mm512_unpacklo_pd(p, q));
  };
  // c[4 k + j]: column j of each quarter, of rows 4 k to 4 k + 3.
  __m512 c[16];
  for (int k = 0; k < 16; k += 4) {
    for (int j = 0; j < 4; ++j) {
      c[k + j] = pairs(b[k + j / 2], b[k + 2 + j / 2], j % 2 != 0);
    }
  }
  for (int j = 0; j < 4; ++j) {
    const __m512 even_low = _mm512_shuffle_f32x4(c[j], c[4 + j], 0x88);
    const __m512 odd_low = _mm512_shuffle_f32x4(c[j], c[4 + j], 0xdd);
    const __m512 even_high = _mm512_shuffle_f32x4(c[8 + j], c[12 + j], 0x88);
    const __m512 odd_high = _mm512_shuffle_f32x4(c[8 + j], c[12 + j], 0xdd);
    a[j].v = _mm512_shuffle_f32x4(even_low, even_high, 0x88);
    a[4 + j].v = _mm512_shuffle_f32x4(odd_low, odd_high, 0x88);
    a[8 + j].v = _mm512_shuffle_f32x4(even_low, even_high, 0xdd);
    a[12 + j].v = _mm512_shuffle_f32x4(odd_low, odd_high, 0xdd);
  }
}
CR_LANE F32 load_samples(const int16_t *from) {
  return {
      _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(from))))};
}
#elif defined(CR_AVX2)
CR_LANE void transpose(F32 (&a)[8]) {
  __m256 b[8];
  for (int i = 0; i < 8; i += 2) {
    b[i] = _mm256_unpacklo_ps(a[i].v, a[i + 1].v);
    b[i + 1] = _mm256_unpackhi_ps(a[i].v, a[i + 1].v);
  }
  const auto pairs = [](__m256 x, __m256 y, bool upper) __attribute__((always_inline)) {
    const __m256d p = _mm256_castps_pd(x), q = _mm256_castps_pd(y);
    return _mm256_castpd_ps(upper ? _mm256_unpackhi_pd(p, q) : _mm256_unpacklo_pd(p, q));
  };
  for (int j = 0; j < 4; ++j) {
    const __m256 low = pairs(b[j / 2], b[2 + j / 2], j % 2 != 0);
    const __m256 high = pairs(b[4 + j / 2], b[6 + j / 2], j % 2 != 0);
    a[j].v = _mm256_permute2f128_ps(low, high, 0x20);
    a[4 + j].v = _mm256_permute2f128_ps(low, high, 0x31);
  }
}
CR_LANE F32 load_samples(const int16_t *from) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(load_128(from)))};
}
#endif

// rows[t] = from[lane][t] of the lane, t in [0, count); count is a multiple of 16.
template <class V>
CR_LANE void gather_samples(const int16_t *const *from, int count, V *rows) {
#if defined(CR_AVX512) || defined(CR_AVX2)
  if constexpr (V::kLanes == kWidth32) {
    for (int t = 0; t < count; t += kWidth32) {
      F32 tile[kWidth32];
      for (int lane = 0; lane < kWidth32; ++lane) {
        tile[lane] = load_samples(from[lane] + t);
      }
      transpose(tile);
      for (int i = 0; i < kWidth32; ++i) {
        rows[t + i] = tile[i];
      }
    }
    return;
  }
#endif
  float *to = reinterpret_cast<float *>(rows);
  for (int lane = 0; lane < V::kLanes; ++lane) {
    for (int t = 0; t < count; ++t) {
      to[t * V::kLanes + lane] = from[lane][t];
    }
  }
}

}  // namespace callreplay::CR_ISA
