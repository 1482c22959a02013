#include "decode/conceal.h"

#include <algorithm>
#include <cmath>
#include <cstring>

// The figures below were chosen by bench/concealment.py (docs/concealment.md has the scores).

namespace callreplay {

namespace {

constexpr size_t kSilentMs = 60;
constexpr size_t kShortestMs = 5, kLongestMs = 18;  // what is repeated: at least one period of any voice
constexpr size_t kTemplateMs = 7;                   // what a period must match
constexpr size_t kWindowMs = 30;                    // of the linear prediction
constexpr float kNoiseBelow = 0.10f, kVoicedFrom = 0.55f;  // normalised correlation
constexpr float kPi = 3.14159265f;

float clip(float x) {
  return std::clamp(x, -32768.0f, 32767.0f);
}

int16_t to_sample(float x) {
  return static_cast<int16_t>(std::lrintf(clip(x)));
}

// Of blocks of kBlock; the partial sums, always added in one order, are what lets the compiler use SIMD.
constexpr size_t kBlock = 8;
float dot(const float *a, const float *b, size_t blocks) {
  float sum[kBlock] = {};
  for (; blocks > 0; --blocks, a += kBlock, b += kBlock) {
    for (size_t k = 0; k < kBlock; ++k) sum[k] += a[k] * b[k];
  }
  return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}

constexpr size_t blocks_of(size_t count) {
  return (count + kBlock - 1) / kBlock;
}

}  // namespace

Concealer::Concealer(int sample_rate_hz)
    : rate_(static_cast<size_t>(std::clamp(sample_rate_hz, 8000, static_cast<int>(kMaxRateHz)))),
      order_(std::min(static_cast<int>(rate_ / 1000) + 4, kMaxOrder)) {}

void Concealer::reset() {
  lost_ = recovered_ = filled_ = period_ = position_ = 0;
  recovering_ = false;
  random_ = 1;
}

void Concealer::remember(const int16_t *pcm, size_t count) {
  const size_t limit = rate_ * 45 / 1000;
  if (count > limit) {
    pcm += count - limit;
    count = limit;
  }
  if (count == 0) return;
  int16_t *end = history_ + kHistory;
  const size_t kept = std::min(filled_, limit - count);
  std::memmove(end - count - kept, end - kept, kept * sizeof(int16_t));
  std::memcpy(end - count, pcm, count * sizeof(int16_t));
  filled_ = kept + count;
}

// Normalised, of the last `span` samples with those `lag` before them.
float Concealer::correlation(size_t lag, size_t span) const {
  const int16_t *now = history_ + kHistory - span, *then = now - lag;
  float cross = 0, now_energy = 1, then_energy = 1;
  for (size_t i = 0; i < span; ++i) {
    const auto a = static_cast<float>(now[i]), b = static_cast<float>(then[i]);
    cross += a * b;
    now_energy += a * a;
    then_energy += b * b;
  }
  return cross / std::sqrt(now_energy * then_energy);
}

// A voice above 200 Hz is repeated in multiples of its period, which sounds less like a buzz than one period
// does.
size_t Concealer::find_period(float &voicing) const {
  const size_t longest = std::min(rate_ * kLongestMs / 1000, filled_ / 2);
  const size_t shortest = rate_ * kShortestMs / 1000;
  const size_t span = std::min(rate_ * kTemplateMs / 1000, filled_ - longest);
  voicing = 0;
  if (longest < shortest || span == 0) return longest;
  // Every 8 kHz or so is enough to tell the candidates apart; the best is refined at the full rate.
  const size_t step = rate_ / 8000;
  const size_t count = (span + step - 1) / step, lags = (longest - shortest) / step + 1;
  // Both sides at every step-th sample, in less than 16 per ms: past + lags - 1 - k is `shortest` and k steps
  // back.
  constexpr size_t kTemplate = blocks_of(16 * kTemplateMs + 1) * kBlock;
  constexpr size_t kLags = 16 * (kLongestMs - kShortestMs) + 2;
  const int16_t *now = history_ + kHistory - span, *oldest = now - shortest - (lags - 1) * step;
  float current[kTemplate] = {}, past[kTemplate + kLags] = {};
  for (size_t i = 0; i < count; ++i) current[i] = static_cast<float>(now[i * step]);
  for (size_t i = 0; i < count + lags - 1; ++i) past[i] = static_cast<float>(oldest[i * step]);
  double now_energy = 1, then_energy = 1;  // of whole numbers: exact
  for (size_t i = 0; i < count; ++i) {
    now_energy += static_cast<double>(current[i]) * current[i];
    then_energy += static_cast<double>(past[lags - 1 + i]) * past[lags - 1 + i];
  }
  size_t best = longest;
  for (size_t k = 0; k < lags; ++k) {
    const float *then = past + lags - 1 - k;
    const float c = dot(current, then, blocks_of(count)) /
                    std::sqrt(static_cast<float>(now_energy) * static_cast<float>(then_energy));
    if (c > voicing) {
      voicing = c;
      best = shortest + k * step;
    }
    if (k + 1 < lags) {
      then_energy += static_cast<double>(then[-1]) * then[-1];
      then_energy -= static_cast<double>(then[count - 1]) * then[count - 1];
    }
  }
  if (step == 1) return best;
  const size_t from = std::max(shortest, best - step + 1), to = std::min(longest, best + step - 1);
  float top = -2;
  for (size_t lag = from; lag <= to; ++lag) {
    const float c = correlation(lag, span);
    if (c > top) {
      top = c;
      best = lag;
    }
  }
  return best;
}

// Autocorrelation method under a window that weights the newest samples most, then Levinson-Durbin. False for
// digital silence.
bool Concealer::predict() {
  const size_t length = std::min(rate_ * kWindowMs / 1000, filled_);
  const int16_t *from = history_ + kHistory - length;
  float windowed[kHistory + kMaxOrder + kBlock];
  std::fill_n(windowed + length, kMaxOrder + kBlock, 0.0f);  // as far as a lag and a block reach
  for (size_t i = 0; i < length; ++i) {
    const float x = (static_cast<float>(i) + 0.5f) / static_cast<float>(length);
    const float w = x < 0.9f ? std::sin(0.5f * kPi * x / 0.9f) : std::cos(0.5f * kPi * (x - 0.9f) / 0.1f);
    windowed[i] = w * static_cast<float>(from[i]);
  }
  float r[kMaxOrder + 1];
  for (int lag = 0; lag <= order_; ++lag) {
    const float sum = dot(windowed, windowed + lag, blocks_of(length));
    // A lag window of 40 Hz and, below, a noise floor of -40 dB keep the filter away from the unit circle.
    const float spread = 2 * kPi * 40.0f * static_cast<float>(lag) / static_cast<float>(rate_);
    r[lag] = sum * std::exp(-0.5f * spread * spread);
  }
  if (r[0] <= 0) return false;
  r[0] = r[0] * 1.0001f + 1.0f;
  float *a = coefficients_;
  std::fill(a, a + kMaxOrder + 1, 0.0f);
  a[0] = 1;
  float error = r[0];
  for (int i = 1; i <= order_ && error > 0; ++i) {
    float sum = r[i];
    for (int j = 1; j < i; ++j) sum += a[j] * r[i - j];
    const float reflection = std::clamp(-sum / error, -0.9999f, 0.9999f);
    float next[kMaxOrder + 1];
    for (int j = 1; j < i; ++j) next[j] = a[j] + reflection * a[i - j];
    std::copy(next + 1, next + i, a + 1);
    a[i] = reflection;
    error *= 1 - reflection * reflection;
  }
  return true;
}

// What the loss will be filled with, from the history at its start.
void Concealer::analyse() {
  period_ = position_ = 0;
  if (filled_ < rate_ / 100 || !predict()) return;
  float voicing;
  period_ = find_period(voicing);
  const int16_t *end = history_ + kHistory, *begin = end - filled_;
  float energy = 0;
  for (size_t i = 0; i < period_; ++i) {
    const int16_t *at = end - period_ + i;
    float residual = 0;
    for (int j = 0; j <= order_ && at - j >= begin; ++j)
      residual += coefficients_[j] * static_cast<float>(at[-j]);
    excitation_[i] = residual;
    energy += residual * residual;
  }
  for (int j = 0; j < order_; ++j) memory_[j] = static_cast<float>(end[-1 - j]);
  periodic_ = std::clamp((voicing - kNoiseBelow) / (kVoicedFrom - kNoiseBelow), 0.0f, 1.0f);
  // Uniform noise in [-1, 1) has a variance of 1/3.
  noise_ = std::sqrt(3 * (1 - periodic_ * periodic_) * energy / static_cast<float>(period_));
}

// The next sample of the concealment, faded; 0 from kSilentMs on.
float Concealer::next_sample() {
  const size_t silent = rate_ * kSilentMs / 1000;
  if (period_ == 0 || lost_ >= silent) return 0;
  random_ = random_ * 1664525u + 1013904223u;
  float y = periodic_ * excitation_[position_] +
            noise_ * static_cast<float>(static_cast<int32_t>(random_)) * 0x1p-31f;
  position_ = position_ + 1 == period_ ? 0 : position_ + 1;
  for (int j = order_ - 1; j > 0; --j) {
    y -= coefficients_[j + 1] * memory_[j];
    memory_[j] = memory_[j - 1];
  }
  y = clip(y - coefficients_[1] * memory_[0]);
  memory_[0] = y;
  // The energy falls linearly: slower at first than the amplitude would, which keeps the words of long
  // bursts.
  const float gain = std::sqrt(static_cast<float>(silent - lost_) / static_cast<float>(silent));
  ++lost_;
  return gain * y;
}

size_t Concealer::lost(int16_t *pcm, size_t count) {
  if (count == 0) return 0;
  if (recovering_ || lost_ == 0) {
    recovering_ = false;
    lost_ = 0;
    analyse();
  }
  const size_t silent = rate_ * kSilentMs / 1000;
  const size_t audible = period_ == 0 || lost_ >= silent ? 0 : std::min(count, silent - lost_);
  for (size_t i = 0; i < audible; ++i) pcm[i] = to_sample(next_sample());
  std::memset(pcm + audible, 0, (count - audible) * sizeof(int16_t));
  if (audible == 0) lost_ = silent;
  remember(pcm, count);
  return audible;
}

void Concealer::good(int16_t *pcm, size_t count) {
  if (count == 0) return;
  if (lost_ != 0) {
    if (!recovering_) recovered_ = 0;
    recovering_ = true;
    // A wideband decoder (G.722) comes back out of step, which a longer cross-fade hides.
    const size_t fade = rate_ * (rate_ < 16000 ? 3 : 6) / 1000;
    for (size_t i = 0; i < count && recovered_ < fade; ++i, ++recovered_) {
      const float old = next_sample();
      const float weight = (static_cast<float>(recovered_) + 0.5f) / static_cast<float>(fade);
      pcm[i] = to_sample(old + weight * (static_cast<float>(pcm[i]) - old));
    }
    if (recovered_ == fade) {
      recovering_ = false;
      lost_ = 0;
    }
  }
  remember(pcm, count);
}

}  // namespace callreplay
