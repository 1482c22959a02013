#include "speech/detector.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace callreplay {
namespace {

// What a band is worth: voices are strongest and most regular between 300 and 2500 Hz.
constexpr float kWeight[kBands] = {0.08f, 0.13f, 0.16f, 0.16f, 0.15f, 0.13f, 0.11f, 0.08f};

// Decibels over one quantisation step squared; full scale is 90.3.
constexpr float kQuietest_db = 12.0f;    // below this a band counts as empty: dither, A-law's idle
constexpr float kFirstFloor_db = 30.0f;  // before two seconds are heard no floor is higher: -60 dBFS
constexpr float kLeastLevel_db = 33.0f;  // a frame below it is never talk: -57 dBFS
constexpr float kMargin_db = 5.0f;       // what a minimum lies below the mean of the noise it came from
constexpr float kBandLimit_db = 18.0f;   // one band alone cannot decide
constexpr float kLoud = 3.4f, kAudible = 2.2f;  // weighted decibels above the floors: to begin, and to go on

constexpr int kNeeded = 4;  // loud frames of the last six to begin
constexpr uint32_t kLast = 0x3f;
constexpr int64_t kLead = 3;        // frames before the first loud one that belong to it
constexpr int64_t kWait = 30;       // 300 ms without an audible frame end a stretch
constexpr int64_t kTail = 4;        // frames after the last audible one that belong to it
constexpr int64_t kShortest = 12;   // clicks are shorter
constexpr double kSteady_db = 1.2;  // standard deviation of level; tones and machines stay below
constexpr size_t kPartFrames = 25;

// Ten times the logarithm to base ten, by that to base two, which takes a quarter of the time.
float decibels(float power) {
  return 3.01029996f * std::log2(power);
}

}  // namespace

NoiseFloor::NoiseFloor() {
  smooth_.fill(kFirstFloor_db);
  current_.fill(kFirstFloor_db);
  floor_.fill(kFirstFloor_db);
  parts_.fill(floor_);
}

const Bands &NoiseFloor::follow(const Bands &level_db) {
  for (size_t band = 0; band < kBands; ++band) {
    smooth_[band] += 0.3f * (level_db[band] - smooth_[band]);
    current_[band] = std::min(current_[band], smooth_[band]);
    floor_[band] = std::min(floor_[band], current_[band]);
  }
  if (++frames_ % kPartFrames == 0) {
    parts_[part_] = current_;
    part_ = (part_ + 1) % kParts;
    current_ = smooth_;
    floor_ = smooth_;
    for (const Bands &part : parts_) {
      for (size_t band = 0; band < kBands; ++band) {
        floor_[band] = std::min(floor_[band], part[band]);
      }
    }
  }
  return floor_;
}

SpeechDetector::SpeechDetector(int32_t rate_hz)
    : rate_hz_(rate_hz), law_(rate_hz), kernel_(bank_kernel(cr_isa_active())) {}

void SpeechDetector::write(const int16_t *pcm, size_t count, size_t stride) {
  while (count > 0) {
    const size_t length = frame_length();
    const bool whole = have_ == 0 && count >= length;
    const size_t now = whole ? length : std::min(length - have_, count);
    if (whole) {
      take_frame(pcm, length, stride);
    } else {
      for (size_t n = 0; n < now; ++n) {
        part_[have_ + n] = pcm[n * stride];
      }
      have_ += now;
      if (have_ == length) {
        have_ = 0;
        take_frame(part_.data(), length, 1);
      }
    }
    pcm += now * stride;
    count -= now;
  }
}

void SpeechDetector::write(SpeechDetector &one, SpeechDetector &two, const int16_t *pcm, size_t count,
                           size_t stride) {
  const bool together = one.rate_hz_ == two.rate_hz_ && one.frame_ == two.frame_ && one.have_ == two.have_;
  while (count > 0) {
    const size_t length = one.frame_length();
    size_t now = count;
    if (together && one.have_ == 0 && count >= length) {
      now = length;
      BankStream streams[] = {{&one.filters_, pcm, {}, 0}, {&two.filters_, pcm + 1, {}, 0}};
      one.kernel_->two(one.law_, streams, stride, length);
      one.hear(streams[0], length);
      two.hear(streams[1], length);
    } else {
      if (together) {
        now = std::min(length - one.have_, count);
      }
      one.write(pcm, now, stride);
      two.write(pcm + 1, now, stride);
    }
    pcm += now * stride;
    count -= now;
  }
}

