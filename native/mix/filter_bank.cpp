#include "mix/filter_bank.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numbers>

#include "kept.h"

namespace callreplay {
namespace {

constexpr size_t kTaps = 64;
// Kaiser's formula: attenuation 7.95 + 14.36 * taps * width = 90 dB gives a transition of 0.089 of the sample
// rate, 3.64 to 4.36 kHz at 8 kHz.
constexpr double kBeta = 0.1102 * (90.0 - 8.7);

// Modified Bessel function of order 0 by its series; x <= kBeta converges in 30 terms.
double bessel_i0(double x) {
  double term = 1.0;
  double sum = 1.0;
  for (int k = 1; k < 40; ++k) {
    term *= (x / (2.0 * k)) * (x / (2.0 * k));
    sum += term;
  }
  return sum;
}

double sinc(double x) {
  const double angle = std::numbers::pi * x;
  return std::abs(x) < 1e-9 ? 1.0 : std::sin(angle) / angle;
}

}  // namespace

size_t filter_taps(int32_t from_hz, int32_t to_hz) {
  const double stretch = std::max(1.0, static_cast<double>(from_hz) / to_hz);
  return static_cast<size_t>(std::ceil(static_cast<double>(kTaps) * stretch / 16.0)) * 16;
}

void make_filter(int32_t from_hz, int32_t to_hz, double fraction, float *taps) {
  const size_t count = filter_taps(from_hz, to_hz);
  const double cutoff = std::min(1.0, static_cast<double>(to_hz) / from_hz);
  const double half = static_cast<double>(count) / 2.0;
  std::vector<double> exact(count);
  double sum = 0.0;
  for (size_t t = 0; t < count; ++t) {
    const double x = static_cast<double>(t) - (half - 1.0) - fraction;
    const double edge = x / half;
    const double window = std::abs(edge) >= 1.0 ? 0.0 : bessel_i0(kBeta * std::sqrt(1.0 - edge * edge));
    exact[t] = cutoff * sinc(cutoff * x) * window;
    sum += exact[t];
  }
  // What is left of a zero of the sinc by rounding is a zero.
  for (size_t t = 0; t < count; ++t) {
    taps[t] = std::abs(exact[t]) < 1e-12 ? 0.0f : static_cast<float>(exact[t] / sum);
  }
}

namespace {

constexpr int32_t kTelephoneRates[] = {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000};
constexpr size_t kRates = std::size(kTelephoneRates);

std::unique_ptr<const FilterBank> make_bank(int32_t from_hz, int32_t to_hz) {
  auto made = std::make_unique<FilterBank>();
  made->taps_count = filter_taps(from_hz, to_hz);
  made->taps.resize(made->taps_count * (FilterBank::kPhases + 1));
  for (size_t phase = 0; phase <= FilterBank::kPhases; ++phase) {
    make_filter(from_hz, to_hz, static_cast<double>(phase) / FilterBank::kPhases,
                made->taps.data() + phase * made->taps_count);
  }
  return made;
}

size_t rate_number(int32_t rate_hz) {
  return static_cast<size_t>(std::find(std::begin(kTelephoneRates), std::end(kTelephoneRates), rate_hz) -
                             std::begin(kTelephoneRates));
}

// Never freed: 18 MB if every pair of rates occurs.
std::atomic<const FilterBank *> banks[kRates][kRates];

}  // namespace

std::shared_ptr<const FilterBank> filter_bank(int32_t from_hz, int32_t to_hz) {
  const size_t from = rate_number(from_hz), to = rate_number(to_hz);
  if (from == kRates || to == kRates) {
    return make_bank(from_hz, to_hz);
  }
  // Kept for ever: nothing to count.
  return {std::shared_ptr<const void>(), &kept(banks[from][to], [&] { return make_bank(from_hz, to_hz); })};
}

}  // namespace callreplay
