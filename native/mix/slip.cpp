#include "mix/slip.h"

#include <algorithm>
#include <atomic>
#include <memory>

#include "kept.h"
#include "mix/filter_bank.h"

namespace callreplay {
namespace {

constexpr int64_t kBillion = 1'000'000'000;
constexpr int64_t kHalf = kBillion / 2;

struct GlideTaps {
  static constexpr size_t kTaps = 64;
  std::vector<float> rising, falling;  // of a step forward, and of one back
};

// The filters of a glide: its n-th output lies step((n + 1/2) / length) further than a copy would, where
// step(t) = t^2 (3 - 2t) goes from 0 to 1 without a corner. Made once.
const GlideTaps &glide_taps(size_t length) {
  static std::atomic<const GlideTaps *> place;
  return kept(place, [length] {
    auto made = std::make_unique<GlideTaps>();
    made->rising.resize(length * GlideTaps::kTaps);
    made->falling.resize(length * GlideTaps::kTaps);
    for (size_t n = 0; n < length; ++n) {
      const double t = (static_cast<double>(n) + 0.5) / static_cast<double>(length);
      const double step = t * t * (3.0 - 2.0 * t);
      make_filter(1, 1, step, made->rising.data() + n * GlideTaps::kTaps);
      make_filter(1, 1, 1.0 - step, made->falling.data() + n * GlideTaps::kTaps);
    }
    return std::unique_ptr<const GlideTaps>(std::move(made));
  });
}

}  // namespace

Slip::Slip(const MixKernel &kernel, int64_t drift_ppb)
    : kernel_(kernel), ppb_(drift_ppb < 0 ? -drift_ppb : drift_ppb), sign_(drift_ppb < 0 ? -1 : 1) {
  glide_taps(kGlide);
  input_.reserve(static_cast<size_t>(kGlide + 2 * kReach + 1));
  output_.reserve(static_cast<size_t>(kGlide + kReach));
  wide_.resize(static_cast<size_t>(kGlide + 2 * kReach + 1));
  sums_.resize(static_cast<size_t>(kGlide));
}

// Glide `number` (from 1) is centred where the clock is number - 1/2 samples off.
int64_t Slip::glide_start(int64_t number) const {
  return (number * kBillion - kHalf + ppb_ - 1) / ppb_ - kGlide / 2;
}

void Slip::begin(int64_t sample) {
  running_ = true;
  gliding_ = false;
  next_sample_ = sample;
  std::fill(std::begin(history_), std::end(history_), int16_t{0});
  // The glides that lie behind. sample < 2^38 and ppb < 2^20, so the product fits.
  slips_ = std::max<int64_t>(0, (sample - kGlide) * ppb_ / (kBillion + sign_ * ppb_) - 2);
  while (glide_start(slips_ + 1) + kGlide + sign_ * (slips_ + 1) <= sample) {
    ++slips_;
  }
  start_ = glide_start(slips_ + 1);
  next_output_ = sample - sign_ * slips_;
  if (next_output_ >= start_ && sign_ < 0) {
    ++next_output_;  // a glide back is behind the copy: this is the first output at or after the sample
  }
  approach();
  if (gliding_) {
    // What lies between the glide's first sample and the run's is silence.
    input_.resize(input_.size() + static_cast<size_t>(sample - (start_ + sign_ * slips_)));
  }
}

// Enter the glide where it has come.
void Slip::approach() {
  if (next_output_ < start_) {
    return;
  }
  gliding_ = true;
  input_.assign(std::begin(history_), std::end(history_));
}

size_t Slip::copies() const {
  return gliding_ ? 0 : static_cast<size_t>(start_ - next_output_);
}

void Slip::copied(const int16_t *pcm, size_t count) {
  constexpr auto kKept = static_cast<size_t>(kReach);
  if (count >= kKept) {
    std::copy_n(pcm + count - kKept, kKept, history_);
  } else {
    std::copy(history_ + count, history_ + kKept, history_);
    std::copy_n(pcm, count, history_ + kKept - count);
  }
  next_sample_ += static_cast<int64_t>(count);
  next_output_ += static_cast<int64_t>(count);
  approach();
}

size_t Slip::take(const int16_t *pcm, size_t count) {
  const auto needed = static_cast<size_t>(2 * kReach + kGlide + sign_);
  const size_t taken = std::min(count, needed - input_.size());
  input_.insert(input_.end(), pcm, pcm + taken);
  next_sample_ += static_cast<int64_t>(taken);
  if (input_.size() == needed) {
    glide(kGlide, kReach);
  }
  return taken;
}

// Make outputs up to `outputs` of the glide and `copies` of what follows it.
void Slip::glide(int64_t outputs, int64_t copies) {
  const auto needed = static_cast<size_t>(2 * kReach + kGlide + sign_);
  std::copy_n(input_.end() - std::min<ptrdiff_t>(kReach, static_cast<ptrdiff_t>(input_.size())), kReach,
              history_);
  input_.resize(needed);
  const GlideTaps &taps = glide_taps(kGlide);
  const auto skip = static_cast<size_t>(next_output_ - start_);
  const size_t count = std::max(static_cast<size_t>(outputs), skip) - skip;
  // Tap 0 meets the sample 31 before the copy, and one before that in a glide back.
  const size_t first = skip + (sign_ > 0 ? 1 : 0);
  kernel_.widen(wide_.data(), input_.data(), needed);
  kernel_.dots(sums_.data(), wide_.data() + first,
               (sign_ > 0 ? taps.rising : taps.falling).data() + skip * GlideTaps::kTaps, GlideTaps::kTaps,
               count);
  output_.resize(count + static_cast<size_t>(copies));
  kernel_.round(output_.data(), sums_.data(), count);
  std::copy_n(input_.data() + kReach + kGlide + sign_, copies, output_.data() + count);
  sent_ = 0;
  gliding_ = false;
  ++slips_;
  start_ = glide_start(slips_ + 1);
}

void Slip::end() {
  if (!running_) {
    return;
  }
  running_ = false;
  if (gliding_) {
    // Outputs that lie before the run's end, in the glide and after it.
    const int64_t last = next_sample_ - (start_ + sign_ * slips_);  // samples since the glide's first
    const int64_t outputs = std::clamp<int64_t>(last + (sign_ < 0 ? 1 : 0), 0, kGlide);
    glide(outputs, std::clamp<int64_t>(last - kGlide - sign_, 0, kReach));
  }
}

void Slip::sent(size_t count) {
  sent_ += count;
  next_output_ += static_cast<int64_t>(count);
  if (waiting() == 0) {
    output_.clear();
    sent_ = 0;
    if (running_) {
      approach();
    }
  }
}

}  // namespace callreplay
