// Compiled once per instruction set, so free of anything that the linker would merge: no std, no doctest.
#include "lanes/probe.h"

#include <cstring>

#include "lanes/f32.h"
#include "lanes/i16.h"
#include "lanes/i32.h"
#include "lanes/transpose.h"

namespace callreplay::CR_ISA {
namespace {

constexpr int kRounds = 100;
constexpr int kMost = 32;  // lanes

// splitmix64; every fourth value is one at which arithmetic turns over.
struct Source {
  uint64_t state = 20260000;
  uint64_t next() {
    uint64_t z = (state += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }
  template <class T>
  T integer() {
    constexpr uint64_t kTop = uint64_t{1} << (8 * sizeof(T) - 1);
    const uint64_t edges[] = {0, 1, ~uint64_t{0}, kTop, kTop - 1, kTop + 1, kTop >> 1, 0x80007FFF};
    const uint64_t random = next();
    return static_cast<T>((random & 3) == 0 ? edges[(random >> 8) & 7] : random >> 20);
  }
  void fill(int16_t *to) {
    for (int i = 0; i < kMost; ++i) to[i] = integer<int16_t>();
  }
  void fill(int32_t *to) {
    for (int i = 0; i < kMost; ++i) to[i] = integer<int32_t>();
  }
  // Zeros of both signs, denormals, infinities, and what audio holds.
  void fill(float *to) {
    const float edges[] = {0.0f, -0.0f, 1e-40f, -1e-40f, 3e38f, -3e38f, __builtin_inff(), -__builtin_inff()};
    for (int i = 0; i < kMost; ++i) {
      const uint64_t random = next();
      to[i] = (random & 7) == 0 ? edges[(random >> 8) & 7]
                                : static_cast<float>(static_cast<int32_t>(random >> 32)) * 0x1p-15f;
    }
  }
};

bool same_bits(const void *a, const void *b, size_t size) {
  return std::memcmp(a, b, size) == 0;
}

// Lanes, or the mask of a comparison, as 32 bits a lane.
template <class R>
void spread(R r, int32_t *to) {
  typename R::Element values[R::kLanes];
  store(values, r);
  for (int i = 0; i < R::kLanes; ++i) {
    to[i] = 0;
    std::memcpy(to + i, values + i, sizeof values[0]);
  }
}
template <int N>
void spread(Mask32<N> m, int32_t *to) {
  for (int i = 0; i < N; ++i) to[i] = static_cast<int32_t>((bits(m) >> i) & 1);
}

// `operation` of up to three values, over V and over one lane after the other. `tame` brings the arguments into the
// range that the operation has.
template <class V, class Operation, class Tame>
void probe(LaneReport report, void *context, const char *name, Operation operation, Tame tame) {
  using T = typename V::Element;
  using Law = Lanes<T, 1>;
  Source source;
  bool same = true;
  for (int round = 0; round < kRounds; ++round) {
    T a[kMost], b[kMost], c[kMost];
    source.fill(a);
    source.fill(b);
    source.fill(c);
    for (int i = 0; i < kMost; ++i) tame(a[i], b[i], c[i]);
    int32_t got[kMost], law[1];
    spread(operation(load<V>(a), load<V>(b), load<V>(c)), got);
    for (int i = 0; i < V::kLanes; ++i) {
      spread(operation(load<Law>(a + i), load<Law>(b + i), load<Law>(c + i)), law);
      same = same && got[i] == law[0];
    }
  }
  report(context, name, same);
}

#define ANY [](auto &, auto &, auto &) {}
#define PROBE(V, expression, tame)         \
  probe<V>(                                \
      report, context, #V " " #expression, \
      [](auto a, auto b, auto c) { return (void)a, (void)b, (void)c, expression; }, tame)

void probe_i16(LaneReport report, void *context) {
  const auto not_both_lowest = [](auto &a, auto &b, auto &) { a = a == -32768 && b == -32768 ? 1 : a; };
  PROBE(I16, a + b, ANY);
  PROBE(I16, a - b, ANY);
  PROBE(I16, a * b, ANY);
  PROBE(I16, a & b, ANY);
  PROBE(I16, a | b, ANY);
  PROBE(I16, a ^ b, ANY);
  PROBE(I16, a > b, ANY);
  PROBE(I16, a < b, ANY);
  PROBE(I16, sadd(a, b), ANY);
  PROBE(I16, ssub(a, b), ANY);
  PROBE(I16, mulhi(a, b), ANY);
  PROBE(I16, mul15(a, b), not_both_lowest);
  PROBE(I16, min(a, b), ANY);
  PROBE(I16, max(a, b), ANY);
  PROBE(I16, clamp(a, -12288, 12288), ANY);
  PROBE(I16, clamp(a, min(b, c), max(b, c)), ANY);
  PROBE(I16, sign(a), ANY);
  PROBE(I16, negate_if(a, sign(b)), ANY);
  PROBE(I16, select(a > b, b, c), ANY);
  PROBE(I16, times_sign(a, sign_factor(b)), ANY);
  PROBE(I16, step_towards(a, 128), ANY);
  PROBE(I16, shl<1>(a), ANY);
  PROBE(I16, shl<7>(a), ANY);
  PROBE(I16, shr<4>(a), ANY);
  PROBE(I16, shr<15>(a), ANY);
  PROBE(I16, sar<2>(a), ANY);
  PROBE(I16, sar<15>(a), ANY);
  PROBE(I16, shl_each(a, b), [](auto &, auto &b, auto &) { b &= 7; });
  PROBE(I16, log2_q4(a), [](auto &a, auto &, auto &) { a = (a & 32767) == 0 ? 1 : a & 32767; });
}

template <int K>
void probe_lut(LaneReport report, void *context, const char *name) {
  Source source;
  int16_t table[K], index[kMost], got[kMost];
  for (int16_t &entry : table) entry = source.integer<int16_t>();
  bool same = true;
  const Lut<kWidth16, K> lut(table);
  for (int round = 0; round < kRounds; ++round) {
    for (int16_t &each : index) each = static_cast<int16_t>(source.next() % K);
    store(got, lut(load<I16>(index)));
    for (int i = 0; i < kWidth16; ++i) same = same && got[i] == table[index[i]];
  }
  report(context, name, same);
}

void probe_i16_memory(LaneReport report, void *context) {
  Source source;
  bool octets_in = true, octets_out = true, any_set = true, sums = true, squares = true;
  for (int round = 0; round < kRounds; ++round) {
    int16_t a[kMost], b[kMost], got[kMost];
    source.fill(a);
    source.fill(b);
    uint8_t octets[kMost], out[kMost];
    for (uint8_t &each : octets) each = static_cast<uint8_t>(source.next());
    store(got, load_octets<I16>(octets));
    store_octets(out, load<I16>(a));
    for (int i = 0; i < kWidth16; ++i) {
      octets_in = octets_in && got[i] == octets[i];
      octets_out = octets_out && out[i] == static_cast<uint8_t>(a[i]);
    }
    int16_t mask[kMost] = {};
    any_set = any_set && !any(load<I16>(mask));
    mask[source.next() % kWidth16] = -1;
    any_set = any_set && any(load<I16>(mask));

    Wide<kWidth16> acc;
    clear(acc);
    int64_t want[kMost] = {};
    for (int tap = 0; tap < 3; ++tap) {
      const auto c0 = static_cast<int16_t>(source.integer<int16_t>() >> 3),
                 c1 = static_cast<int16_t>(c0 / 2 + tap);
      mac(acc, pairs(load<I16>(a), load<I16>(b)), c0, c1);
      for (int i = 0; i < kWidth16; ++i) want[i] += a[i] * c0 + b[i] * c1;
    }
    store(got, narrow<11>(acc));
    for (int i = 0; i < kWidth16; ++i) {
      const int64_t shifted = want[i] >> 11;
      sums = sums && got[i] == (shifted > 32767 ? 32767 : shifted < -32768 ? -32768 : shifted);
    }
    Squares<kWidth16> squared;
    clear(squared);
    for (int16_t &each : b) each = source.next() % 4 == 0 ? INT16_MIN : each;
    for (int times = 0; times < 3; ++times) add_squares(squared, load<I16>(b));
    uint32_t of_even[kMost], of_odd[kMost];
    store_squares(of_even, of_odd, squared);
    for (int i = 0; i < kWidth16; ++i) {
      squares = squares &&
                (i % 2 == 0 ? of_even : of_odd)[i / 2] == uint32_t{3} * static_cast<uint32_t>(b[i] * b[i]);
    }
  }
  report(context, "I16 load_octets", octets_in);
  report(context, "I16 store_octets", octets_out);
  report(context, "I16 any", any_set);
  report(context, "I16 pairs, mac, narrow", sums);
  report(context, "I16 add_squares, store_squares", squares);
  probe_lut<16>(report, context, "I16 Lut of 16");
  probe_lut<32>(report, context, "I16 Lut of 32");
  probe_lut<64>(report, context, "I16 Lut of 64");
#if defined(CR_AVX512)
  probe_lut<128>(report, context, "I16 Lut of 128");
#endif
}

#if CR_BASE_UNIT
void probe_eight(LaneReport report, void *context) {
  Source source;
  using V = Lanes<int16_t, 8>;
  bool sums = true, interleaved = true, two = true;
  for (int round = 0; round < kRounds; ++round) {
    int16_t a[kMost], b[kMost], got[kMost];
    source.fill(a);
    source.fill(b);
    int32_t total = 0;
    for (int i = 0; i < 8; ++i) total += a[i];
    sums = sums && sum(load<V>(a)) == total;
    store_interleaved(got, load<V>(a), load<V>(b));
    for (int i = 0; i < 8; ++i) interleaved = interleaved && got[2 * i] == a[i] && got[2 * i + 1] == b[i];
    const V pair = load_two<V>(a[0], a[1]);
    store(got, pair);
    two = two && got[0] == a[0] && got[1] == a[1] && got[2] == 0 && got[7] == 0;
    store_two(got, got + 1, pair);
    two = two && got[0] == a[0] && got[1] == a[1];
  }
  report(context, "int16 x 8 sum", sums);
  report(context, "int16 x 8 store_interleaved", interleaved);
  report(context, "int16 x 8 load_two, store_two", two);
}
#endif

void probe_transpose(LaneReport report, void *context) {
  Source source;
  constexpr int N = kWidth16;
  uint8_t octets[N][24], rows[16 * N];
  const uint8_t *from[N];
  int16_t samples[8][N], streams[N][16] = {};
  int16_t *to[N];
  for (int lane = 0; lane < N; ++lane) {
    for (uint8_t &each : octets[lane]) each = static_cast<uint8_t>(source.next());
    from[lane] = octets[lane];
    to[lane] = streams[lane];
  }
  gather_octets<N>(from, 5, rows);
  bool same = true;
  for (int t = 0; t < 16; ++t) {
    for (int lane = 0; lane < N; ++lane) same = same && rows[t * N + lane] == octets[lane][5 + t];
  }
  report(context, "gather_octets", same);
  Lanes<int16_t, N> x[8];
  for (int t = 0; t < 8; ++t) {
    for (int16_t &each : samples[t]) each = source.integer<int16_t>();
    x[t] = load<Lanes<int16_t, N>>(samples[t]);
  }
  scatter_samples<N>(x, to, 3);
  same = true;
  for (int lane = 0; lane < N; ++lane) {
    for (int t = 0; t < 8; ++t) same = same && streams[lane][3 + t] == samples[t][lane];
    same = same && streams[lane][2] == 0 && streams[lane][11] == 0;
  }
  report(context, "scatter_samples", same);

  constexpr int kFloats = kWidth32, kCount = 48;
  int16_t pcm[kFloats][kCount + 1];
  const int16_t *sources[kFloats];
  for (int lane = 0; lane < kFloats; ++lane) {
    for (int16_t &each : pcm[lane]) each = source.integer<int16_t>();
    sources[lane] = pcm[lane] + 1;
  }
  F32 taken[kCount];
  gather_samples(sources, kCount, taken);
  same = true;
  for (int t = 0; t < kCount; ++t) {
    float got[kFloats];
    store(got, taken[t]);
    for (int lane = 0; lane < kFloats; ++lane) same = same && got[lane] == pcm[lane][t + 1];
  }
  report(context, "gather_samples", same);
}

void probe_i32(LaneReport report, void *context) {
  // No half of -32768 twice, and none at all.
  const auto halves = [](auto &a, auto &b, auto &) {
    a = (a & 0xFFFF) == 0x8000 && (b & 0xFFFF) == 0x8000 ? a + 1 : a;
    a = (a >> 16) == -32768 && (b >> 16) == -32768 ? a ^ 0x10000 : a;
  };
  const auto no_lowest = [](auto &a, auto &b, auto &) {
    a = (a & 0xFFFF) == 0x8000 ? a + 1 : a;
    a = (a >> 16) == -32768 ? a ^ 0x10000 : a;
    b = (b & 0xFFFF) == 0x8000 ? b + 1 : b;
    b = (b >> 16) == -32768 ? b ^ 0x10000 : b;
  };
  const auto words = [](auto &a, auto &b, auto &) {
    a = static_cast<int16_t>(a);
    b = static_cast<int16_t>(b);
  };
  PROBE(I32, a + b, ANY);
  PROBE(I32, a - b, ANY);
  PROBE(I32, a * b, ANY);
  PROBE(I32, a & b, ANY);
  PROBE(I32, a | b, ANY);
  PROBE(I32, a ^ b, ANY);
  PROBE(I32, a > b, ANY);
  PROBE(I32, a < b, ANY);
  PROBE(I32, a == b, [](auto &a, auto &b, auto &c) { b = (c & 1) ? a : b; });
  PROBE(I32, (a > b) & (b > c), ANY);
  PROBE(I32, (a > b) | !(b > c), ANY);
  PROBE(I32, select(a > b, b, c), ANY);
  PROBE(I32, min(a, b), ANY);
  PROBE(I32, max(a, b), ANY);
  PROBE(I32, umin(a, b), ANY);
  PROBE(I32, umax(a, b), ANY);
  PROBE(I32, filled(a > b), ANY);
  PROBE(I32, abs(a), ANY);
  PROBE(I32, clamp(a, -12345, 67890), ANY);
  PROBE(I32, clamp16(a), ANY);
  PROBE(I32, shl<5>(a), ANY);
  PROBE(I32, shr<31>(a), ANY);
  PROBE(I32, sar<16>(a), ANY);
  PROBE(I32, shl_each(a, b), [](auto &, auto &b, auto &) { b &= 31; });
  PROBE(I32, sar_each(a, b), [](auto &, auto &b, auto &) { b &= 31; });
  PROBE(I32, norm(a), [](auto &a, auto &, auto &) { a = (a & INT32_MAX) == 0 ? 1 : a & INT32_MAX; });
  PROBE(I32, div15(a, b), [](auto &a, auto &b, auto &) {
    b = (b & 32767) == 0 ? 1 : b & 32767;
    a = (a & 7) == 0 ? b : (a & 32767) % (b + 1);
  });
  PROBE(I32, madd(a, b), ANY);
  PROBE(I32, low(a), ANY);
  PROBE(I32, high(a), ANY);
  PROBE(I32, swap(a), ANY);
  PROBE(I32, cross(a, b), ANY);
  PROBE(I32, pair_low(a, b), ANY);
  PROBE(I32, between(a, b), ANY);
  PROBE(I32, both(a), ANY);
  PROBE(I32, pair(sat(a), sat(b)), ANY);
  PROBE(I32, sar16<3>(a), ANY);
  PROBE(I32, add16(a, b), ANY);
  PROBE(I32, sub16(a, b), ANY);
  PROBE(I32, mullo16(a, b), ANY);
  PROBE(I32, adds16(a, b), ANY);
  PROBE(I32, subs16(a, b), ANY);
  PROBE(I32, mul15_16(a, b), halves);
  PROBE(I32, mulr16(a, b), halves);
  PROBE(I32, peak(widest(widest(a ^ a, a), b)), no_lowest);
  PROBE(I32, mul16(a, b), words);
  PROBE(I32, lmul(a, b), words);
  PROBE(I32, lmac(c, a, b), words);
  PROBE(I32, lmsu(c, a, b), words);
  PROBE(I32, sadd(a, b), ANY);
  PROBE(I32, ssub(a, b), ANY);
}

template <int n>
bool looks_up(Source &source) {
  int32_t table[n], index[kMost], got[kMost];
  for (int32_t &entry : table) entry = source.integer<int32_t>();
  for (int32_t &each : index) each = static_cast<int32_t>(source.next() % n);
  store(got, look_up(table, load<I32>(index)));
  bool same = true;
  for (int i = 0; i < kWidth32; ++i) same = same && got[i] == table[index[i]];
  return same;
}

void probe_i32_memory(LaneReport report, void *context) {
  Source source;
  constexpr int N = kWidth32;
  bool words = true, rows = true, masks = true, gathers = true, looked_up = true, of_rows = true,
       eights = true, numbers = true, sums = true;
  for (int round = 0; round < kRounds; ++round) {
    int16_t two[2 * kMost], got16[2 * kMost];
    int32_t a[kMost], got[kMost];
    source.fill(two);
    source.fill(two + kMost);
    source.fill(a);
    store(got, load16<I32>(two));
    store16(got16, load<I32>(a));
    for (int i = 0; i < N; ++i) words = words && got[i] == two[i] && got16[i] == static_cast<int16_t>(a[i]);
    store(got, load_pairs<I32>(two));
    store_pairs(got16, load<I32>(a));
    for (int i = 0; i < N; ++i) {
      rows = rows && got[i] == I32x1::halves(two[i], two[N + i]).v && got16[i] == I32x1{a[i]}.low() &&
             got16[N + i] == I32x1{a[i]}.high();
    }
    store_halves(got16, load<I32>(a));
    for (int i = 0; i < N; ++i) {
      rows = rows && got16[2 * i] == I32x1{a[i]}.low() && got16[2 * i + 1] == I32x1{a[i]}.high();
    }
    const uint32_t all_set = N == 32 ? ~0u : (1u << N) - 1;
    const uint32_t some = static_cast<uint32_t>(source.next()) & all_set;
    const auto mask = mask_of<I32>(some);
    masks = masks && bits(mask) == some && any(mask) == (some != 0) && all(mask) == (some == all_set) &&
            all(mask_of<I32>(all_set)) && !any(mask_of<I32>(0));
    int32_t table[64], index[kMost];
    for (int32_t &entry : table) entry = source.integer<int32_t>();
    for (int32_t &each : index) each = static_cast<int32_t>(source.next() % 64);
    store(got, gather(table, load<I32>(index)));
    for (int i = 0; i < N; ++i) gathers = gathers && got[i] == table[index[i]];
    looked_up = looked_up && looks_up<8>(source) && looks_up<16>(source) && looks_up<32>(source) &&
                looks_up<48>(source) && looks_up<64>(source);
    for (int32_t &each : index) each = static_cast<int32_t>(source.next() % 61);
    const RowsOf<I32> each_own(table, load<I32>(index));
    for (int column = 0; column < 4; ++column) {
      store(got, each_own.at(column));
      for (int i = 0; i < N; ++i) of_rows = of_rows && got[i] == table[index[i] + column];
    }
    store(got, iota<I32>());
    for (int i = 0; i < N; ++i) numbers = numbers && got[i] == i;

    int32_t terms[kMost], ends[kMost];
    source.fill(terms);
    const I32 running = running_sum(load<I32>(terms));
    store(got, running);
    store(ends, last_lane(running));
    uint32_t so_far = 0;
    for (int i = 0; i < N; ++i) {
      so_far += static_cast<uint32_t>(terms[i]);
      sums = sums && got[i] == static_cast<int32_t>(so_far) && ends[i] == got[N - 1];
    }

    int32_t four[4][kMost];
    I32 pairs[4];
    for (int i = 0; i < 4; ++i) {
      source.fill(four[i]);
      pairs[i] = load<I32>(four[i]);
    }
    int16_t streams[N][16] = {};
    int16_t *to[N];
    for (int lane = 0; lane < N; ++lane) to[lane] = streams[lane];
    store_eights(to, 3, pairs);
    for (int lane = 0; lane < N; ++lane) {
      for (int i = 0; i < 4; ++i) {
        eights = eights && streams[lane][3 + 2 * i] == I32x1{four[i][lane]}.low() &&
                 streams[lane][4 + 2 * i] == I32x1{four[i][lane]}.high();
      }
      eights = eights && streams[lane][2] == 0 && streams[lane][11] == 0;
    }
  }
  report(context, "I32 load16, store16", words);
  report(context, "I32 load_pairs, store_pairs, store_halves", rows);
  report(context, "I32 mask_of, bits, any, all", masks);
  report(context, "I32 gather", gathers);
  report(context, "I32 look_up", looked_up);
  report(context, "I32 RowsOf", of_rows);
  report(context, "I32 iota", numbers);
  report(context, "I32 running_sum, last_lane", sums);
  report(context, "I32 store_eights", eights);
}

#if defined(CR_SSE2) || defined(CR_NEON)
void probe_four(LaneReport report, void *context) {
  Source source;
  bool made = true, risen = true;
  for (int round = 0; round < kRounds; ++round) {
    int32_t a[kMost], got[kMost];
    source.fill(a);
    const I32 lanes = four(a[0], a[1], a[2], a[3]);
    store(got, lanes);
    for (int i = 0; i < 4; ++i) made = made && got[i] == a[i];
    made = made && lane<0>(lanes) == a[0] && lane<1>(lanes) == a[1] && lane<2>(lanes) == a[2] &&
           lane<3>(lanes) == a[3];
    store(got, rise<1>(lanes));
    risen = risen && got[0] == 0 && got[1] == a[0] && got[2] == a[1] && got[3] == a[2];
    store(got, rise<3>(lanes));
    risen = risen && got[0] == 0 && got[1] == 0 && got[2] == 0 && got[3] == a[0];
  }
  report(context, "int32 x 4 four, lane", made);
  report(context, "int32 x 4 rise", risen);
}
#endif

void probe_f32(LaneReport report, void *context) {
  const auto equal = [](auto &a, auto &b, auto &c) { b = c > 0 ? a : b; };
  const auto nan = [](auto &a, auto &b, auto &c) {
    (c > 0 ? a : b) = c > 1e4f || c < -1e4f ? __builtin_nanf("") : (c > 0 ? a : b);
  };
  const auto whole = [](auto &a, auto &, auto &) { a = a > 2e9f || a < -2e9f ? 0.5f : a; };
  PROBE(F32, a + b, ANY);
  PROBE(F32, a - b, ANY);
  PROBE(F32, a * b, ANY);
  PROBE(F32, a / b, ANY);
  PROBE(F32, -a, ANY);
  PROBE(F32, a < b, nan);
  PROBE(F32, a <= b, equal);
  PROBE(F32, a > b, nan);
  PROBE(F32, a >= b, equal);
  PROBE(F32, min(a, b), nan);
  PROBE(F32, max(a, b), nan);
  PROBE(F32, min(a, b), ANY);
  PROBE(F32, max(a, b), ANY);
  PROBE(F32, abs(a), ANY);
  PROBE(F32, sqrt(a), [](auto &a, auto &, auto &) { a = a < 0 ? -a : a; });
  PROBE(F32, select(a < b, b, c), ANY);
  PROBE(F32, bits_of(a), ANY);
  PROBE(F32, float_of_bits(bits_of(a)), ANY);
  PROBE(F32, truncate(a), whole);
  PROBE(F32, to_float(truncate(a)), whole);
  PROBE(F32, to_float(bits_of(a)), ANY);
  PROBE(F32, pack_tag(a, 7, bits_of(b) & splat<decltype(bits_of(b))>(127)), ANY);
  PROBE(F32, tag_of(a, 7), ANY);
  PROBE(F32, the_other(a, b, min(a, b)), [](auto &a, auto &b, auto &) { a = a == b ? b : a; });

  Source source;
  constexpr int N = kWidth32;
  float table[64], got[kMost], entries[256];
  int32_t index[kMost];
  F32 history[64];
  float rows[64][kMost];
  bool shared = true, own = true, of_rows = true, looked_up = true;
  for (int i = 0; i < 256; ++i) entries[i] = static_cast<float>(i);
  const auto look = [&]<int kSize>() {
    for (int32_t &each : index) each = static_cast<int32_t>(source.next() % kSize);
    store(got, look_up<kSize, F32>(entries, load<I32>(index)));
    for (int i = 0; i < N; ++i) looked_up = looked_up && got[i] == entries[index[i]];
  };
  source.fill(table);
  source.fill(table + kMost);
  for (int row = 0; row < 64; ++row) {
    source.fill(rows[row]);
    history[row] = load<F32>(rows[row]);
  }
  for (int round = 0; round < kRounds; ++round) {
    look.template operator()<16>();
    look.template operator()<32>();
    look.template operator()<64>();
    look.template operator()<128>();
    look.template operator()<256>();
    for (int32_t &each : index) each = static_cast<int32_t>(source.next() % 64);
    store(got, gather(table, load<I32>(index)));
    for (int i = 0; i < N; ++i) shared = shared && same_bits(got + i, table + index[i], sizeof(float));
    store(got, gather_own(history, load<I32>(index)));
    for (int i = 0; i < N; ++i) own = own && same_bits(got + i, rows[index[i]] + i, sizeof(float));
    for (int32_t &each : index) each = static_cast<int32_t>(source.next() % 61);
    const RowsOf<F32> each_own(table, load<I32>(index));
    for (int column = 0; column < 4; ++column) {
      store(got, each_own.at(column));
      for (int i = 0; i < N; ++i) {
        of_rows = of_rows && same_bits(got + i, table + index[i] + column, sizeof(float));
      }
    }
  }
#if defined(CR_AVX512)
  store(got, follow<5>(load<F32>(table), load<F32>(table + F32::kLanes)));
  report(context, "F32 follow", same_bits(got, table + 5, F32::kLanes * sizeof(float)));
  got[0] = first_lane(load<F32>(table + 3));
  report(context, "F32 first_lane", same_bits(got, table + 3, sizeof(float)));
#endif
  report(context, "F32 gather", shared);
  report(context, "F32 gather_own", own);
  report(context, "F32 RowsOf", of_rows);
  report(context, "F32 look_up", looked_up);
}

void run(LaneReport report, void *context) {
  probe_i16(report, context);
  probe_i16_memory(report, context);
#if CR_BASE_UNIT
  probe_eight(report, context);
#endif
  probe_transpose(report, context);
  probe_i32(report, context);
  probe_i32_memory(report, context);
#if defined(CR_SSE2) || defined(CR_NEON)
  probe_four(report, context);
#endif
  probe_f32(report, context);
}

constexpr LaneProbe of(cr_isa isa) {
  return {isa, kWidth16, kWidth32, run};
}

}  // namespace

CR_DEFINE_KERNELS(LaneProbe, lane_probe, of, of)

}  // namespace callreplay::CR_ISA
