#include "encode/speex/vbr.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace callreplay::speex {

namespace {

// Below these frame energies (sum of squares over 20 ms) a frame is ever less worth its bits.
constexpr float kFaintEnergies[] = {30000.0f, 10000.0f, 3000.0f};
constexpr float kVoiceScore = 2.0f;  // below it VAD says noise
constexpr float kMovedLsp = 0.05f;   // squared distance that makes the noise worth sending again
constexpr int kLongestSilence = 20;  // frames
constexpr int kNoiseFrames = 3;      // so many in a row are taken for background
constexpr float kNoiseVoicing = 0.3f;
// energy^0.3 within 1.2 of the floor, in the log domain
constexpr float kNoiseMargin = 0.60774f;  // ln(1.2) / 0.3

float threshold(const float (&row)[11], int quality) {
  return row[quality];
}

}  // namespace

float natural_log(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  int exponent = static_cast<int>(bits >> 23) - 127;
  float m = std::bit_cast<float>((bits & 0x7fffffu) | 0x3f800000u);
  if (m > 1.41421356f) {
    m *= 0.5f;
    ++exponent;
  }
  // ln m = 2 artanh(t), t = (m - 1) / (m + 1), |t| < 0.172: the next term of the series is below 1e-7.
  const float t = (m - 1.0f) / (m + 1.0f);
  const float t2 = t * t;
  const float series = 2.0f * t * (1.0f + t2 * (1.0f / 3.0f + t2 * (1.0f / 5.0f + t2 * (1.0f / 7.0f))));
  return static_cast<float>(exponent) * 0.693147181f + series;
}

FrameMode constant_mode(const RateOptions &options) {
  if (options.wideband) {
    return {kQualityLowBand[options.quality], kQualityHighBand[options.quality], false};
  }
  return {kQualityNarrowband[options.quality], 0, false};
}

// Tracks the noise floor; returns what a run of frames near it takes off the score, 0 when this frame
// is not noise.
float RateControl::noise_penalty(float log_energy, float voicing) {
  const bool near_floor = log_energy < noise_log_energy_ + kNoiseMargin;
  if (log_energy < noise_log_energy_) {
    noise_log_energy_ += 0.3f * (log_energy - noise_log_energy_);
  } else {
    // It rises by half a decibel a second in speech, and follows a stationary noise in about a second.
    const float stationary =
        std::abs(log_energy - last_log_energy_) < 0.5f && voicing < kNoiseVoicing ? 0.02f : 0.0f;
    noise_log_energy_ += 0.0025f + stationary * (log_energy - noise_log_energy_);
  }
  if (!near_floor || voicing >= kNoiseVoicing) {
    noise_run_ = 0;
    return 0.0f;
  }
  ++noise_run_;
  return natural_log(3.0f + static_cast<float>(noise_run_)) - natural_log(3.0f);
}

// How much quality the frame needs, -1..10.
float RateControl::score(const FrameFeatures &frame) {
  const float energy = frame.first_half_energy + frame.second_half_energy;
  const float log_energy = natural_log(energy + 1.0f);
  if (!started_) {
    started_ = true;
    last_log_energy_ = mean_log_energy_ = noise_log_energy_ = log_energy;
  }
  float needed = 7.0f;
  for (const float faint : kFaintEnergies) {
    needed -= energy < faint ? 0.7f : 0.0f;
  }
  needed += std::clamp(log_energy - last_log_energy_, 0.0f, 5.0f);
  const float above_mean = std::clamp(log_energy - mean_log_energy_, -5.0f, 2.0f);
  needed += above_mean * (above_mean > 0.0f ? 0.6f : 0.5f);
  if (frame.second_half_energy > 1.6f * frame.first_half_energy) {
    needed += 0.5f;
  }
  smooth_voicing_ += 0.4f * (frame.voicing - smooth_voicing_);
  needed += 2.2f * ((frame.voicing - 0.4f) + (smooth_voicing_ - 0.4f));
  if (needed < last_score_) {
    needed = 0.5f * (needed + last_score_);
  }
  needed = std::clamp(needed, 4.0f, 10.0f);
  const float penalty = noise_penalty(log_energy, frame.voicing);
  if (noise_run_ >= kNoiseFrames) {
    needed = 4.0f;
  }
  last_score_ = needed;
  needed -= penalty;
  if (noise_run_ >= kNoiseFrames) {
    for (const float faint : kFaintEnergies) {
      needed -= energy < 2.0f * faint ? 0.5f * penalty : 0.0f;
    }
  }
  last_log_energy_ = log_energy;
  // Silence must not drag the mean to nothing, or every breath would look like an onset.
  mean_log_energy_ += 0.02f * (std::max(log_energy, 9.0f) - mean_log_energy_);
  return std::clamp(needed, -1.0f, 10.0f);
}

// The sub-mode of a frame that is judged to be silence or noise.
int RateControl::keep_silent(const RateOptions &options, const FrameFeatures &frame) {
  float moved = 0.0f;
  for (int i = 0; i < 10; ++i) {
    const float d = frame.lsp[i] - sent_lsp_[i];
    moved += d * d;
  }
  if (options.dtx && silent_run_ > 0 && silent_run_ <= kLongestSilence && moved <= kMovedLsp) {
    ++silent_run_;
    return kSilence;
  }
  silent_run_ = 1;
  std::copy_n(frame.lsp, 10, sent_lsp_);
  return kNoise;
}

FrameMode RateControl::choose(const RateOptions &options, const FrameFeatures &frame) {
  float needed = score(frame);
  FrameMode mode = constant_mode(options);
  if (options.vbr) {
    if (options.wideband) {
      const float balance = 2.0f * (natural_log(1.0f + frame.high_rms) - natural_log(1.0f + frame.low_rms));
      const float high_needed = needed + std::clamp(balance, -4.0f, 2.0f) + 2.0f;
      for (mode.high = kHighbandModes - 1; mode.high > 0; --mode.high) {
        if (threshold(kVbrHbThreshold[mode.high], options.quality) <= high_needed) {
          break;
        }
      }
    }
    mode.low = kSilence;
    float nearest = -100.0f;
    for (int m = 1; m < kNarrowbandModes; ++m) {
      const float limit = threshold(kVbrNbThreshold[m], options.quality);
      if (limit <= needed && limit > nearest) {
        nearest = limit;
        mode.low = m;
      }
    }
  }
  const bool quiet = options.vbr ? mode.low == kSilence : needed < kVoiceScore;
  if (!quiet) {
    silent_run_ = 0;
    return mode;
  }
  mode.low = keep_silent(options, frame);
  mode.high = mode.low == kSilence || !options.wideband ? 0 : 1;
  mode.dtx_hint = options.dtx && mode.low == kNoise;
  return mode;
}

}  // namespace callreplay::speex
