// Searches over tables and over neighbouring positions, the same for one stream and for a lane per stream.
//
// V is what one value of the algorithm is: a float, or one lane per stream. W is what a search handles at
// once. With W = V a search tries one candidate after the other; with V = F32x1 and W = F32 it tries as many
// neighbouring candidates as F32 has lanes. Each candidate is computed by the same operations in the same
// order either way, and packed scores have no ties (pack_tag), so both choose the same.
#pragma once

#include "encode/speex/tables.h"
#include "lanes/f32.h"

namespace callreplay::CR_ISA {

template <class A, class B>
inline constexpr bool kSame = false;
template <class A>
inline constexpr bool kSame<A, A> = true;

// How many candidates one W holds.
template <class V, class W>
inline constexpr int kStep = kSame<V, W> ? 1 : W::kLanes;

// A value of the stream, for use against a W of candidates.
template <class V, class W>
CR_LANE W against(V a) {
  if constexpr (kSame<V, W>) {
    return a;
  } else {
    return splat<W>(a.v);
  }
}

// kStep neighbouring values, one per candidate.
template <class V, class W>
CR_LANE W neighbours(const V *p) {
  if constexpr (kSame<V, W>) {
    return *p;
  } else {
    return load<W>(&p->v);
  }
}
template <class V, class W>
CR_LANE void put_neighbours(V *p, W a) {
  if constexpr (kSame<V, W>) {
    *p = a;
  } else {
    store(&p->v, a);
  }
}

// Column i of the candidates from row k on.
template <class V, class W>
CR_LANE W entry(const speex::SearchTable &table, int width, int k, int i) {
  if constexpr (kSame<V, W>) {
    return splat<V>(table.rows[k * width + i]);
  } else {
    return load<W>(table.columns + i * table.size + k);
  }
}

// How many W of candidates are under way at once. The sum of one candidate waits for each of its products, and the
// next candidate's is too far away for the processor to begin it meanwhile; but every W takes a register.
template <class V, class W>
constexpr int block_of(int most, int size) {
  return most * kStep<V, W> <= size ? most : size / kStep<V, W>;
}

// The tags first, first + 1, ... of kStep candidates.
template <class V, class W>
CR_LANE IntOf<W> tags_from(int first) {
  if constexpr (kSame<V, W>) {
    return splat<IntOf<V>>(first);
  } else {
    return splat<IntOf<W>>(first) + iota<IntOf<W>>();
  }
}

// Puts `a` into the ascending list of the M smallest.
template <int M, class W>
CR_LANE void insert(W (&list)[M], W a) {
  for (int i = 0; i < M - 1; ++i) {
    const W low = min(list[i], a);
    a = max(list[i], a);
    list[i] = low;
  }
  list[M - 1] = min(list[M - 1], a);
}

// The M smallest of the stream, from the lists of its candidate groups.
template <class V, class W, int M>
CR_LANE void reduce(const W (&lists)[M], V (&best)[M]) {
  if constexpr (kSame<V, W>) {
    for (int i = 0; i < M; ++i) {
      best[i] = lists[i];
    }
  } else {
    alignas(64) float all[M][W::kLanes];
    for (int i = 0; i < M; ++i) {
      best[i] = splat<V>(3.0e38f);
      store(all[i], lists[i]);
    }
    for (int i = 0; i < M; ++i) {
      for (int lane = 0; lane < W::kLanes; ++lane) {
        if (all[i][lane] < best[M - 1].v) {
          insert(best, splat<V>(all[i][lane]));
        }
      }
    }
  }
}

template <int M, class W>
CR_LANE void clear_list(W (&list)[M]) {
  for (int i = 0; i < M; ++i) {
    list[i] = splat<W>(3.0e38f);
  }
}

}  // namespace callreplay::CR_ISA
