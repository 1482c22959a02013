// Sub-modes: what a frame of each holds, and which of them a quality setting means.
#pragma once

#include "encode/speex/tables.h"

namespace callreplay::speex {

inline constexpr int kNarrowbandFrame = 160;  // samples, 20 ms
inline constexpr int kWidebandFrame = 320;
inline constexpr int kSilence = 0;  // sub-mode without parameters
inline constexpr int kNoise = 1;    // vocoder: the decoder invents the excitation

enum class LongTerm {
  kNone,
  kSingleTap,    // lag and gain once a frame
  kFrameLag,     // lag once a frame, three taps a sub-frame
  kSubframeLag,  // lag and three taps a sub-frame
};

struct NarrowbandMode {
  bool fine_lsp;  // 30 bits in five stages, else 18 in three
  LongTerm long_term;
  const GainTable *gains;
  int pitch_gain_bits;
  int subgain_bits;
  const Codebook *book;  // null: no innovation is sent
  bool twice;            // the innovation is coded in two passes
  int bits;              // of a whole frame
};

struct HighbandMode {
  bool folding;          // the decoder mirrors the low band's innovation
  const Codebook *book;  // null: folding, or nothing
  bool twice;
  int bits;
};

inline constexpr int kNarrowbandModes = 9;
inline constexpr int kHighbandModes = 5;
extern const NarrowbandMode kNarrowband[kNarrowbandModes];
extern const HighbandMode kHighband[kHighbandModes];

// Sub-modes that libspeex means by quality 0..10.
extern const int kQualityNarrowband[11], kQualityLowBand[11], kQualityHighBand[11];

// The open-loop pitch is computed for sub-modes that send it, and for 3 and 4, whose frame gain follows it.
constexpr bool needs_open_loop(int mode) {
  return mode >= 1 && mode != 5 && mode != 6 && mode != 7;
}

}  // namespace callreplay::speex
