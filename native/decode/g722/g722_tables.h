// The tables of ITU-T G.722 (09/2012), clause 6.2. Constants only, so one copy serves every instruction set.
#pragma once

#include <cstdint>

namespace callreplay::g722 {

// Inverse quantisers, tables 14, 16 to 18: negated, for the detector is kept negated too (see g722.h).
inline constexpr int16_t kNegatedQm4[16] = {0,      20456,  12896, 8968,  6288,  4240,  2584,  1200,
                                            -20456, -12896, -8968, -6288, -4240, -2584, -1200, 0};

inline constexpr int16_t kNegatedQm5[32] = {280,    280,    23352,  17560,  14120, 11664, 9752,  8184,
                                            6864,   5712,   4696,   3784,   2960,  2208,  1520,  880,
                                            -23352, -17560, -14120, -11664, -9752, -8184, -6864, -5712,
                                            -4696,  -3784,  -2960,  -2208,  -1520, -880,  -280,  280};

inline constexpr int16_t kNegatedQm6[64] = {
    136,    136,    136,   136,   24808, 21904, 19008,  16704,  14984,  13512,  12280,  11192,  10232,
    9360,   8576,   7856,  7192,  6576,  6000,  5456,   4944,   4464,   4008,   3576,   3168,   2776,
    2400,   2032,   1688,  1360,  1040,  728,   -24808, -21904, -19008, -16704, -14984, -13512, -12280,
    -11192, -10232, -9360, -8576, -7856, -7192, -6576,  -6000,  -5456,  -4944,  -4464,  -4008,  -3576,
    -3168,  -2776,  -2400, -2032, -1688, -1360, -1040,  -728,   -432,   -136,   432,    136};

// Indexed by the two high-band bits; only the first four entries are used, 16 fill a look-up register.
inline constexpr int16_t kNegatedQm2[16] = {7408, 1616, -7408, -1616};

// Scale factor logarithms: WL of RL42 by the low band's four upper bits; WH of RH2 by the high band's two.
inline constexpr int16_t kWl[16] = {-60,  3042, 1198, 538, 334, 172, 58,  -30,
                                    3042, 1198, 538,  334, 172, 58,  -30, -60};
inline constexpr int16_t kWh[16] = {798, -214, 798, -214};

// ILB, table 9, times 8 (32064 at most).
inline constexpr int16_t kIlbQ3[32] = {16384, 16744, 17112, 17488, 17864, 18256, 18656, 19064,
                                       19480, 19912, 20344, 20792, 21248, 21712, 22192, 22672,
                                       23168, 23680, 24200, 24728, 25264, 25824, 26384, 26968,
                                       27552, 28160, 28776, 29408, 30048, 30704, 31376, 32064};

// 2^(5 + i) and 2^(3 + i): what scales ILB for the low and the high band.
inline constexpr int16_t kLowPower[16] = {32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
inline constexpr int16_t kHighPower[16] = {8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};

// Half of the receive QMF's 24 coefficients (table 11); the other half is this one backwards.
inline constexpr int16_t kQmf[12] = {3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11};

}  // namespace callreplay::g722
