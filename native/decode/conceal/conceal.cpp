#include "decode/conceal.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "decode/conceal/kernels.h"
#include "decode/conceal/tables.h"

// The figures below and those of the tables were chosen by bench/concealment.py (docs/concealment.md
// has the scores).

namespace callreplay {

namespace {

constexpr size_t kShortestMs = 4, kLongestMs = 18;  // what is repeated: at least one period of any voice
constexpr size_t kTemplateMs = 7;                   // what a period must match
constexpr size_t kHeardMs = 30;      // of the context this is looked at: the window of the prediction
constexpr size_t kFewestMs = 10;     // with less than this of a side it is not known
constexpr float kVoicedFrom = 0.4f;  // normalised correlation
constexpr size_t kMaxRateHz = 48000;
constexpr size_t kMaxHeard = kMaxRateHz * kHeardMs / 1000;
constexpr size_t kMaxPeriod = kMaxRateHz * kLongestMs / 1000;
constexpr size_t kMaxBridge = kMaxRateHz * kBridgedMs / 1000 + kMaxRateHz * 4 / 1000 + 1;

// Pairs of some samples, and of zeros behind them up to the next multiple of 64 of a span.
constexpr size_t kBehind = 64;

// The sound of one side, going on into the loss.
class Side {
 public:
  Side(const ConcealKernel &kernel, const ConcealTables &tables) : kernel_(kernel), tables_(tables) {}

  // The side before a loss, or (reversed) the one after it. False when it says nothing. Then the kernel predicts.
  bool before(const int16_t *pcm, size_t count);
  bool after(const int16_t *pcm, size_t count);
  const float *autocorrelation() const { return autocorrelation_; }
  Synthesis *synthesis() { return &synthesis_; }
  Search *search() { return &search_; }

  // What is repeated, and how loud the noise is.
  void analyse();

  // What drives the sound of `count` samples; the kernel makes it.
  void go_on(uint32_t seed, size_t count);
  float *sound() { return memory_ + kMemory; }

 private:
  struct Period {
    size_t samples;
    float voicing;  // normalised correlation of the last samples with those a period before
  };

  void hear(size_t count);
  bool correlate();
  void set_out();
  void level();
  Period find_period();
  Period refine(Period rough);
  const int16_t *end() const { return pcm_ + heard_; }

  static constexpr size_t kMemory = 48;  // kMaxOrder at least, and the sound behind it begins a line

