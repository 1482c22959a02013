// Voice activity from the energies of eight bands against their own noise floors, ten milliseconds at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "callreplay/speech.h"

namespace callreplay {

constexpr size_t kBands = 8;
using Bands = std::array<float, kBands>;

// Second-order band-pass filters, one per band, side by side so that one instruction serves several.
class FilterBank8 {
 public:
  explicit FilterBank8(int32_t rate_hz);
  // Energy that `count` samples leave in each band, added to `energy`.
  void run(const int16_t *pcm, size_t count, Bands &energy);

 private:
  Bands gain_, a1_, a2_;
  Bands s1_{}, s2_{};
};

// The level that a band falls to again and again: the least of the last two seconds, in decibels.
class NoiseFloor {
 public:
  NoiseFloor();
  // The floor under the frame of these levels.
  const Bands &follow(const Bands &level_db);

 private:
  static constexpr size_t kParts = 8;
  Bands smooth_, current_, floor_;
  std::array<Bands, kParts> parts_;
  size_t frames_ = 0, part_ = 0;
};

class SpeechDetector {
 public:
  explicit SpeechDetector(int32_t rate_hz);
  void write(const int16_t *pcm, size_t count);
  void finish();
  size_t take(cr_talk *talk, size_t capacity);

 private:
  void end_frame();
  void decide(bool loud, bool audible, float level_db);
  void begin();
  void end(int64_t frame);
  int64_t sample_of(int64_t frame) const { return frame * rate_hz_ / 100; }
  double energy_before(int64_t frame) const { return past_[static_cast<size_t>(frame) % kPast]; }

  static constexpr size_t kPast = 128;  // frames whose summed energy is kept; more than any wait below

  int64_t rate_hz_;
  FilterBank8 filters_;
  NoiseFloor floor_;
  Bands energy_{};
  double sum_ = 0;                    // squares of all samples so far
  double frame_sum_ = 0;              // and of the frame under way
  int64_t samples_ = 0;               // written
  int64_t frame_ = 0;                 // the frame under way
  std::array<double, kPast> past_{};  // sum_ before each of the last frames
  uint32_t loud_ = 0;                 // the last frames, one bit each
  bool talking_ = false;
  int64_t start_ = 0;  // frame
  double before_ = 0;  // sum_ there
  int64_t free_ = 0;   // the frame after what was handed out last
  int64_t last_ = 0;   // the last frame that was audible
  // Levels of the stretch under way, to tell speech from what does not change.
  double level_sum_ = 0, level_squares_ = 0;
  int64_t levels_ = 0;
  std::vector<cr_talk> done_;
  size_t taken_ = 0;
};

}  // namespace callreplay
