#include "decode/conceal/tables.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "decode/conceal.h"
#include "kept.h"

namespace callreplay {
namespace {

constexpr size_t kWindowMs = 30, kPacketMs = 20;
constexpr size_t kDecayMs = 240;  // a bridge sags: its sound would end after this
constexpr size_t kBlendMs = 4;    // and reaches so far into what follows
constexpr float kPi = 3.14159265f;

// The energy falls linearly to nothing after `end` samples: slower at first than the amplitude would, which
// keeps the words of long bursts.
std::vector<float> fall(size_t count, size_t end) {
  std::vector<float> all(count);
  for (size_t at = 0; at < std::min(count, end); ++at) {
    all[at] = std::sqrt(static_cast<float>(end - at) / static_cast<float>(end));
  }
  return all;
}

}  // namespace

ConcealTables::ConcealTables(size_t sample_rate_hz)
    : rate_hz(sample_rate_hz),
      order(std::min(static_cast<int>(sample_rate_hz / 1000) + 4, kMaxOrder)),
      window(sample_rate_hz * kWindowMs / 1000),
      packet_window(sample_rate_hz * kPacketMs / 1000),
      sag(fall(sample_rate_hz * (kBridgedMs + kBlendMs) / 1000 + 1, sample_rate_hz * kDecayMs / 1000)),
      fade(fall(sample_rate_hz * kFadeMs / 1000, sample_rate_hz * kFadeMs / 1000)) {
  // The samples next to the loss weigh most.
  for (size_t i = 0; i < window.size(); ++i) {
    const float x = (static_cast<float>(i) + 0.5f) / static_cast<float>(window.size());
    window[i] = x < 0.9f ? std::sin(0.5f * kPi * x / 0.9f) : std::cos(0.5f * kPi * (x - 0.9f) / 0.1f);
  }
  shorten_window(window, packet_window.size(), packet_window.data());
  // 40 Hz.
  for (int lag = 0; lag <= kMaxOrder; ++lag) {
    const float spread = 2 * kPi * 40.0f * static_cast<float>(lag) / static_cast<float>(sample_rate_hz);
    lag_window[lag] = std::exp(-0.5f * spread * spread);
  }
}

void shorten_window(const std::vector<float> &window, size_t count, float *shorter) {
  // At (2 i + 1) * full / (2 * count): rounded up to 2^-32, less than 2^-32 * 2 * count <= 2^-20 is too much, and what is
  // too little for the next number is 1 / (2 * count) at least.
  const uint64_t scale = (uint64_t{window.size()} << 32) / (2 * count) + 1;
  for (size_t i = 0; i < count; ++i) shorter[i] = window[(2 * i + 1) * scale >> 32];
}

std::shared_ptr<const ConcealTables> conceal_tables(size_t sample_rate_hz) {
  constexpr size_t kTelephoneRates[] = {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000};
  static std::atomic<const ConcealTables *> places[std::size(kTelephoneRates)];
  const auto found =
      static_cast<size_t>(std::find(std::begin(kTelephoneRates), std::end(kTelephoneRates), sample_rate_hz) -
                          std::begin(kTelephoneRates));
  if (found == std::size(kTelephoneRates)) {
    return std::make_shared<const ConcealTables>(sample_rate_hz);
  }
  // Kept for ever: nothing to count.
  return {std::shared_ptr<const void>(),
          &kept(places[found], [&] { return std::make_unique<const ConcealTables>(sample_rate_hz); })};
}

}  // namespace callreplay
