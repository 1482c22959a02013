// The walk over one span: which octets are decoded to which samples, and what fills the gaps.
//
// A round has three acts. plan() walks the packets up to a budget of samples and lays out segments; the
// conveyor runs the kernels (G.711 and L16 are decoded in plan() itself, for they have no state); finish()
// conceals, in order. Nothing is allocated after open(). Where a round ends depends on the budget, but no
// loss or frame is ever split by it, and no packet unless it alone exceeds the budget, so the samples do not
// depend on it.
//
// A recording knows what came after a loss: concealment looks at what is behind it. Waveform codecs without a
// state are decoded from there at once; a round of the others goes on, beyond its budget, until so much
// behind a loss is planned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "callreplay/decode.h"
#include "decode/conceal.h"
#include "decode/kernels.h"
#include "decode/leg/leg.h"
#include "decode/noise/comfort_noise.h"

namespace callreplay {

// After these the decoder gives silence, so that a hold of an hour is not an hour of made-up sound. For how
// long the sound of a waveform codec is made up says conceal.h.
constexpr int kEraseMs = 1000;              // G.729's own: its gains have decayed by then
constexpr int kComfortNoiseMs = 60 * 1000;  // since the last packet or update

struct Segment {
  int64_t first;  // sample of the span
  uint32_t pcm;   // offset into samples()
  uint32_t count;
  uint8_t kind;  // cr_chunk_kind
  bool fresh;    // silence came before it: nothing to continue from
  // Of a loss that Concealer::bridge() fills: from which sides, and the row that ends it.
  bool from_before, from_after;
  int64_t row;  // EXTERNAL: a row of the gap table instead, not behind the loss
};

struct FramePlan {
  G729Frame frame;
  uint32_t pcm;        // where its kept samples go
  uint8_t skip;        // samples dropped from its front
  uint8_t keep;        // samples kept after them
  bool erased_speech;  // concealment draws random numbers for it
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

  // What the kernels have to do between plan() and finish(). G.722: one run of octets for the whole
  // round, decoded to samples()[0] on. G.726: the same of codes, one an octet. G.729: frames in order,
  // each to its own place.
  const std::vector<uint8_t> &octets() const { return octets_; }
  const std::vector<FramePlan> &frames() const { return frames_; }
  int16_t *samples() { return pcm_.data(); }

  // Whether kernels work for it that take several streams at once.
  bool in_lanes() const { return adaptive() || framed(); }

  // What the streams of one group of a kernel share.
  int mode() const { return span_->codec == CR_CODEC_G726 ? code_bits(*span_) : span_->mode; }

