// The constants of the Speex bitstream (the decoder dictates them) and the forms of them that a search wants.
#pragma once

#include <cstdint>

namespace callreplay::speex {

// A set of vectors to search. `rows` holds [size][width], what a lane per stream broadcasts; `columns` holds
// the same values as [width][size], what one stream reads when it tries neighbouring entries at once.
struct SearchTable {
  int size;
  int width;
  const float *rows;
  const float *columns;
};

// Innovation codebook, already scaled by 1/32. `products` row k holds c_i c_l for 0 <= i <= l <
// dimension, halved where i == l: its dot product with the autocorrelation of a response is half the
// energy of the filtered codeword.
struct Codebook {
  SearchTable entries;
  SearchTable products;
  bool is_signed;
};

// Three-tap pitch gains. A row of `terms`: -t0, -t1, -t2, t0 t1, t1 t2, t0 t2, 0.52 t0^2, 0.52 t1^2, 0.52
// t2^2, and 1 where the sum of |taps| is above 31/32 (the stability limit), else 0.
inline constexpr int kGainTerms = 10;
struct GainTable {
  SearchTable terms;
  const float *taps;    // [size][3]
  const float *growth;  // [size]: sum of |taps| in 1/32
};

extern const SearchTable kLspNb, kLspNbLow1, kLspNbLow2, kLspNbHigh1, kLspNbHigh2, kLspHigh1, kLspHigh2;
extern const GainTable kGain3Nb, kGain3Lbr;
extern const Codebook kInnov5x64, kInnov5x256, kInnov8x128, kInnov10x16, kInnov10x32, kInnov20x32;
extern const Codebook kInnovHigh8x128, kInnovHigh10x32;

extern const float kSubGain3[8], kSubGain3Bound[7], kSubGain1[2], kSubGain1Bound[1];
extern const float kLpcWindow[200], kLagWindow[11];
extern const float kHighGainBound[16], kFoldGainBound[32];
extern const float kQmfH0[64];
// Rows: narrowband input, low band of wideband input.
extern const float kHighpassNum[2][3], kHighpassDen[2][3];
extern const float kVbrNbThreshold[9][11], kVbrHbThreshold[5][11];

// exp(q / 3.5), q = 0..31, and the bounds exp((q - 0.5) / 3.5), q = 1..31, between which q is the nearest.
extern const float kFrameGain[32], kFrameGainBound[31];

// 0, 1, ...: what tells the candidates of a search apart.
extern const int32_t kTags[256];

// cos(pi g / 64), g = 0..64: the edges of the grid on which LSP roots are looked for.
inline constexpr int kRootCells = 64;
extern const float kRootGrid[kRootCells + 1];

}  // namespace callreplay::speex
