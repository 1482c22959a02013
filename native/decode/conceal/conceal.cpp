#include "decode/conceal.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "decode/conceal/kernels.h"
#include "decode/conceal/tables.h"

// The figures below and those of the tables were chosen by bench/concealment.py (docs/concealment.md
// has the scores).

namespace callreplay {

namespace {

constexpr size_t kShortestMs = 4, kLongestMs = 18;  // what is repeated: at least one period of any voice
constexpr size_t kTemplateMs = 7;                   // what a period must match
constexpr size_t kFewestMs = 10;                    // with less than this of a side it is not known
constexpr float kVoicedFrom = 0.4f;                 // normalised correlation
constexpr size_t kMaxRateHz = 48000;
constexpr size_t kMaxPeriod = kMaxRateHz * kLongestMs / 1000;
constexpr size_t kMaxBridge = kMaxRateHz * kBridgedMs / 1000 + kMaxRateHz * 4 / 1000 + 1;

// The sound of one side, going on into the loss.
class Side {
 public:
  Side(const ConcealKernel &kernel, const ConcealTables &tables) : kernel_(kernel), tables_(tables) {}

  // The side before a loss, or (reversed) the one after it. False when it says nothing. Then the kernel predicts.
  bool before(const int16_t *pcm, size_t count);
  bool after(const int16_t *pcm, size_t count);
  const float *autocorrelation() const { return autocorrelation_; }
  Synthesis *synthesis() { return &synthesis_; }

  // What is repeated; and how loud the noise is, of one or two sides.
  void analyse();
  static void level(Side *const *sides, size_t count);
  bool noisy() const { return periodic_ < 1; }

  // What drives the sound of `count` samples; the kernel makes it.
  void go_on(uint32_t seed, size_t count);
  float *sound() { return memory_ + kMemory; }

 private:
  struct Period {
    size_t samples;
    float voicing;  // normalised correlation of the last samples with those a period before
  };

  bool correlate();
  Period find_period() const;
  Period refine(Period rough, size_t span) const;

  static constexpr size_t kMemory = kMaxOrder + 4;

