// One frame of G.729 for every lane of a group: what each lane's frame is, and the order of the steps. The
// proofs that comments cite as G1 to G6 and N1 to N10 are in docs/g729.md.
#pragma once

#include "decode/g729/excitation.h"
#include "decode/g729/lsf.h"
#include "decode/g729/noise.h"
#include "decode/g729/postfilter.h"

namespace callreplay::CR_ISA::g729 {

CR_LANE uint32_t big_endian32(const uint8_t *o) {
  return static_cast<uint32_t>(o[0]) << 24 | static_cast<uint32_t>(o[1]) << 16 |
         static_cast<uint32_t>(o[2]) << 8 | o[3];
}

// Frames into words and masks. A frame that says it has octets but has none counts as lost; an idle lane runs
// as a speech frame of zeros, because its state is put back afterwards.
template <class V>
CR_LANE uint32_t read_frames(const State<V::kLanes> &state, const G729Frame *frames, Work<V> &work) {
  constexpr int kLanes = V::kLanes;
  alignas(64) int32_t words[3][kLanes];
  uint32_t idle = 0, good = 0, lost = 0, sid = 0, received = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    const G729Frame &frame = frames[lane];
    const uint32_t bit = uint32_t{1} << lane;
    const bool carries = frame.type == G729Frame::kSpeech || frame.type == G729Frame::kSid;
    const bool erased = frame.erased || (carries && frame.octets == nullptr);
    uint32_t w[3] = {};
    if (frame.type == G729Frame::kIdle) {
      idle |= bit;
      good |= bit;
    } else if (erased) {
      lost |= state.word[kPastType][lane] == G729Frame::kSpeech ? bit : 0;
    } else {
      received |= bit;
      if (frame.type == G729Frame::kSpeech) {
        good |= bit;
        w[0] = big_endian32(frame.octets);
        w[1] = big_endian32(frame.octets + 4);
        w[2] = static_cast<uint32_t>(frame.octets[8]) << 8 | frame.octets[9];
      } else if (frame.type == G729Frame::kSid) {
        sid |= bit;
        w[0] = static_cast<uint32_t>(frame.octets[0]) << 24 | static_cast<uint32_t>(frame.octets[1]) << 16;
      }
    }
    for (int i = 0; i < 3; ++i) {
      words[i][lane] = static_cast<int32_t>(w[i]);
    }
  }
  for (int i = 0; i < 3; ++i) {
    work.words[i] = load<V>(words[i]);
  }
  work.good = mask_of<V>(good);
  work.lost = mask_of<V>(lost);
  work.noisy = mask_of<V>(~(good | lost));
  work.sid = mask_of<V>(sid);
  work.ahead = mask_of<V>(0);
  work.received = mask_of<V>(received);
  work.any_lost = any(work.lost);
  work.any_noisy = any(work.noisy);
  work.any_speech = any(work.good | work.lost);
  return idle;
}

// Rows of one int16 a lane to rows of neighbours, in both parities; `count` is even.
template <class V>
CR_LANE void unpack_history(const int16_t (*words)[V::kLanes], int count, V *rows) {
  rows[0] = load_pairs<V>(words[0]);
  for (int n = 2; n < count; n += 2) {
    rows[n] = load_pairs<V>(words[n]);
    rows[n - 1] = between(rows[n - 2], rows[n]);
  }
  rows[count - 1] = swap(rows[count - 2]);
}

template <class V>
CR_LANE void pack_history(const V *rows, int count, int16_t (*words)[V::kLanes]) {
  for (int n = 0; n < count; n += 2) {
    store_pairs(words[n], rows[n]);
  }
}

// A stream alone: what each row begins with.
CR_LANE void unpack_history(const int16_t (*words)[1], int count, I32x1 *rows) {
  for (int n = 0; n + 1 < count; ++n) {
    rows[n] = I32x1::halves(words[n][0], words[n + 1][0]);
  }
  rows[count - 1] = swap(rows[count - 2]);
}

CR_LANE void pack_history(const I32x1 *rows, int count, int16_t (*words)[1]) {
  for (int n = 0; n < count; ++n) {
    words[n][0] = rows[n].low();
  }
}

template <class V>
CR_LANE void load_history(const State<V::kLanes> &state, Work<V> &work) {
  unpack_history(state.word + kExc, kExcHistory, work.exc(-kExcHistory));
  unpack_history(state.word + kRes, kResHistory, work.res(-kResHistory));
  V last = splat<V>(0);
  for (int n = -10; n < 0; ++n) {
    const V sample = row<V>(state, kSyn + 10 + n);
    *work.syn(n) = cross(shl<16>(last), sample);
    last = sample;
  }
}

template <class V>
CR_LANE void store_history(State<V::kLanes> &state, Work<V> &work) {
  pack_history(work.exc(kFrame - kExcHistory), kExcHistory, state.word + kExc);
  pack_history(work.res(kFrame - kResHistory), kResHistory, state.word + kRes);
  for (int n = 0; n < 10; ++n) {
    put(state, kSyn + n, *work.syn(kFrame - 10 + n));
  }
}