  // G.729: of the generator of concealment when the first frame of this cursor is decoded.
  uint16_t erasure_seed() const { return erasure_seed_; }

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
  void recall();
  void skip_frames();
  void remember_frame(const FramePlan &plan);
  void take_recent(size_t from);
  void end_prelude();
  size_t first_gap() const;
  int64_t row_sample(int64_t row) const;
  const uint8_t *payload(int64_t row) const;
  uint8_t unexplained() const;
  bool gap_here(size_t gap) const { return gap < leg_->gap_count && leg_->gap_span[gap] == span_index_; }
  int64_t gap_start(size_t gap) const { return tick_to_sample(*span_, leg_->gap_start[gap]); }
  int64_t gap_end(size_t gap) const {
    return tick_to_sample(*span_, leg_->gap_start[gap] + leg_->gap_ticks[gap]);
  }
  Surroundings around(size_t index, int16_t *after) const;
  void bridge(size_t index);
  bool bridgeable(size_t index) const;
  Piece gap_piece(int64_t end);
  bool fill_gap(int64_t end);
  bool fill_noise(int64_t end);
  bool fill_pause(int64_t end);
  bool fill_loss(int64_t end);
  int64_t loss_end(int64_t end) const;
  bool put_loss(int64_t first, int64_t end, bool from_before, bool from_after);
  bool fill_frames(const Piece &piece);
  void take_noise_row();
  void fetch_ahead() const;
  bool take_waveform_row();
  bool take_frame_row();
  bool take_external();
  bool add_frame(const G729Frame &frame, uint32_t skip, uint32_t keep, uint8_t kind);
  size_t peek(const Segment &loss, int16_t *pcm, size_t room) const;
  void remember(const int16_t *pcm, size_t count);
  bool fits(int64_t count) const { return used_ + count <= budget_ || used_ == 0 || awaited_ > 0; }
  // A codec whose losses are bridged when their surroundings are decoded.
  bool looks_ahead() const { return adaptive() || (framed() && span_->mode == CR_G729_BRIDGED); }
  int16_t *append(uint32_t count, uint8_t kind);
  void skip_to(int64_t sample);
  void take_octets(const uint8_t *octets, int64_t first, uint32_t count);
  void decode_direct(const uint8_t *octets, int16_t *pcm, uint32_t count) const;
  void decode_channels(const uint8_t *octets, int16_t *pcm, uint32_t count) const;
  int64_t in_ms(int ms) const { return int64_t{ms} * span_->sample_rate_hz / 1000; }
  bool external() const { return span_->codec == CR_CODEC_EXTERNAL; }
  bool framed() const { return span_->codec == CR_CODEC_G729; }
  // A waveform codec with a state: its octets are decoded in lanes.
  bool adaptive() const { return span_->codec == CR_CODEC_G722 || span_->codec == CR_CODEC_G726; }

  const cr_leg *leg_ = nullptr;
  const cr_span *span_ = nullptr;
  const G711Kernel *g711_ = nullptr;
  int32_t span_index_ = 0;
  int32_t bits_ = 8;  // sample_bits()
  int64_t row_ = 0;
  int64_t position_ = 0;     // everything before this sample is settled
  int64_t end_ = 0;          // of the span
  int64_t to_ = 0;           // of what is wanted
  int64_t gained_ = 0;       // end of what was last received: concealment and noise are capped from there
  size_t gap_ = 0;           // first row of the gap table that may still matter
  int64_t frame_index_ = 0;  // frames of the row that are done
  uint32_t budget_ = 0;
  uint32_t used_ = 0;        // samples planned in this round
  uint32_t codec_room_ = 0;  // of pcm_, at its front
  uint32_t decoded_used_ =
      0;  // of them, those of the codec; they lie at the front of pcm_, the others behind budget_
  int64_t awaited_ = 0;  // samples that must still come into this round for the sake of a loss in it
  bool done_ = true;
  bool begun_ = false;        // a part of the row is decoded
  bool noise_ = false;        // RFC 3389 noise runs
  bool last_noise_ = false;   // G.729: the last frame was SID or untransmitted
  bool started_ = false;      // something was received
  bool fresh_ = true;         // the next segment follows silence
  int64_t lost_until_ = -1;   // where the last loss ended
  int64_t lost_from_ = 0;     // and where it began,
  bool lost_before_ = false;  // right behind what was received
  uint16_t erasure_seed_ = kErasureSeed;
  bool told_noise_ = false;    // G.729: a SID came
  bool skipping_ = false;      // G.729: skip_frames() is at work
  bool erased_ = false;        // G.729: the last frame was lost
  size_t run_ = 0;             // samples received without a break, as far as they matter
  std::vector<int16_t> past_;  // the last of them, oldest first
  Concealer concealer_;
  ComfortNoise generator_;
  std::vector<int16_t> pcm_;
  std::vector<uint8_t> octets_;
  std::vector<FramePlan> frames_;
  // G.729: of what is skipped
  std::vector<FramePlan> recent_;  // the last that move the predictor's memory, in a ring
  std::vector<FramePlan> prelude_;
  FramePlan recalled_{};  // the very last
  size_t recent_count_ = 0, sid_count_ = 0;
  std::vector<Segment> segments_;
  cr_leg_counts counts_{};
};

}  // namespace callreplay