  const ConcealKernel &kernel_;
  const ConcealTables &tables_;
  size_t known_ = 0;                // samples of this side,
  size_t heard_ = 0;                // of which so many are in pcm_ and past_
  size_t period_ = 0;               // samples of excitation_ in use
  float periodic_ = 0, noise_ = 0;  // gains of the repeated residual and of noise in its place
  size_t longest_ = 0;              // lag
  Search search_;
  Synthesis synthesis_;
  float autocorrelation_[kMaxOrder + 1];
  alignas(64) int32_t earlier_[2 * kMostPairs];        // pairs of what was then,
  alignas(64) int32_t sampled_[kMostPairs];            // and of what is now, unless that is a part of it
  const int16_t *pcm_ = nullptr;                       // nearest to the loss last
  alignas(64) int16_t reversed_[kMaxHeard];            // of the side after it
  alignas(64) float past_[kMaxHeard + kSlack];         // the same
  alignas(64) float excitation_[kMaxPeriod + kSlack];  // residual of the last period, oldest first
  alignas(64) float memory_[kMemory + kMaxBridge + kSlack];
};

void Side::hear(size_t count) {
  known_ = std::min(count, tables_.rate_hz * kContextMs / 1000);
  heard_ = std::min(known_, tables_.window.size());
}

bool Side::before(const int16_t *pcm, size_t count) {
  hear(count);
  pcm_ = pcm + count - heard_;
  return correlate();
}

bool Side::after(const int16_t *pcm, size_t count) {
  hear(count);
  kernel_.reverse_copy(reversed_, pcm, heard_);
  pcm_ = reversed_;
  return correlate();
}

void pair_up(const ConcealKernel &kernel, int32_t *z, const int16_t *x, int shift, size_t count) {
  kernel.pair_up(z, x, shift, count - 1);
  z[count - 1] = (x[count - 1] >> shift) & 0xFFFF;  // no sample is behind it
  std::fill(z + count, z + (count + kBehind + 15) / 16 * 16, 0);
}

int shift_for(const ConcealKernel &kernel, const int16_t *x, size_t count, int bits) {
  return std::max(0, kernel.width(x, count) - bits);
}

// The likest of the lags of a search; its likeness over the energies.
Likest likest(const ConcealKernel &kernel, Search &search) {
  alignas(64) int32_t energies[kMostPairs];
  kernel.energies(energies, search.then, search.span, search.count);
  const size_t count = search.count, whole = (count + 15) / 16 * 16;
  std::fill(search.likeness + count, search.likeness + whole, 0);
  std::fill(energies + count, energies + whole, 1);
  Likest found = kernel.likest(search.likeness, energies, count);
  int32_t now_energy[16];
  kernel.energies(now_energy, search.now, search.span, 1);
  found.ratio /= static_cast<float>(now_energy[0]);
  return found;
}

// What is searched for a period. The kernel does it when it predicts.
void Side::set_out() {
  // Of a side of kFewestMs the longest is longer than the shortest, and something is left before it.
  const size_t rate = tables_.rate_hz;
  const size_t longest = longest_ = std::min(rate * kLongestMs / 1000, known_ / 2);
  const size_t shortest = rate * kShortestMs / 1000;
  const size_t span = std::min(rate * kTemplateMs / 1000, known_ - longest);
  // Every 8 kHz or so is enough to tell the candidates apart; the best is refined at the full rate.
  const size_t step = rate / 8000;
  const size_t count = (span + step - 1) / step, lags = (longest - shortest) / step + 1;
  // Both sides at every step-th sample, in less than 16 per ms: then + lags - 1 - k is `shortest` and
  // k steps back.
  const int16_t *now = end() - span, *then = now - shortest - (lags - 1) * step;
  search_.then = earlier_;
  search_.span = count;
  search_.count = lags;
  if (step == 1) {
    const auto samples = static_cast<size_t>(end() - then);
    pair_up(kernel_, earlier_, then, shift_for(kernel_, then, samples, kPitchBits), samples);
    search_.now = earlier_ + (now - then);
  } else {
    const size_t samples = count + lags - 1;
    int16_t picked[2][16 * (kTemplateMs + kLongestMs - kShortestMs)];
    for (size_t i = 0; i < count; ++i) picked[0][i] = now[i * step];
    for (size_t i = 0; i < samples; ++i) picked[1][i] = then[i * step];
    const int shift = std::max(shift_for(kernel_, picked[0], count, kPitchBits),
                               shift_for(kernel_, picked[1], samples, kPitchBits));
    pair_up(kernel_, sampled_, picked[0], shift, count);
    pair_up(kernel_, earlier_, picked[1], shift, samples);
    search_.now = sampled_;
  }
}

// A voice above 250 Hz is repeated in multiples of its period, which sounds less like a buzz than
// one period does.
Side::Period Side::find_period() {
  const size_t rate = tables_.rate_hz, step = rate / 8000;
  const Likest found = likest(kernel_, search_);
  if (found.ratio <= 0) return {longest_, 0};
  const Period rough{rate * kShortestMs / 1000 + (search_.count - 1 - found.at) * step,
                     std::sqrt(found.ratio)};
  return step == 1 ? rough : refine(rough);
}

// The best lag nearer to rough.samples than a step, at the full rate.
Side::Period Side::refine(Period rough) {
  const size_t rate = tables_.rate_hz, step = rate / 8000;
  const size_t span = std::min(rate * kTemplateMs / 1000, known_ - longest_);
  const size_t from = std::max(rate * kShortestMs / 1000, rough.samples - step + 1);
  const size_t to = std::min(longest_, rough.samples + step - 1);
  const int16_t *now = end() - span;
  const size_t lags = to - from + 1;
  const int shift = shift_for(kernel_, now - to, to + span, kFineBits);
  pair_up(kernel_, sampled_, now, shift, span);
  pair_up(kernel_, earlier_, now - to, shift, span + lags - 1);
  search_.now = sampled_;
  search_.span = span;
  search_.count = lags;
  kernel_.correlate(&search_);
  const Likest found = likest(kernel_, search_);
  return {found.ratio > 0 ? to - found.at : rough.samples, rough.voicing};
}

// For linear prediction by the autocorrelation method. False for digital silence.
bool Side::correlate() {
  if (known_ < tables_.rate_hz * kFewestMs / 1000) return false;
  const int order = tables_.order;
  alignas(64) float windowed[kMaxHeard + kSlack];
  if (heard_ == tables_.window.size()) {
    kernel_.window(past_, windowed, pcm_, tables_.window.data(), heard_);
  } else if (heard_ == tables_.packet_window.size()) {
    kernel_.window(past_, windowed, pcm_, tables_.packet_window.data(), heard_);
  } else {
    kernel_.widen(past_, pcm_, heard_);
    shorten_window(tables_.window, heard_, windowed);
    for (size_t i = 0; i < heard_; ++i) windowed[i] *= past_[i];
  }
  std::fill(windowed + heard_, windowed + (heard_ + static_cast<size_t>(order) + 48) / 16 * 16, 0.0f);
  float *r = autocorrelation_;
  // Here, and what was just stored is in the cache by the time it is loaded again.
  set_out();
  kernel_.autocorrelate(r, windowed, heard_, order);
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
  kernel_.filter(excitation_, past_ + heard_ - period_ - order, reversed, order + 1, period_);
  periodic_ = std::clamp(found.voicing / kVoicedFrom, 0.0f, 1.0f);
  if (periodic_ < 1) level();
}

// Of the residual of a side that is partly noise.
void Side::level() {
  std::fill(excitation_ + period_, excitation_ + (period_ + 15) / 16 * 16, 0.0f);
  const float energy = kernel_.energy(excitation_, period_);
  // Uniform noise in [-1, 1) has a variance of 1/3.
  noise_ = std::sqrt(3 * (1 - periodic_ * periodic_) * energy / static_cast<float>(period_));
}

void Side::go_on(uint32_t seed, size_t count) {
  Synthesis &synthesis = synthesis_;
  synthesis.y = memory_ + kMemory;
  std::copy_n(past_ + heard_ - kMemory, kMemory, memory_);
  kernel_.repeat(synthesis.y, excitation_, period_, count);
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
  Side *sides[2] = {};
  Synthesis *sounds[2] = {};
  Search *searches[2] = {};
  const float *autocorrelations[2] = {};
  size_t sound_count = 0;
  const bool has_left = length > 0 && left.before(around.before, around.before_count);
  const bool has_right = length > 0 && right.after(around.after, around.after_count);
  if (has_left) sides[sound_count++] = &left;
  if (has_right) sides[sound_count++] = &right;
  for (size_t i = 0; i < sound_count; ++i) {
    sounds[i] = sides[i]->synthesis();
    searches[i] = sides[i]->search();
    autocorrelations[i] = sides[i]->autocorrelation();
  }
  kernel_->predict(sounds, autocorrelations, searches, sound_count, tables_->order);
  for (size_t i = 0; i < sound_count; ++i) sides[i]->analyse();
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
