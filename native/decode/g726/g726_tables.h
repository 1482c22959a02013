// What a code of G.726 stands for: RECONST (tables 11 to 14), FUNCTW and FUNCTF of the recommendation, for
// the magnitudes; a code and its complement differ in sign only.
#pragma once

#include <cstdint>

namespace callreplay::g726 {

struct Level {
  int16_t log_difference;  // DQLN, Q7 of a base 2 logarithm; -2048 is a difference of 0
  int16_t scale;           // WI, Q4
  int16_t speed;           // FI
};

inline constexpr Level kLevels2[] = {{116, -22, 0}, {365, 439, 7}};
inline constexpr Level kLevels3[] = {{-2048, -4, 0}, {135, 30, 1}, {273, 137, 2}, {373, 582, 7}};
inline constexpr Level kLevels4[] = {{-2048, -12, 0}, {4, 18, 0},    {135, 41, 0},  {213, 64, 1},
                                     {273, 112, 1},   {323, 198, 1}, {373, 355, 3}, {425, 1122, 7}};
inline constexpr Level kLevels5[] = {{-2048, 14, 0}, {-66, 14, 0},  {28, 24, 0},   {104, 39, 0},
                                     {169, 40, 0},   {224, 41, 1},  {274, 58, 1},  {318, 100, 1},
                                     {358, 141, 1},  {395, 179, 1}, {429, 219, 2}, {459, 280, 3},
                                     {488, 358, 4},  {514, 440, 5}, {539, 529, 6}, {566, 696, 6}};

// A magnitude's row in one word: DQLN in the top 12 bits, WI in the next 12, 16 FI in bits 4 to 6.
constexpr int32_t pack(const Level &level) {
  const auto twelve = [](int value) { return static_cast<uint32_t>(value) & 0xFFFu; };
  return static_cast<int32_t>(twelve(level.log_difference) << 20 | twelve(level.scale) << 8 |
                              static_cast<uint32_t>(level.speed) << 4);
}

// As many as look_up() has registers for: 8, or 16.
template <int kBits>
inline constexpr int kLevels = kBits == 5 ? 16 : 8;

template <int kBits>
struct Packed {
  int32_t word[kLevels<kBits>];
};

template <int kBits>
constexpr Packed<kBits> packed(const Level (&levels)[1 << (kBits - 1)]) {
  Packed<kBits> made{};
  for (int i = 0; i < 1 << (kBits - 1); ++i) made.word[i] = pack(levels[i]);
  return made;
}

inline constexpr Packed<2> kPacked2 = packed<2>(kLevels2);
inline constexpr Packed<3> kPacked3 = packed<3>(kLevels3);
inline constexpr Packed<4> kPacked4 = packed<4>(kLevels4);
inline constexpr Packed<5> kPacked5 = packed<5>(kLevels5);

}  // namespace callreplay::g726