void SpeechDetector::take_frame(const int16_t *pcm, size_t count, size_t stride) {
  BankStream stream = {&filters_, pcm, {}, 0};
  kernel_->one(law_, &stream, stride, count);
  hear(stream, count);
}

void SpeechDetector::hear(const BankStream &stream, size_t count) {
  Bands level_db;
  for (size_t band = 0; band < kBands; ++band) {
    level_db[band] = std::max(kQuietest_db, stream.level_db[band]);
  }
  const Bands &floor = floor_.follow(level_db);
  float above = 0;
  for (size_t band = 0; band < kBands; ++band) {
    above += kWeight[band] * std::clamp(level_db[band] - floor[band] - kMargin_db, 0.0f, kBandLimit_db);
  }
  const float level = decibels(static_cast<float>(stream.squares) / static_cast<float>(count) + 1.0f);
  past_[static_cast<size_t>(frame_) % kPast] = sum_;
  sum_ += static_cast<double>(stream.squares);
  const bool heard = level >= kLeastLevel_db;
  decide(heard && above >= kLoud, heard && above >= kAudible, level);
  ++frame_;
}

void SpeechDetector::decide(bool loud, bool audible, float level_db) {
  loud_ = loud_ << 1 | (loud ? 1u : 0u);
  if (!talking_ && std::popcount(loud_ & kLast) >= kNeeded) {
    begin();
  }
  if (!talking_) {
    return;
  }
  if (audible) {
    last_ = frame_;
    level_sum_ += level_db;
    level_squares_ += static_cast<double>(level_db) * level_db;
    ++levels_;
  } else if (frame_ - last_ >= kWait) {
    end(last_ + 1 + kTail);
  }
}

void SpeechDetector::begin() {
  const auto first = static_cast<int64_t>(std::bit_width(loud_ & kLast)) - 1;  // frames ago
  start_ = std::max(free_, frame_ - first - kLead);
  before_ = energy_before(start_);
  talking_ = true;
  level_sum_ = level_squares_ = 0;
  levels_ = 0;
}

void SpeechDetector::end(int64_t frame) {
  talking_ = false;
  loud_ = 0;
  const int64_t stop = std::min(frame, frame_);
  const double mean = level_sum_ / static_cast<double>(std::max<int64_t>(levels_, 1));
  const double spread = level_squares_ / static_cast<double>(std::max<int64_t>(levels_, 1)) - mean * mean;
  if (stop - start_ < kShortest || spread < kSteady_db * kSteady_db) {
    return;
  }
  const double energy = (stop == frame_ ? sum_ : energy_before(stop)) - before_;
  free_ = stop;
  done_.push_back({sample_of(start_), sample_of(stop), std::max(energy, 0.0)});
}

int64_t SpeechDetector::settled() const {
  // A stretch that is not begun yet may begin with the frames before the oldest of the last six.
  const int64_t oldest = frame_ - std::bit_width(kLast) - kLead;
  return sample_of(talking_ ? start_ : std::max(free_, std::max<int64_t>(oldest, 0)));
}

void SpeechDetector::finish() {
  if (talking_) {
    end(last_ + 1 + kTail);
  }
}

size_t SpeechDetector::take(cr_talk *talk, size_t capacity) {
  const size_t count = std::min(capacity, done_.size() - taken_);
  std::copy_n(done_.begin() + static_cast<ptrdiff_t>(taken_), count, talk);
  taken_ += count;
  if (taken_ == done_.size()) {
    done_.clear();
    taken_ = 0;
  }
  return count;
}

}  // namespace callreplay