// The energy of the frame's excitation, from which a first untransmitted frame would guess
// its level (B.4.1.2).
template <class V>
CR_LANE V half_energy(Work<V> &work) {
  const V limit = splat<V>(1 << 30);
  V half = splat<V>(0);
  for (int n = 0; n < kFrame; n += 2) {
    const V both = *work.exc(n);
    half = umin(half + madd(both, both), limit);
  }
  return half;
}

CR_LANE I32x1 half_energy(Work<I32x1> &work) {
  uint64_t sum = 0;
  for (int n = 0; n < kFrame; ++n) {
    const int32_t sample = work.exc(n)->low();
    sum += static_cast<uint32_t>(sample * sample);
  }
  return {static_cast<int32_t>(sum < 1u << 30 ? sum : 1u << 30)};
}

template <class V>
CR_LANE void remember_energy(State<V::kLanes> &state, Work<V> &work) {
  const V energy = doubled_energy(half_energy(work));
  const V h = norm(energy);
  put(state, kSidSav, mantissa(energy, h), work.received);
  put(state, kSidSh, splat<V>(16) - h, work.received);
}

// Synthesis and post-filter of both subframes, with independent recursions run together.
template <class V>
__attribute__((noinline)) void first_synthesis(State<V::kLanes> &state, Work<V> &work,
                                               const Predictor<V> *p) {
  auto synthesis = synthesis_of(p[0], work, 0);
  run_together(kSubframe, synthesis);
  check_synthesis(state, work, p[0], 0, synthesis.widest_output());
}

template <class V>
__attribute__((noinline)) void second_synthesis(State<V::kLanes> &state, Work<V> &work, const Predictor<V> *p,
                                                PostFilter<V> &post) {
  auto synthesis = synthesis_of(p[1], work, 1);
  auto filter = short_term(post, 0);
  run_together(kSubframe, synthesis, filter);
  check_synthesis(state, work, p[1], 1, synthesis.widest_output());
  check_short_term(post, 0, filter.widest_output());
}

template <class V>
__attribute__((noinline)) void last_steps(State<V::kLanes> &state, Work<V> &work, PostFilter<V> &post,
                                          V *pcm) {
  const GainControl<V> control0 = gain_control(state, work.syn(0), post.p(0));
  GainAndHighPass<V> output0(state, control0, post.p(0), post.x(0), pcm);
  auto filter = short_term(post, 1);
  run_together(kSubframe, filter, output0);
  output0.finish(state, control0);
  check_short_term(post, 1, filter.widest_output());

  const GainControl<V> control1 = gain_control(state, work.syn(kSubframe), post.p(kSubframe));
  GainAndHighPass<V> output1(state, control1, post.p(kSubframe), post.x(kSubframe), pcm + kSubframe / 2);
  run_together(kSubframe, output1);
  output1.finish(state, control1);
}

template <class V>
CR_LANE void decode_rows(State<V::kLanes> &state, Work<V> &work, V *pcm) {
  load_history(state, work);
  decode_filters(state, work);
  put(state, kSeed, splat<V>(11111), work.good | work.lost);
  if (work.any_noisy) {
    noise_gain(state, work);
  }
  Predictor<V> predictors[2];
  predictor(work.a[0], predictors[0]);
  predictor(work.a[1], predictors[1]);
  PostFilter<V> post;
  load_post_filter(state, work, post);

  excite(state, work, 0);
  first_synthesis(state, work, predictors);
  excite(state, work, 1);
  prepare_short_term(state, work, post, 0);
  second_synthesis(state, work, predictors, post);
  put(state, kSharp, splat<V>(3277), work.noisy);
  remember_energy(state, work);
  prepare_short_term(state, work, post, 1);
  last_steps(state, work, post, pcm);

  store_post_filter(state, post);
  store_history(state, work);
  const V past = select(work.good | work.lost, splat<V>(G729Frame::kSpeech),
                        select(work.sid, splat<V>(G729Frame::kSid), splat<V>(G729Frame::kUntransmitted)));
  put(state, kPastType, past);
}

template <class V>
void decode_group(State<V::kLanes> &state, const G729Frame *frames, int16_t *const *pcm) {
  constexpr int kLanes = V::kLanes;
  Work<V> work;
  const uint32_t idle = read_frames(state, frames, work);
  int16_t unheard[kFrame];
  int16_t *to[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    to[lane] = (idle >> lane) & 1 ? unheard : pcm[lane];
  }
  V rows[kFrame / 2];
  if (idle == 0) {
    decode_rows(state, work, rows);
  } else if (idle == (uint32_t{1} << kLanes) - 1) {
    return;
  } else {
    const State<kLanes> before = state;
    decode_rows(state, work, rows);
    for (int lane = 0; lane < kLanes; ++lane) {
      if ((idle >> lane) & 1) {
        copy_lane(before, state, lane);
      }
    }
  }
  for (int i = 0; i < kFrame / 2; i += 4) {
    store_eights(to, 2 * i, rows + i);
  }
}

}  // namespace callreplay::CR_ISA::g729
