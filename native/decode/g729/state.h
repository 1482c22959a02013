// What a G.729 decoder remembers from frame to frame, for a group of N streams: rows of one int16 a lane, and
// the workspace of one frame.
#pragma once

#include <cstdint>

#include "decode/g729/lookup.h"
#include "decode/kernels.h"
#include "lanes/i32.h"

namespace callreplay::CR_ISA::g729 {

namespace tables = callreplay::g729;

constexpr int kFrame = 80, kSubframe = 40;
constexpr int kExcHistory = 154;
constexpr int kResHistory = 144;  // 143 are used; an even count loads in pairs

// Row numbers of State::word. Names as in the standard's text; the Q format of each is in the comment.
enum Row : int {
  kExc = 0,                   // Q0, oldest first
  kRes = kExc + kExcHistory,  // Q0, weighted residual of the post-filter, oldest first
  kSyn = kRes + kResHistory,  // Q0, last 10 samples before the post-filter: memory of 1/A, history of A(z/g2)
  kMemPst = kSyn + 10,        // Q0, memory of 1/A(z/g1)
  kLspOld = kMemPst + 10,     // Q15
  kLspSid = kLspOld + 10,     // Q15
  kPrevLsf = kLspSid + 10,    // Q13, LSF of the last speech frame
  kLsfMem = kPrevLsf + 10,    // Q13, 4 x 10, newest first
  kQe = kLsfMem + 40,         // Q10, 4, newest first
  kSharp = kQe + 4,           // Q14
  kOldT0,                     // samples
  kGainPitch,                 // Q14
  kGainCode,                  // Q1
  kPrevMode,                  // L0 of the last good speech frame
  kSeedFer,                   // generator of concealment
  kPastType,                  // 0 untransmitted, 1 speech, 2 SID
  kSeed,                      // generator of comfort noise
  kSidSav,                    // mantissa and ...
  kSidSh,                     // ... exponent of the last good frame's excitation energy
  kCurGain,                   // Q3
  kSidGainRow,                // Q3
  kMemPre,                    // Q0
  kPastGain,                  // Q12
  kHx1,
  kHx2,  // Q0
  kLspOldInBox,
  kLspSidInBox,  // 1: came from an LSF inside kLsfBox (or is an initial value)
  kRows
};

template <int N>
struct alignas(64) State {
  int16_t word[kRows][N];
  int32_t hy1[N], hy2[N];  // Q16, output high-pass
};

template <int N>
void reset_lane(State<N> &state, int lane) {
  for (auto &row : state.word) {
    row[lane] = 0;
  }
  for (int j = 0; j < 10; ++j) {
    state.word[kLspOld + j][lane] = tables::kLspInit[j];
    state.word[kLspSid + j][lane] = tables::kLspSidInit[j];
    state.word[kPrevLsf + j][lane] = tables::kLsfInit[j];
    for (int k = 0; k < 4; ++k) {
      state.word[kLsfMem + 10 * k + j][lane] = tables::kLsfInit[j];
    }
  }
  for (int k = 0; k < 4; ++k) {
    state.word[kQe + k][lane] = -14336;
  }
  state.word[kSharp][lane] = 3277;
  state.word[kOldT0][lane] = 60;
  state.word[kSeedFer][lane] = static_cast<int16_t>(kErasureSeed);
  state.word[kPastType][lane] = 1;
  state.word[kSeed][lane] = 11111;
  state.word[kSidSh][lane] = 1;
  state.word[kSidGainRow][lane] = tables::kSidGain[0];
  state.word[kPastGain][lane] = 4096;
  state.word[kLspOldInBox][lane] = 1;
  state.word[kLspSidInBox][lane] = 1;
  state.hy1[lane] = 0;
  state.hy2[lane] = 0;
}

// One lane as a stream of its own, the same for every N.
struct Stream {
  int16_t word[kRows];
  int32_t hy1, hy2;
};

template <int N>
void save_lane(const State<N> &state, int lane, Stream &stream) {
  for (int r = 0; r < kRows; ++r) {
    stream.word[r] = state.word[r][lane];
  }
  stream.hy1 = state.hy1[lane];
  stream.hy2 = state.hy2[lane];
}

template <int N>
void load_lane(State<N> &state, int lane, const Stream &stream) {
  for (int r = 0; r < kRows; ++r) {
    state.word[r][lane] = stream.word[r];
  }
  state.hy1[lane] = stream.hy1;
  state.hy2[lane] = stream.hy2;
}

template <int N>
void copy_lane(const State<N> &from, State<N> &to, int lane) {
  for (int r = 0; r < kRows; ++r) {
    to.word[r][lane] = from.word[r][lane];
  }
  to.hy1[lane] = from.hy1[lane];
  to.hy2[lane] = from.hy2[lane];
}

// One frame at work. Signals are rows of pairs, so that one multiply-add takes two taps: `exc` and `res` hold
// (x[n], x[n+1]) in row n, in both parities, because lags address them a lane at a time; `syn` holds
// (y[n], y[n-1]), what a predictor wants.
template <class V>
struct Work {
  static constexpr int kLanes = V::kLanes;
  using Mask = MaskOf<V>;

  V exc_rows[kExcHistory + kFrame];
  V res_rows[kResHistory + kFrame];
  V syn_rows[10 + kFrame];
  V noise[kFrame / 2];  // excitation of the lanes in comfort noise, even rows
  V a[2][11];           // Q12

  V *exc(int n) { return exc_rows + kExcHistory + n; }
  V *res(int n) { return res_rows + kResHistory + n; }
  V *syn(int n) { return syn_rows + 10 + n; }

  V words[3];  // the octets of the frame, first bit uppermost; 16 bits in the last
  V lag[2];
  Mask good, lost, noisy, sid;  // each lane is in one of the first three; sid is a part of noisy
  Mask ahead;                   // noise of the second subframe stands ready
  Mask received;                // not erased
  bool any_lost, any_noisy, any_speech;
};

template <class V>
CR_LANE const int32_t *as_table(const V *rows) {
  return reinterpret_cast<const int32_t *>(rows);
}

template <class V>
CR_LANE V row(const State<V::kLanes> &state, int r) {
  return load16<V>(state.word[r]);
}
template <class V>
CR_LANE void put(State<V::kLanes> &state, int r, V value) {
  store16(state.word[r], value);
}
template <class V>
CR_LANE void put(State<V::kLanes> &state, int r, V value, MaskOf<V> where) {
  store16(state.word[r], select(where, value, row<V>(state, r)));
}

// `count` bits of a word whose last bit is bit `shift`.
template <int shift, int count, class V>
CR_LANE V field(V word) {
  return shr<shift>(word) & splat<V>((1 << count) - 1);
}

}  // namespace callreplay::CR_ISA::g729
