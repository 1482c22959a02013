#include <cmath>
#include <numbers>

#include "lanes/kernels.h"
#include "speech/bank.h"

namespace callreplay {
namespace {

// Centres of the bands, about a critical bandwidth and a half apart; telephone speech ends at 3400 Hz.
constexpr double kCentre_hz[kBands] = {200, 330, 500, 760, 1150, 1700, 2450, 3300};
constexpr double kQuality = 2.2;  // neighbours meet at -3 dB

}  // namespace

BankLaw::BankLaw(int32_t rate_hz) {
  for (size_t band = 0; band < kBands; ++band) {
    const double angle = 2 * std::numbers::pi * kCentre_hz[band] / rate_hz;
    const double alpha = std::sin(angle) / (2 * kQuality);
    const double gain = alpha / (1 + alpha);
    const double first = -2 * std::cos(angle) / (1 + alpha), second = (1 - alpha) / (1 + alpha);
    b0[band] = static_cast<float>(gain);
    a1[band] = static_cast<float>(first);
    a2[band] = static_cast<float>(second);
    in[band] = static_cast<float>(-first * gain);
    s11[band] = static_cast<float>(first * first - second);
    s12[band] = static_cast<float>(-first);
    s21[band] = static_cast<float>(first * second);
    s22[band] = static_cast<float>(-second);
    x10[band] = static_cast<float>(gain * (first * first - second - 1));
    x11[band] = static_cast<float>(-first * gain);
    x20[band] = static_cast<float>(gain * first * second);
    x21[band] = static_cast<float>(-gain * (1 + second));
  }
}

CR_KERNELS(BankKernel, bank)

}  // namespace callreplay