  const ConcealKernel &kernel_;
  const ConcealTables &tables_;
  size_t filled_ = 0;               // valid samples of past_
  size_t period_ = 0;               // samples of excitation_ in use
  float periodic_ = 0, noise_ = 0;  // gains of the repeated residual and of noise in its place
  Synthesis synthesis_;
  float autocorrelation_[kMaxOrder + 1];
  float past_[kMaxContext + kSlack];       // nearest to the loss last, in the first filled_ places
  float excitation_[kMaxPeriod + kSlack];  // residual of the last period, oldest first
  float memory_[kMemory + kMaxBridge + kSlack];
};

// Behind x, for kernels that read on; at least kSlack - 15. (Of a constant length GCC makes a slow instruction.)
void silence(float *x, size_t count) {
  std::fill(x + count, x + (count + kSlack) / 16 * 16, 0.0f);
}

bool Side::before(const int16_t *pcm, size_t count) {
  filled_ = std::min(count, tables_.rate_hz * kContextMs / 1000);
  kernel_.widen(past_, pcm + count - filled_, filled_);
  return correlate();
}

bool Side::after(const int16_t *pcm, size_t count) {
  filled_ = std::min(count, tables_.rate_hz * kContextMs / 1000);
  kernel_.widen_back(past_, pcm, filled_);
  return correlate();
}

// Of windows, and ones up to the next multiple of 16.
void slide(const ConcealKernel &kernel, float *energies, const float *x, size_t span, size_t count) {
  kernel.energies(energies, x, span, count);
  std::fill_n(energies + count, (16 - count % 16) % 16, 1.0f);
}

// A voice above 250 Hz is repeated in multiples of its period, which sounds less like a buzz than
// one period does.
Side::Period Side::find_period() const {
  const size_t rate = tables_.rate_hz;
  const size_t longest = std::min(rate * kLongestMs / 1000, filled_ / 2);
  const size_t shortest = rate * kShortestMs / 1000;
  const size_t span = std::min(rate * kTemplateMs / 1000, filled_ - longest);
  if (longest < shortest || span == 0) return {longest, 0};
  // Every 8 kHz or so is enough to tell the candidates apart; the best is refined at the full rate.
  const size_t step = rate / 8000;
  const size_t count = (span + step - 1) / step, lags = (longest - shortest) / step + 1;
  // Both sides at every step-th sample, in less than 16 per ms: then + lags - 1 - k is `shortest` and
  // k steps back.
  constexpr size_t kTemplate = 16 * kTemplateMs + 2;
  constexpr size_t kLags = 16 * (kLongestMs - kShortestMs) + 2;
  const float *now = past_ + filled_ - span, *then = now - shortest - (lags - 1) * step;
  float current[kTemplate], earlier[kTemplate + kLags + kSlack];
  if (step > 1) {
    for (size_t i = 0; i < count; ++i) current[i] = now[i * step];
    for (size_t i = 0; i < count + lags - 1; ++i) earlier[i] = then[i * step];
    std::fill_n(earlier + count + lags - 1, kSlack, 0.0f);
    now = current;
    then = earlier;
  }
  float likeness[kLags + kSlack], energies[kLags + kSlack];
  kernel_.correlate(likeness, then, now, count, lags);
  float now_energy;
  kernel_.energies(&now_energy, now, count, 1);
  slide(kernel_, energies, then, count, lags);
  std::fill_n(likeness + lags, 16, 0.0f);
  const float top = kernel_.normalise(likeness, energies, lags);
  size_t best = lags - 1;  // the shortest of equals
  while (top > 0 && likeness[best] != top) --best;
  const Period rough{top > 0 ? shortest + (lags - 1 - best) * step : longest, std::sqrt(top / now_energy)};
  return step == 1 ? rough : refine(rough, span);
}

// The best lag nearer to rough.samples than a step, at the full rate.
Side::Period Side::refine(Period rough, size_t span) const {
  const size_t rate = tables_.rate_hz, step = rate / 8000;
  const size_t from = std::max(rate * kShortestMs / 1000, rough.samples - step + 1);
  const size_t to = std::min(std::min(rate * kLongestMs / 1000, filled_ / 2), rough.samples + step - 1);
  const float *now = past_ + filled_ - span, *then = now - to;
  const size_t lags = to - from + 1;  // 2 * 6 - 1 at most
  float likeness[16], energies[16];
  kernel_.correlate_few(likeness, then, now, (span + 3) / 4 * 4, lags);
  slide(kernel_, energies, then, span, lags);
  std::fill_n(likeness + lags, 16 - lags, 0.0f);
  kernel_.normalise(likeness, energies, lags);
  size_t best = lags - 1;
  for (size_t i = lags - 1; i-- > 0;) {
    if (likeness[i] > likeness[best]) best = i;
  }
  return {to - best, rough.voicing};
}

// For linear prediction by the autocorrelation method. False for digital silence.
bool Side::correlate() {
  if (filled_ < tables_.rate_hz * kFewestMs / 1000) return false;
  silence(past_, filled_);
  const std::vector<float> &window = tables_.window;
  const size_t full = window.size(), length = std::min(full, filled_);
  const int order = tables_.order;
  float windowed[kMaxRateHz * 30 / 1000 + kSlack];
  const float *from = past_ + filled_ - length;
  if (length == full) {
    kernel_.multiply(windowed, from, window.data(), length);
  } else {
    for (size_t i = 0; i < length; ++i) windowed[i] = from[i] * window[(2 * i + 1) * full / (2 * length)];
  }
  silence(windowed, length);
  float *r = autocorrelation_;
  kernel_.autocorrelate(r, windowed, length, order);
  if (r[0] <= 0) return false;
  for (int lag = 1; lag <= order; ++lag) r[lag] *= tables_.lag_window[lag];
  // A noise floor of -40 dB and the lag window keep the filter away from the unit circle.
  r[0] = r[0] * 1.0001f + 1.0f;
  return true;
}

void Side::analyse() {
  const Period found = find_period();
  period_ = found.samples;
  const auto order = static_cast<size_t>(tables_.order);
  float reversed[kMaxOrder + 1];
  std::reverse_copy(synthesis_.coefficients, synthesis_.coefficients + order + 1, reversed);
  // A period is at most half of what is known, 5 ms, and longer than the filter.
  kernel_.correlate(excitation_, past_ + filled_ - period_ - order, reversed, order + 1, period_);
  periodic_ = std::clamp(found.voicing / kVoicedFrom, 0.0f, 1.0f);
}

// Of the residuals of sides that are partly noise. Each sum waits for itself, so both run at once.
void Side::level(Side *const *sides, size_t count) {
  if (count == 0) return;
  Side &first = *sides[0], &last = *sides[count - 1];
  float energies[2] = {0, 0};
  size_t i = 0;
  for (; i < std::min(first.period_, last.period_); ++i) {
    energies[0] += first.excitation_[i] * first.excitation_[i];
    energies[1] += last.excitation_[i] * last.excitation_[i];
  }
  for (size_t n = i; n < first.period_; ++n) energies[0] += first.excitation_[n] * first.excitation_[n];
  for (size_t n = i; n < last.period_; ++n) energies[1] += last.excitation_[n] * last.excitation_[n];
  for (size_t s = 0; s < count; ++s) {
    const float periodic = sides[s]->periodic_;
    // Uniform noise in [-1, 1) has a variance of 1/3.
    sides[s]->noise_ =
        std::sqrt(3 * (1 - periodic * periodic) * energies[s] / static_cast<float>(sides[s]->period_));
  }
}

void Side::go_on(uint32_t seed, size_t count) {
  Synthesis &synthesis = synthesis_;
  synthesis.y = memory_ + kMemory;
  synthesis.order = tables_.order;
  for (size_t j = 1; j <= kMemory; ++j) synthesis.y[-static_cast<ptrdiff_t>(j)] = past_[filled_ - j];
  for (size_t at = 0; at < count; at += period_) {
    std::copy_n(excitation_, std::min(period_, count - at), synthesis.y + at);
  }
  std::fill_n(synthesis.y + count, kStep, 0.0f);
  if (periodic_ < 1) {
    kernel_.excite(synthesis.y, periodic_, noise_, seed, count);
  }
}

// Two sides draw different noise.
constexpr uint32_t kOtherSide = 0x9e3779b9u;

}  // namespace

Concealer::Concealer(int sample_rate_hz, cr_isa isa)
    : kernel_(conceal_kernel(isa)),
      tables_(conceal_tables(
          static_cast<size_t>(std::clamp(sample_rate_hz, 8000, static_cast<int>(kMaxRateHz))))) {
  if (kernel_ == nullptr) {
    kernel_ = conceal_kernel(CR_ISA_SCALAR);
  }
}

bool Concealer::bridge(const Surroundings &around, uint32_t seed, int16_t *pcm, size_t count) const {
  const size_t length = std::min(count, tables_->sag.size());
  Side left(*kernel_, *tables_), right(*kernel_, *tables_);
  Side *sides[2] = {}, *noisy[2] = {};
  Synthesis *sounds[2] = {};
  const float *autocorrelations[2] = {};
  size_t sound_count = 0, noisy_count = 0;
  const bool has_left = length > 0 && left.before(around.before, around.before_count);
  const bool has_right = length > 0 && right.after(around.after, around.after_count);
  if (has_left) sides[sound_count++] = &left;
  if (has_right) sides[sound_count++] = &right;
  for (size_t i = 0; i < sound_count; ++i) {
    sounds[i] = sides[i]->synthesis();
    autocorrelations[i] = sides[i]->autocorrelation();
  }
  kernel_->predict(sounds, autocorrelations, sound_count, tables_->order);
  for (size_t i = 0; i < sound_count; ++i) {
    sides[i]->analyse();
    if (sides[i]->noisy()) noisy[noisy_count++] = sides[i];
  }
  Side::level(noisy, noisy_count);
  if (has_left) left.go_on(seed, length);
  if (has_right) right.go_on(seed ^ kOtherSide, length);
  kernel_->synthesise(sounds, sound_count, length);
  if (has_left && has_right) {
    kernel_->cross_fade(pcm, left.sound(), right.sound(), tables_->sag.data(), length);
    std::fill(pcm + length, pcm + count, int16_t{0});
    return true;
  }
  std::fill_n(pcm, count, int16_t{0});
  const size_t heard = std::min(length, tables_->fade.size());
  if (has_left) kernel_->fade(pcm, left.sound(), tables_->fade.data(), heard);
  if (has_right) {
    int16_t *from = pcm + length - heard;
    kernel_->fade(from, right.sound(), tables_->fade.data(), heard);
    kernel_->reverse(from, heard);
  }
  return has_left || has_right;
}

}  // namespace callreplay
