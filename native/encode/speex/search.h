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

// The row that each lane chose of a table of kSize rows.
template <int kSize, class V>
class ChosenRow {
 public:
  CR_LANE ChosenRow(const speex::SearchTable &table, IntOf<V> index)
      : columns_(table.columns), index_(index), row_(table.rows, index * splat<IntOf<V>>(table.width)) {}
  CR_LANE V at(int i) const {
    return kByColumns ? look_up<kSize, V>(columns_ + i * kSize, index_) : row_.at(i);
  }

 private:
#if defined(CR_AVX512)
  static constexpr bool kByColumns = V::kLanes > 1 && kSize <= 128;
#else
  static constexpr bool kByColumns = false;
#endif
  const float *columns_;
  IntOf<V> index_;
  RowsOf<V> row_;
};

// How many W of candidates are under way at once. The sum of one candidate waits for each of its products, and the
// next candidate's is too far away for the processor to begin it meanwhile; but every W takes a register.
template <class V, class W>
constexpr int block_of(int most, int size) {
  return most * kStep<V, W> <= size ? most : size / kStep<V, W>;
}

// The tags first, first + 1, ... of kStep candidates, from memory: there is more to do for the units that would count.
template <class V, class W>
CR_LANE IntOf<W> tags_from(int first) {
  if constexpr (kSame<V, W>) {
    return splat<IntOf<V>>(V::kLanes == 1 ? first : speex::kTags[first]);
  } else {
    return load<IntOf<W>>(speex::kTags + first);
  }
}

// Puts `a` into the ascending list of the M smallest.
template <int M, class W>
CR_LANE void insert(W (&list)[M], W a) {
  for (int i = 0; i < M - 1; ++i) {
    const W low = min(list[i], a);
    a = the_other(list[i], a, low);
    list[i] = low;
  }
  list[M - 1] = min(list[M - 1], a);
}

template <int M, class W>
CR_LANE void clear_list(W (&list)[M]) {
  for (int i = 0; i < M; ++i) {
    list[i] = splat<W>(3.0e38f);
  }
}

// The M smallest of values that come N at a time.
template <int M, int N, class W>
struct Smallest {
  W list[M];

  CR_LANE Smallest() { clear_list(list); }
  CR_LANE void take(const W (&a)[N]) {
#pragma GCC unroll 4
    for (int r = 0; r < N; ++r) {
      insert(list, a[r]);
    }
  }
  CR_LANE void finish() {}
};

// The three smallest, N = 1, 2 or 4: at 3 1/2 operations each instead of five. Values
// are compared in pairs, and the smaller ones in pairs again. Of the larger ones of all pairs no more than one can be
// among the three, since each has its smaller one before it: only the least of them is kept.
template <int N, class W>
struct Smallest<3, N, W> {
  W list[3];
  W larger, larger_of_pairs;

  CR_LANE Smallest() {
    clear_list(list);
    larger = larger_of_pairs = splat<W>(3.0e38f);
  }
  CR_LANE void take(const W (&a)[N]) {
    if constexpr (N == 4) {
      const W first = min(a[0], a[1]), last = min(a[2], a[3]);
      larger = min(larger, min(the_other(a[0], a[1], first), the_other(a[2], a[3], last)));
      const W low = min(first, last);
      larger_of_pairs = min(larger_of_pairs, the_other(first, last, low));
      insert(list, low);
    } else if constexpr (N == 2) {
      const W low = min(a[0], a[1]);
      larger = min(larger, the_other(a[0], a[1], low));
      insert(list, low);
    } else {
      insert(list, a[0]);
    }
  }
  CR_LANE void finish() {
    if constexpr (N == 4) {
      insert(list, larger_of_pairs);
    }
    if constexpr (N >= 2) {
      insert(list, larger);
    }
  }
};

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

}  // namespace callreplay::CR_ISA
