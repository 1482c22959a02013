#include "decode/conceal.h"

#include <algorithm>
#include <cmath>
#include <cstring>

// The figures below were chosen by bench/concealment.py (docs/concealment.md has the scores).

namespace callreplay {

namespace {

constexpr size_t kShortestMs = 4, kLongestMs = 18;  // what is repeated: at least one period of any voice
constexpr size_t kTemplateMs = 7;                   // what a period must match
constexpr size_t kWindowMs = 30;                    // of the linear prediction
constexpr size_t kFewestMs = 10;                    // with less than this of a side it is not known
constexpr size_t kDecayMs = 240;                    // a bridge sags: its sound would end after this
constexpr float kVoicedFrom = 0.4f;                 // normalised correlation
constexpr float kPi = 3.14159265f;
constexpr size_t kMaxRateHz = 48000;
constexpr size_t kMaxPeriod = kMaxRateHz * kLongestMs / 1000;
constexpr int kMaxOrder = 32;

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

// The sound of one side, going on into the loss.
class Side {
 public:
  explicit Side(size_t rate_hz)
      : rate_(rate_hz), order_(std::min(static_cast<int>(rate_hz / 1000) + 4, kMaxOrder)) {}

  // The side before a loss, or (reversed) the one after it. False when it says nothing.
  bool before(const int16_t *pcm, size_t count);
  bool after(const int16_t *pcm, size_t count);

  // Samples, from the loss's edge on.
  void go_on(uint32_t seed, float *to, size_t count);

 private:
  bool analyse();
  size_t find_period(float &voicing) const;
  float correlation(size_t lag, size_t span) const;
  bool predict();

