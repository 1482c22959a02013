// Voice activity from the energies of eight bands against their own noise floors, ten milliseconds at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "callreplay/speech.h"
#include "speech/bank.h"

namespace callreplay {

using Bands = std::array<float, kBands>;

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
  // Samples that are `stride` apart: one channel of several.
  void write(const int16_t *pcm, size_t count, size_t stride);
  // What `write` makes of the first two channels of several, one's and the other's, in less time.
  static void write(SpeechDetector &one, SpeechDetector &two, const int16_t *pcm, size_t count,
                    size_t stride);
  void finish();
  size_t take(cr_talk *talk, size_t capacity);
  // No talk that is handed out later begins before this sample.
  int64_t settled() const;

 private:
  size_t frame_length() const { return static_cast<size_t>(sample_of(frame_ + 1) - sample_of(frame_)); }
  void take_frame(const int16_t *pcm, size_t length, size_t stride);
  void hear(const BankStream &stream, size_t count);
  void decide(bool loud, bool audible, float level_db);
  void begin();
  void end(int64_t frame);
  int64_t sample_of(int64_t frame) const { return frame * rate_hz_ / 100; }
  double energy_before(int64_t frame) const { return past_[static_cast<size_t>(frame) % kPast]; }

  static constexpr size_t kPast = 128;  // frames whose summed energy is kept; more than any wait below

  int64_t rate_hz_;
  BankLaw law_;
  BankState filters_;
  const BankKernel *kernel_;
  NoiseFloor floor_;
  std::array<int16_t, kLongestFrame + 1>
      part_{};  // of a frame: filters take whole ones, wherever blocks are cut
  size_t have_ = 0;
  double sum_ = 0;                    // squares of all whole frames so far
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
