// Which sub-mode a frame gets: fixed by quality, or by what the frame holds (variable bit rate, voice
// activity, discontinuous transmission).
#pragma once

#include "encode/speex/kernel.h"
#include "encode/speex/modes.h"

namespace callreplay::speex {

struct RateOptions {
  bool wideband;
  int quality;  // 0..10
  bool vbr;
  bool vad;  // noise is coded by the noise vocoder
  bool dtx;  // and only where it changes; without VBR it implies VAD

  // The same sub-modes in every frame.
  bool constant() const { return !vbr && !vad && !dtx; }
};

struct FrameMode {
  int low = 0;
  int high = 0;
  bool dtx_hint = false;

  bool operator==(const FrameMode &) const = default;
};

FrameMode constant_mode(const RateOptions &options);

// What the choice remembers of a stream.
class RateControl {
 public:
  // The features must hold the open-loop voicing.
  FrameMode choose(const RateOptions &options, const FrameFeatures &frame);

 private:
  float score(const FrameFeatures &frame);
  float noise_penalty(float log_energy, float voicing);
  int keep_silent(const RateOptions &options, const FrameFeatures &frame);

  float last_log_energy_ = 0.0f;
  float mean_log_energy_ = 0.0f;
  float noise_log_energy_ = 0.0f;
  float smooth_voicing_ = 0.0f;
  float last_score_ = 7.0f;
  int noise_run_ = 0;
  int silent_run_ = 0;
  bool started_ = false;
  float sent_lsp_[10] = {};
};

// ln(x) of a positive normal number, error below 1e-5: the same bits on every machine, which libm
// does not promise.
float natural_log(float x);

}  // namespace callreplay::speex
