#include "mix/tones/dtmf.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace callreplay {
namespace {

struct Pair {
  double low_hz, high_hz;
};

// Q.23 table 1, in the order of RFC 4733 table 3: 0-9, *, #, A-D.
constexpr Pair kPairs[16] = {{941, 1336}, {697, 1209}, {697, 1336}, {697, 1477}, {770, 1209}, {770, 1336},
                             {770, 1477}, {852, 1209}, {852, 1336}, {852, 1477}, {941, 1209}, {941, 1477},
                             {697, 1633}, {770, 1633}, {852, 1633}, {941, 1633}};

constexpr int kDefaultLevel = -10;
constexpr double kTwistDb = 2.0;
// G.711 clause 4: a full-scale mu-law sine is +3.17 dBm0; full scale is 8031 of 14 bits.
constexpr double kFullScale = 32124.0;
constexpr double kFullScaleDbm0 = 3.17;

double power(double db) {
  return std::pow(10.0, db / 10.0);
}

}  // namespace

void add_dtmf(int tone, int level_dbm0, int rate_hz, int64_t length, int64_t first, int32_t *sum,
              size_t count) {
  const Pair &pair = kPairs[tone & 15];
  const int level = level_dbm0 == 0 ? kDefaultLevel : std::clamp(level_dbm0, -63, 0);
  const double total = power(level - kFullScaleDbm0);
  const double low = kFullScale * std::sqrt(total / (1.0 + power(kTwistDb)));
  const double high = low * std::sqrt(power(kTwistDb));
  const double ramp = std::max(1.0, 0.002 * rate_hz);
  const double turn = 2.0 * std::numbers::pi / rate_hz;
  for (size_t n = 0; n < count; ++n) {
    const int64_t at = first + static_cast<int64_t>(n);
    const auto time = static_cast<double>(at);
    const double edge = std::min({1.0, (time + 1.0) / ramp, static_cast<double>(length - at) / ramp});
    const double value =
        low * std::sin(turn * pair.low_hz * time) + high * std::sin(turn * pair.high_hz * time);
    sum[n] += static_cast<int32_t>(std::lrint(std::max(edge, 0.0) * value));
  }
}

}  // namespace callreplay
