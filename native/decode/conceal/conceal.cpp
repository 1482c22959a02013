#include "decode/conceal.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace callreplay {

namespace {

constexpr size_t kFullMs = 10, kSilentMs = 60;

int16_t to_sample(float x) {
  return static_cast<int16_t>(std::lrintf(std::clamp(x, -32768.0f, 32767.0f)));
}

}  // namespace

Concealer::Concealer(int sample_rate_hz)
    : rate_(static_cast<size_t>(std::clamp(sample_rate_hz, 8000, static_cast<int>(kMaxRateHz)))),
      order_(std::min(static_cast<int>(rate_ / 1000) + 4, kMaxOrder)) {
  reset();
}

void Concealer::reset() {
  lost_ = filled_ = period_ = position_ = 0;
  noise_ = 1;
}

void Concealer::remember(const int16_t *pcm, size_t count) {
  const size_t limit = rate_ * 45 / 1000;
  if (count >= limit) {
    pcm += count - limit;
    count = limit;
  }
  const size_t kept = std::min(filled_, limit - count);
  std::memmove(history_ + kHistory - count - kept, history_ + kHistory - kept, kept * sizeof(int16_t));
  std::memcpy(history_ + kHistory - count, pcm, count * sizeof(int16_t));
  filled_ = kept + count;
}

// The lag of the best normalised correlation of the last 15 ms, 2.5 to 18 ms back.
size_t Concealer::find_period(float &voicing) const {
  // About 8 kHz is enough to tell the candidates apart; the best is then refined at the full rate.
  const size_t step = rate_ / 8000;
  const int16_t *end = history_ + kHistory;
  const size_t longest = std::min(rate_ * 18 / 1000, filled_ / 2), shortest = rate_ / 400;
  const size_t span = std::min(rate_ * 15 / 1000, filled_ - longest);
  const auto correlation = [&](size_t lag, size_t stride) {
    float cross = 0, now = 1, then = 1;
    for (size_t i = 1; i <= span; i += stride) {
      const float a = end[-static_cast<ptrdiff_t>(i)], b = end[-static_cast<ptrdiff_t>(i + lag)];
      cross += a * b;
      now += a * a;
      then += b * b;
    }
    return cross / std::sqrt(now * then);
  };
  size_t best = longest;
  voicing = 0;
  for (size_t lag = shortest; lag <= longest; lag += step) {
    const float c = correlation(lag, step);
    if (c > voicing) {
      voicing = c;
      best = lag;
    }
  }
  if (step > 1) {
    const size_t from = std::max(shortest, best - step + 1), to = std::min(longest, best + step - 1);
    float top = -1;
    for (size_t lag = from; lag <= to; ++lag) {
      const float c = correlation(lag, 1);
      if (c > top) {
        top = c;
        best = lag;
      }
    }
  }
  return best;
}

// Autocorrelation method over the last 30 ms, the newest samples weighted most; Levinson-Durbin.
void Concealer::predict() {
  const size_t length = std::min(rate_ * 30 / 1000, filled_);
  const int16_t *from = history_ + kHistory - length;
  float windowed[kHistory];
  for (size_t i = 0; i < length; ++i) {
    // Rises over 9/10, falls over the last tenth.
    const float x = (static_cast<float>(i) + 0.5f) / static_cast<float>(length);
    const float w = x < 0.9f ? std::sin(1.5707963f * x / 0.9f) : std::cos(1.5707963f * (x - 0.9f) / 0.1f);
    windowed[i] = w * static_cast<float>(from[i]);
  }
  float r[kMaxOrder + 1];
  for (int lag = 0; lag <= order_; ++lag) {
    float sum = 0;
    for (size_t i = static_cast<size_t>(lag); i < length; ++i) sum += windowed[i] * windowed[i - static_cast<size_t>(lag)];
    const float spread = 2 * 3.1415927f * 40.0f * static_cast<float>(lag) / static_cast<float>(rate_);
    r[lag] = sum * std::exp(-0.5f * spread * spread);
  }
  r[0] = r[0] * 1.0001f + 1.0f;
  float *a = coefficients_;
  a[0] = 1;
  float error = r[0];
  for (int i = 1; i <= order_; ++i) {
    float sum = r[i];
    for (int j = 1; j < i; ++j) sum += a[j] * r[i - j];
    const float k = -sum / error;
    float next[kMaxOrder + 1];
    for (int j = 1; j < i; ++j) next[j] = a[j] + k * a[i - j];
    for (int j = 1; j < i; ++j) a[j] = next[j];
    a[i] = k;
    error *= 1 - k * k;
  }
}

void Concealer::analyse() {
  period_ = position_ = 0;
  if (filled_ < rate_ / 100) return;
  period_ = find_period(voicing_);
  predict();
  const int16_t *end = history_ + kHistory;
  for (size_t i = 0; i < period_; ++i) {
    const int16_t *at = end - period_ + i;
    float sum = 0;
    for (int j = 0; j <= order_; ++j) {
      if (at - j >= end - filled_) sum += coefficients_[j] * static_cast<float>(at[-j]);
    }
    excitation_[i] = sum;
  }
  for (int j = 0; j < order_; ++j) memory_[j] = static_cast<float>(end[-1 - j]);
}

float Concealer::synthesise() {
  float y = excitation_[position_];
  position_ = position_ + 1 == period_ ? 0 : position_ + 1;
  for (int j = 0; j < order_; ++j) y -= coefficients_[j + 1] * memory_[j];
  std::memmove(memory_ + 1, memory_, sizeof(float) * static_cast<size_t>(order_ - 1));
  memory_[0] = y;
  return y;
}

size_t Concealer::lost(int16_t *pcm, size_t count) {
  if (lost_ == 0) analyse();
  const size_t full = rate_ * kFullMs / 1000, silent = rate_ * kSilentMs / 1000;
  size_t audible = 0;
  for (size_t i = 0; i < count; ++i, ++lost_) {
    if (period_ == 0 || lost_ >= silent) {
      std::memset(pcm + i, 0, (count - i) * sizeof(int16_t));
      lost_ += count - i;
      break;
    }
    const float gain =
        lost_ < full ? 1.0f : static_cast<float>(silent - lost_) / static_cast<float>(silent - full);
    pcm[i] = to_sample(gain * synthesise());
    ++audible;
  }
  remember(pcm, count);
  return audible;
}

void Concealer::good(int16_t *pcm, size_t count) {
  if (lost_ != 0 && period_ != 0) {
    const size_t full = rate_ * kFullMs / 1000, silent = rate_ * kSilentMs / 1000;
    const size_t fade = std::min(count, rate_ * 5 / 1000);
    for (size_t i = 0; i < fade; ++i, ++lost_) {
      float old = 0;
      if (lost_ < silent) {
        const float gain =
            lost_ < full ? 1.0f : static_cast<float>(silent - lost_) / static_cast<float>(silent - full);
        old = gain * synthesise();
      }
      const float w = (static_cast<float>(i) + 0.5f) / static_cast<float>(fade);
      pcm[i] = to_sample(old + w * (static_cast<float>(pcm[i]) - old));
    }
  }
  lost_ = 0;
  remember(pcm, count);
}

}  // namespace callreplay
