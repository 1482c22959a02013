// Innovation search: a sub-frame is split into sub-vectors, each quantised by one codeword, with the M best
// partial choices kept from one sub-vector to the next (M-algorithm).
//
// Codewords are scored by the backward-filtered target: <t, filtered c> = <b, c>, so that the codebook is the
// same constant for all lanes and no table of filtered codewords is needed, only their energies.
#pragma once

#include "encode/speex/filters.h"

namespace callreplay::CR_ISA {

// Three paths and two pitch candidates do a little better than libspeex at complexity 3 (two and three)
// at less cost.
inline constexpr int kPaths = 3;
inline constexpr int kMaxSubvectors = 8;
inline constexpr int kMaxCodewords = 256;

constexpr int bits_for(int size) {
  int bits = 0;
  while ((1 << bits) < size) {
    ++bits;
  }
  return bits;
}

// Half the energy of every filtered codeword.
template <int kDim, int kSize, class V, class W>
inline void codeword_energies(const speex::Codebook &book, const Response<V> &response, V *half_energy) {
  constexpr int kPairs = kDim * (kDim + 1) / 2;
  constexpr int kBlock = block_of<V, W>(8, kSize);
  W f[kPairs];
  int pair = 0;
  for (int i = 0; i < kDim; ++i) {
    for (int l = i; l < kDim; ++l) {
      V sum = splat<V>(0.0f);
      for (int n = l; n < kDim; ++n) {
        sum += response.h[n - i] * response.h[n - l];
      }
      f[pair++] = against<V, W>(sum);
    }
  }
  for (int k = 0; k < kSize; k += kBlock * kStep<V, W>) {
    W sum[kBlock];
    for (int r = 0; r < kBlock; ++r) {
      sum[r] = splat<W>(0.0f);
    }
    for (int i = 0; i < kPairs; ++i) {
      const W factor = f[i];
#pragma GCC unroll 8
      for (int r = 0; r < kBlock; ++r) {
        sum[r] += factor * entry<V, W>(book.products, kPairs, k + r * kStep<V, W>, i);
      }
    }
    for (int r = 0; r < kBlock; ++r) {
      put_neighbours<V, W>(half_energy + k + r * kStep<V, W>, sum[r]);
    }
  }
}

// The kKeep best codewords for a backward-filtered target, as packed scores (half energy - <t, y>, or
// of |<t, y>|).
template <int kDim, int kSize, bool kSigned, int kKeep, class V, class W>
inline void rank_codewords(const speex::Codebook &book, const V *half_energy, const V (&b)[kDim],
                           V (&best)[kKeep]) {
  constexpr int kTagBits = bits_for(kSize);
  constexpr int kBlock = block_of<V, W>(4, kSize);
  Smallest<kKeep, kBlock, W> smallest;
  W target[kDim];
  for (int i = 0; i < kDim; ++i) {
    target[i] = against<V, W>(b[i]);
  }
  for (int k = 0; k < kSize; k += kBlock * kStep<V, W>) {
    W product[kBlock];
#pragma GCC unroll 4
    for (int r = 0; r < kBlock; ++r) {
      product[r] = entry<V, W>(book.entries, kDim, k + r * kStep<V, W>, 0) * target[0];
    }
#pragma GCC unroll 20
    for (int i = 1; i < kDim; ++i) {
#pragma GCC unroll 4
      for (int r = 0; r < kBlock; ++r) {
        product[r] += entry<V, W>(book.entries, kDim, k + r * kStep<V, W>, i) * target[i];
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < kBlock; ++r) {
      const W gain = kSigned ? abs(product[r]) : product[r];
      const W energy = neighbours<V, W>(half_energy + k + r * kStep<V, W>);
      product[r] = pack_tag(energy - gain, kTagBits, tags_from<V, W>(k + r * kStep<V, W>));
    }
    smallest.take(product);
  }
  smallest.finish();
  reduce<V, W>(smallest.list, best);
}

// Partial choices: what each path has spent, which codewords it chose, and what of the target is left for it.
template <class V>
struct Paths {
  V cost[kPaths];
  IntOf<V> index[kPaths][kMaxSubvectors];
  V target[kPaths][kSubframe + 2 * kMargin];
};

// A value of the parent path, one of three.
template <class V>
struct Parent {
  MaskOf<V> is_second, is_third;
  template <class T>
  CR_LANE T pick(T a, T b, T c) const {
    return select(is_third, c, select(is_second, b, a));
  }
};

// One continuation under way: its cost, its codeword and its parent.
template <class V>
struct Continuation {
  V cost;
  IntOf<V> codeword, parent;
};

template <int kKeep, class V>
CR_LANE void keep_best(Continuation<V> (&kept)[kKeep], Continuation<V> a) {
  for (int i = 0; i < kKeep; ++i) {
    const auto better = a.cost < kept[i].cost;
    const Continuation<V> old = kept[i];
    kept[i] = {select(better, a.cost, old.cost), select(better, a.codeword, old.codeword),
               select(better, a.parent, old.parent)};
    a = {select(better, old.cost, a.cost), select(better, old.codeword, a.codeword),
         select(better, old.parent, a.parent)};
  }
}

// Searches t[0..39] ~ filtered c, with the codebook's own dimension and size. Writes the index fields (sign
// bit first where the codebook has one) and the innovation c.
template <int kDim, int kSize, bool kSigned, class V, class W>
inline void search_innovation(const speex::Codebook &book, const V *target, const Response<V> &response,
                              IntOf<V> *fields, V *innovation) {
  constexpr int kCount = kSubframe / kDim;
  constexpr int kTagBits = bits_for(kSize);
  alignas(64) V half_energy[kSize];
  codeword_energies<kDim, kSize, V, W>(book, response, half_energy);

  alignas(64) Paths<V> buffers[2];
  Paths<V> *now = &buffers[0];
  Paths<V> *next = &buffers[1];
  now->cost[0] = splat<V>(0.0f);
  for (int n = 0; n < kSubframe; ++n) {
    now->target[0][n] = target[n];
  }
  for (int s = 0; s < kCount; ++s) {
    const int parents = s == 0 ? 1 : kPaths;
    const bool last = s == kCount - 1;
    V b[kPaths][kDim];
    V spent[kPaths];
    for (int p = 0; p < parents; ++p) {
      const V *t = now->target[p] + s * kDim;
      V energy = splat<V>(0.0f);
      for (int i = 0; i < kDim; ++i) {
        energy += t[i] * t[i];
        V sum = splat<V>(0.0f);
        for (int n = i; n < kDim; ++n) {
          sum += t[n] * response.h[n - i];
        }
        b[p][i] = sum;
      }
      spent[p] = now->cost[p] + energy * splat<V>(0.5f);
    }
    // Of the last sub-vector a parent's best codeword is enough.
    V best[kPaths][kPaths];
    for (int p = 0; p < parents; ++p) {
      if (last) {
        V only[1];
        rank_codewords<kDim, kSize, kSigned, 1, V, W>(book, half_energy, b[p], only);
        best[p][0] = only[0];
      } else {
        rank_codewords<kDim, kSize, kSigned, kPaths, V, W>(book, half_energy, b[p], best[p]);
      }
    }
    Continuation<V> kept[kPaths];
    for (int p = 0; p < kPaths; ++p) {
      kept[p] = {splat<V>(1.0e38f), splat<IntOf<V>>(0), splat<IntOf<V>>(0)};
    }
    for (int p = 0; p < parents; ++p) {
      for (int r = 0; r < (last ? 1 : kPaths); ++r) {
        keep_best(kept, {spent[p] + best[p][r], tag_of(best[p][r], kTagBits), splat<IntOf<V>>(p)});
      }
    }
    for (int q = 0; q < (last ? 1 : kPaths); ++q) {
      const Parent<V> parent{kept[q].parent == splat<IntOf<V>>(1), kept[q].parent == splat<IntOf<V>>(2)};
      const ChosenRow<kSize, V> row(book.entries, kept[q].codeword);
      V c[kDim];
      for (int i = 0; i < kDim; ++i) {
        c[i] = row.at(i);
      }
      IntOf<V> field = kept[q].codeword;
      if constexpr (kSigned) {
        V product = splat<V>(0.0f);
        for (int i = 0; i < kDim; ++i) {
          product += c[i] * (s == 0 ? b[0][i] : parent.pick(b[0][i], b[1][i], b[2][i]));
        }
        const auto negative = product <= splat<V>(0.0f);
        field = select(negative, field | splat<IntOf<V>>(kSize), field);
        for (int i = 0; i < kDim; ++i) {
          c[i] = select(negative, splat<V>(0.0f) - c[i], c[i]);
        }
      }
      next->cost[q] = kept[q].cost;
      for (int i = 0; i < s; ++i) {
        next->index[q][i] = parent.pick(now->index[0][i], now->index[1][i], now->index[2][i]);
      }
      next->index[q][s] = field;
      // A few at a time, so that a value of the response is loaded once for all of them.
      constexpr int kBlock = kSame<V, W> ? (kDim % 5 == 0 ? 5 : 4) : 1;
      for (int j = (s + 1) * kDim; j < kSubframe; j += kBlock * kStep<V, W>) {
        W rest[kBlock];
#pragma GCC unroll 5
        for (int r = 0; r < kBlock; ++r) {
          if constexpr (kSame<V, W>) {
            rest[r] = s == 0
                          ? now->target[0][j + r]
                          : parent.pick(now->target[0][j + r], now->target[1][j + r], now->target[2][j + r]);
          } else {
            rest[r] = neighbours<V, W>(now->target[kept[q].parent.v] + j);
          }
        }
        const V *h = response.h + (j - s * kDim);
#pragma GCC unroll 20
        for (int m = 0; m < kDim; ++m) {
#pragma GCC unroll 5
          for (int r = 0; r < kBlock; ++r) {
            rest[r] -= against<V, W>(c[m]) * neighbours<V, W>(h + r - m);
          }
        }
#pragma GCC unroll 5
        for (int r = 0; r < kBlock; ++r) {
          put_neighbours<V, W>(next->target[q] + j + r, rest[r]);
        }
      }
    }
    Paths<V> *swap = now;
    now = next;
    next = swap;
  }
  for (int s = 0; s < kCount; ++s) {
    const IntOf<V> field = now->index[0][s];
    fields[s] = field;
    const ChosenRow<kSize, V> row(book.entries, field & splat<IntOf<V>>(kSize - 1));
    for (int i = 0; i < kDim; ++i) {
      const V c = row.at(i);
      innovation[s * kDim + i] =
          kSigned ? select(field > splat<IntOf<V>>(kSize - 1), splat<V>(0.0f) - c, c) : c;
    }
  }
}

}  // namespace callreplay::CR_ISA
