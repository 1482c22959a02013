// The walk over one span: which octets are decoded to which samples, and what fills the gaps.
//
// A round has three acts. plan() walks the packets up to a budget of samples and lays out segments; the
// conveyor runs the kernels (G.711 and L16 are decoded in plan() itself, for they have no state); finish()
// conceals and adds noise, in order. Nothing is allocated after open(). Where a round ends depends on the
// budget, but no packet, loss or frame is ever split by it unless it alone exceeds the budget, so the samples
// do not depend on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "callreplay/decode.h"
#include "decode/conceal.h"
#include "decode/kernels.h"
#include "decode/noise/comfort_noise.h"

namespace callreplay {

// After these the decoder gives silence, so that a hold of an hour is not an hour of made-up sound.
constexpr int kConcealMs = 60;              // the waveform concealer's reach (conceal.h)
constexpr int kEraseMs = 1000;              // G.729's own: its gains have decayed by then
constexpr int kComfortNoiseMs = 60 * 1000;  // since the last packet or update

struct Segment {
  int64_t first;  // sample of the span
  uint32_t pcm;   // offset into samples()
  uint32_t count;
  uint32_t head;  // samples of its first packet
  uint8_t kind;   // cr_chunk_kind
  bool fresh;     // silence came before it: nothing to continue from
};

struct FramePlan {
  G729Frame frame;
  uint32_t pcm;  // where its kept samples go
  uint8_t skip;  // samples dropped from its front
  uint8_t keep;  // samples kept after them
};

class SpanCursor {
 public:
  // `leg` is checked and outlives the cursor; `budget` is the samples per round. Starts at the first packet
  // that matters for sample `from` (warm-up included, see mix.h); chunks before `from` may come all the same.
  // Stops at sample `to`.
  void open(const cr_leg &leg, size_t span, uint32_t budget, const G711Kernel &g711, int64_t from,
            int64_t to);

  bool done() const { return done_; }

  // Lay out the next round. False when the span has ended and nothing was planned.
  bool plan();

  // What the kernels have to do between plan() and finish(). G.722: one run of octets for the whole round,
  // decoded to samples()[0] on. G.729: frames in order, each to its own place.
  const std::vector<uint8_t> &octets() const { return octets_; }
  const std::vector<FramePlan> &frames() const { return frames_; }
  int16_t *samples() { return pcm_.data(); }

  // Conceal and count. The segments stand until the next plan().
  void finish();
  const std::vector<Segment> &segments() const { return segments_; }

  const cr_span &span() const { return *span_; }
  const cr_leg_counts &counts() const { return counts_; }

 private:
  struct Piece {
    int64_t end;  // sample
    uint8_t reason;
  };

  void start_at(int64_t from);
  int64_t row_sample(int64_t row) const;
  const uint8_t *payload(int64_t row) const;
  uint8_t unexplained() const;
  Piece gap_piece(int64_t end);
  bool fill_gap(int64_t end);
  bool fill_noise(int64_t end);
  bool fill_waveform(const Piece &piece);
  bool fill_frames(const Piece &piece);
  void take_noise_row();
  bool take_waveform_row();
  bool take_frame_row();
  bool take_external();
  bool add_frame(const G729Frame &frame, uint32_t skip, uint32_t keep, uint8_t kind);
  bool fits(int64_t count) const { return used_ + count <= budget_ || used_ == 0; }
  int16_t *append(uint32_t count, uint8_t kind);
  void skip_to(int64_t sample);
  void decode_direct(const uint8_t *octets, int16_t *pcm, uint32_t count) const;
  void decode_channels(const uint8_t *octets, int16_t *pcm, uint32_t count) const;
  int64_t in_ms(int ms) const { return int64_t{ms} * span_->sample_rate_hz / 1000; }
  bool framed() const { return span_->codec == CR_CODEC_G729; }

  const cr_leg *leg_ = nullptr;
  const cr_span *span_ = nullptr;
  const G711Kernel *g711_ = nullptr;
  int32_t span_index_ = 0;
  int64_t row_ = 0;
  int64_t position_ = 0;     // everything before this sample is settled
  int64_t end_ = 0;          // of the span
  int64_t to_ = 0;           // of what is wanted
  int64_t gained_ = 0;       // end of what was last received: concealment and noise are capped from there
  size_t gap_ = 0;           // first row of the gap table that may still matter
  int64_t frame_index_ = 0;  // frames of the row that are done
  uint32_t budget_ = 0;
  uint32_t used_ = 0;  // samples planned in this round
  uint32_t decoded_used_ =
      0;  // of them, those of the codec; they lie at the front of pcm_, the others behind budget_
  bool done_ = true;
  bool begun_ = false;       // a part of the row is decoded
  bool noise_ = false;       // RFC 3389 noise runs
  bool last_noise_ = false;  // G.729: the last frame was SID or untransmitted
  bool started_ = false;     // something was received
  bool fresh_ = true;        // the next segment follows silence
  bool after_loss_ = false;  // the concealer's last stretch was a loss
  std::optional<Concealer> concealer_;
  ComfortNoise generator_;
  std::vector<int16_t> pcm_;
  std::vector<uint8_t> octets_;
  std::vector<FramePlan> frames_;
  std::vector<Segment> segments_;
  cr_leg_counts counts_{};
};

}  // namespace callreplay
