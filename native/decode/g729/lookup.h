// The tables of tables.h in the shapes that lanes look things up in: two int16 in one int32, so that one
// gather brings both. Data only, made at compile time; no instruction set owns it.
#pragma once

#include <cstdint>

#include "decode/g729/tables.h"

namespace callreplay::g729 {

constexpr int32_t packed(int32_t low, int32_t high) {
  return static_cast<int32_t>((static_cast<uint32_t>(low) & 0xFFFF) | static_cast<uint32_t>(high) << 16);
}

template <int n>
struct Entries {
  int32_t at[n];
};

// Table points with the step to the next one: (point - next, point).
template <int n>
constexpr Entries<n - 1> with_steps(const int16_t (&table)[n]) {
  Entries<n - 1> e{};
  for (int i = 0; i < n - 1; ++i) {
    e.at[i] = packed(table[i] - table[i + 1], table[i]);
  }
  return e;
}
inline constexpr Entries<32> kLog2Steps = with_steps(kLog2);
inline constexpr Entries<32> kPow2Steps = with_steps(kPow2);
inline constexpr Entries<48> kInverseSqrtSteps = with_steps(kInverseSqrt);

// (slope, value)
constexpr Entries<64> cosine_entries() {
  Entries<64> e{};
  for (int i = 0; i < 64; ++i) {
    e.at[i] = packed(kCosSlope[i], kCos[i]);
  }
  return e;
}
inline constexpr Entries<64> kCosine = cosine_entries();

// Rows of five pairs of coefficients.
template <int rows>
constexpr Entries<rows * 5> row_pairs(const int16_t (&table)[rows][10]) {
  Entries<rows * 5> e{};
  for (int i = 0; i < rows * 5; ++i) {
    e.at[i] = packed(table[i / 5][2 * (i % 5)], table[i / 5][2 * (i % 5) + 1]);
  }
  return e;
}
inline constexpr Entries<640> kLsfRows1 = row_pairs(kLsfStage1);
inline constexpr Entries<160> kLsfRows2 = row_pairs(kLsfStage2);

// Gains (pitch, code correction) by transmitted index.
template <int n>
constexpr Entries<n> gain_entries(const int16_t (&book)[n][2], const int16_t (&map)[n]) {
  Entries<n> e{};
  for (int i = 0; i < n; ++i) {
    e.at[i] = packed(book[map[i]][0], book[map[i]][1]);
  }
  return e;
}
inline constexpr Entries<8> kGains1 = gain_entries(kGainStage1, kGainMap1);
inline constexpr Entries<16> kGains2 = gain_entries(kGainStage2, kGainMap2);

template <int n>
constexpr Entries<n> plain_entries(const int16_t (&table)[n]) {
  Entries<n> e{};
  for (int i = 0; i < n; ++i) {
    e.at[i] = table[i];
  }
  return e;
}
inline constexpr Entries<32> kSidGains = plain_entries(kSidGain);
inline constexpr Entries<32> kSidRows1 = plain_entries(kSidMap1);

// (row for coefficients 0..4, row for 5..9)
constexpr Entries<16> sid_row_entries() {
  Entries<16> e{};
  for (int i = 0; i < 16; ++i) {
    e.at[i] = packed(kSidMap2[0][i], kSidMap2[1][i]);
  }
  return e;
}
inline constexpr Entries<16> kSidRows2 = sid_row_entries();

// MA prediction of the LSF by [mode 0, mode 1 of speech, mode 1 of SID][coefficient]: four taps, then the
// weight of b. Mode 0 is the same for speech and SID.
struct MaEntries {
  int32_t at[3][10][5];
};
constexpr MaEntries ma_entries() {
  MaEntries e{};
  for (int j = 0; j < 10; ++j) {
    for (int k = 0; k < 4; ++k) {
      e.at[0][j][k] = kLsfMa[0][k][j];
      e.at[1][j][k] = kLsfMa[1][k][j];
      e.at[2][j][k] = kSidMa[1][k][j];
    }
    e.at[0][j][4] = kLsfMaSum[0][j];
    e.at[1][j][4] = kLsfMaSum[1][j];
    e.at[2][j][4] = kSidMaSum[1][j];
  }
  return e;
}
inline constexpr MaEntries kMaEntries = ma_entries();
static_assert(kSidMa[0][0][0] == kLsfMa[0][0][0] && kSidMaSum[0][9] == kLsfMaSum[0][9]);

// The 20 taps of the pitch interpolation in the order of time, for a shift of k = 0, 1, 2 thirds,
// as 10 pairs.
struct TapPairs {
  int32_t at[3][10];
};
constexpr TapPairs tap_pairs() {
  TapPairs t{};
  for (int k = 0; k < 3; ++k) {
    int16_t taps[20] = {};
    for (int i = 0; i < 10; ++i) {
      taps[9 - i] = kInterpolation[k + 3 * i];
      taps[10 + i] = kInterpolation[3 - k + 3 * i];
    }
    for (int j = 0; j < 10; ++j) {
      t.at[k][j] = packed(taps[2 * j], taps[2 * j + 1]);
    }
  }
  return t;
}
inline constexpr TapPairs kTapPairs = tap_pairs();

// gamma^i in the rounding of the standard, for the post-filter's 0.55 (18022) and 0.7 (22938).
struct Powers {
  int16_t at[11];
};
constexpr Powers powers(int32_t gamma) {
  Powers p{};
  int32_t power = gamma;
  for (int i = 1; i <= 10; ++i) {
    p.at[i] = static_cast<int16_t>(power);
    power = (power * gamma + 16384) >> 15;
  }
  return p;
}
inline constexpr Powers kGammaNumerator = powers(18022);
inline constexpr Powers kGammaDenominator = powers(22938);

// Steps of the comfort noise generator: after 12 n draws the seed is seed * multiply[n] + add[n].
inline constexpr uint32_t kRandMultiplier = 31821;
inline constexpr uint32_t kRandIncrement = 13849;
inline constexpr int kDrawsPerSample = 12;
struct RandJumps {
  uint16_t multiply[48], add[48];  // 40 are used: whole vectors
};
constexpr RandJumps rand_jumps() {
  RandJumps j{};
  uint32_t m = 1, a = 0;
  for (int i = 0; i < 48 * kDrawsPerSample; ++i) {
    if (i % kDrawsPerSample == 0) {
      j.multiply[i / kDrawsPerSample] = static_cast<uint16_t>(m);
      j.add[i / kDrawsPerSample] = static_cast<uint16_t>(a);
    }
    m = (m * kRandMultiplier) & 0xFFFF;
    a = (a * kRandMultiplier + kRandIncrement) & 0xFFFF;
  }
  return j;
}
inline constexpr RandJumps kRandJumps = rand_jumps();

// Bounds of the LSF (Q13, after stabilisation) inside which no step of the conversion to filter
// coefficients can saturate: the coefficients are multilinear in the LSP, so their extremes lie at the
// vertices of the box.
inline constexpr int32_t kLsfBoxLow[10] = {40, 361, 1146, 2104, 4382, 6114, 8843, 10913, 14448, 16229};
inline constexpr int32_t kLsfBoxHigh[10] = {6695,  8940,  11163, 13401, 16145,
                                            17628, 19669, 21494, 23320, 25681};

}  // namespace callreplay::g729