  size_t rate_;
  int order_;
  size_t filled_ = 0;                  // valid samples of past_
  size_t period_ = 0;                  // samples of excitation_ in use
  float periodic_ = 0, noise_ = 0;     // gains of the repeated residual and of noise in its place
  float past_[kMaxContext];            // nearest to the loss last, in the first filled_ places
  float excitation_[kMaxPeriod];       // residual of the last period, oldest first
  float coefficients_[kMaxOrder + 1];  // A(z), a[0] = 1
};

bool Side::before(const int16_t *pcm, size_t count) {
  filled_ = std::min(count, rate_ * kContextMs / 1000);
  for (size_t i = 0; i < filled_; ++i) past_[i] = static_cast<float>(pcm[count - filled_ + i]);
  return analyse();
}

bool Side::after(const int16_t *pcm, size_t count) {
  filled_ = std::min(count, rate_ * kContextMs / 1000);
  for (size_t i = 0; i < filled_; ++i) past_[i] = static_cast<float>(pcm[filled_ - 1 - i]);
  return analyse();
}

// Normalised, of the last `span` samples with those `lag` before them.
float Side::correlation(size_t lag, size_t span) const {
  const float *now = past_ + filled_ - span, *then = now - lag;
  float cross = 0, now_energy = 1, then_energy = 1;
  for (size_t i = 0; i < span; ++i) {
    cross += now[i] * then[i];
    now_energy += now[i] * now[i];
    then_energy += then[i] * then[i];
  }
  return cross / std::sqrt(now_energy * then_energy);
}

// A voice above 250 Hz is repeated in multiples of its period, which sounds less like a buzz than one period
// does.
size_t Side::find_period(float &voicing) const {
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
  const float *now = past_ + filled_ - span, *oldest = now - shortest - (lags - 1) * step;
  float current[kTemplate] = {}, past[kTemplate + kLags] = {};
  for (size_t i = 0; i < count; ++i) current[i] = now[i * step];
  for (size_t i = 0; i < count + lags - 1; ++i) past[i] = oldest[i * step];
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

// Autocorrelation method under a window that weights the samples next to the loss most, then Levinson-Durbin.
// False for digital silence.
bool Side::predict() {
  const size_t length = std::min(rate_ * kWindowMs / 1000, filled_);
  const float *from = past_ + filled_ - length;
  float windowed[kMaxRateHz * kWindowMs / 1000 + kMaxOrder + kBlock];
  std::fill_n(windowed + length, kMaxOrder + kBlock, 0.0f);  // as far as a lag and a block reach
  for (size_t i = 0; i < length; ++i) {
    const float x = (static_cast<float>(i) + 0.5f) / static_cast<float>(length);
    const float w = x < 0.9f ? std::sin(0.5f * kPi * x / 0.9f) : std::cos(0.5f * kPi * (x - 0.9f) / 0.1f);
    windowed[i] = w * from[i];
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

bool Side::analyse() {
  if (filled_ < rate_ * kFewestMs / 1000 || !predict()) return false;
  float voicing;
  period_ = find_period(voicing);
  float energy = 0;
  for (size_t i = 0; i < period_; ++i) {
    const size_t at = filled_ - period_ + i;
    float residual = 0;
    for (size_t j = 0; j <= static_cast<size_t>(order_) && j <= at; ++j)
      residual += coefficients_[j] * past_[at - j];
    excitation_[i] = residual;
    energy += residual * residual;
  }
  periodic_ = std::clamp(voicing / kVoicedFrom, 0.0f, 1.0f);
  // Uniform noise in [-1, 1) has a variance of 1/3.
  noise_ = std::sqrt(3 * (1 - periodic_ * periodic_) * energy / static_cast<float>(period_));
  return true;
}

void Side::go_on(uint32_t seed, float *to, size_t count) {
  float memory[kMaxOrder];  // newest first
  for (size_t j = 0; j < kMaxOrder; ++j) memory[j] = j < filled_ ? past_[filled_ - 1 - j] : 0.0f;
  size_t position = 0;
  for (size_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    float y = periodic_ * excitation_[position] +
              noise_ * static_cast<float>(static_cast<int32_t>(seed)) * 0x1p-31f;
    position = position + 1 == period_ ? 0 : position + 1;
    for (int j = order_ - 1; j > 0; --j) {
      y -= coefficients_[j + 1] * memory[j];
      memory[j] = memory[j - 1];
    }
    y = clip(y - coefficients_[1] * memory[0]);
    memory[0] = y;
    to[i] = y;
  }
}

// The energy falls linearly to nothing after `end` samples: slower at first than the amplitude would, which
// keeps the words of long bursts.
float fade(size_t at, size_t end) {
  return at >= end ? 0.0f : std::sqrt(static_cast<float>(end - at) / static_cast<float>(end));
}

constexpr size_t kMaxBridge = kMaxRateHz * kBridgedMs / 1000 + 64;

// Two sides draw different noise.
constexpr uint32_t kOtherSide = 0x9e3779b9u;

size_t supported_rate(int sample_rate_hz) {
  return static_cast<size_t>(std::clamp(sample_rate_hz, 8000, static_cast<int>(kMaxRateHz)));
}

}  // namespace

bool bridge_loss(int sample_rate_hz, const Surroundings &around, uint32_t seed, int16_t *pcm, size_t count) {
  if (count == 0) {
    return false;
  }
  const size_t rate = supported_rate(sample_rate_hz);
  const size_t length = std::min(count, kMaxBridge);
  std::memset(pcm, 0, count * sizeof(int16_t));
  Side side(rate);
  float left[kMaxBridge], right[kMaxBridge];
  const bool has_left = side.before(around.before, around.before_count);
  if (has_left) side.go_on(seed, left, length);
  const bool has_right = side.after(around.after, around.after_count);
  if (has_right) side.go_on(seed ^ kOtherSide, right, length);
  if (has_left && has_right) {
    const size_t decay = rate * kDecayMs / 1000;
    for (size_t i = 0; i < length; ++i) {
      const float w = (static_cast<float>(i) + 0.5f) / static_cast<float>(length);
      const size_t back = length - 1 - i;
      pcm[i] = to_sample((1 - w) * fade(i, decay) * left[i] + w * fade(back, decay) * right[back]);
    }
    return length > 0;
  }
  const size_t end = rate * kFadeMs / 1000;
  for (size_t i = 0; i < std::min(length, end); ++i) {
    if (has_left) pcm[i] = to_sample(fade(i, end) * left[i]);
    if (has_right) pcm[length - 1 - i] = to_sample(fade(i, end) * right[i]);
  }
  return length > 0 && (has_left || has_right);
}

}  // namespace callreplay
