#include "decode/leg/cursor.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "decode/g726/codes.h"
#include "decode/leg/leg.h"

namespace callreplay {
namespace {

constexpr int kFrameSamples = 80;  // G.729: 10 ms
constexpr int kFrameOctets = 10;
constexpr int kSidOctets = 2;

// No sender skips less than this on purpose; a smaller hole is a sender's sloppy clock and is
// bridged, not silenced.
constexpr int kBridgeMs = 10;
constexpr uint32_t kMostChannels = 8;  // check_span

// Packets and octets of them.
constexpr int64_t kFetchedAhead = 4;
constexpr uint32_t kFetchedOctets = 320;

// Packets that must be decoded before a sample for it to come out right. Waveform codecs: what the concealer
// remembers and fades, so exact; G.722, G.726 and G.729: their adaptive states have forgotten a wrong start
// after 2 s.
constexpr int kWarmWaveformMs = 250;
constexpr int kWarmStateMs = 2000;

// G.729: frames that a SID's spectrum depends on, and itself. Its predictor looks back by four of them, and
// what is lost among those further.
constexpr size_t kMemoryFrames = 24;

// A decoder with a state comes out of a loss out of step, which a cross-fade hides.
constexpr int kBlendMs = 4;

double overload(int32_t codec) {
  switch (codec) {
    case CR_CODEC_ULAW:
      return 8031.0 * 4;  // RFC 3389 clause 3.1
    case CR_CODEC_ALAW:
      return 4032.0 * 8;
    default:
      return 32767.0;
  }
}

bool is_loss(uint8_t reason) {
  return reason == CR_GAP_LOST || reason == CR_GAP_CAPTURE;
}

// Of the predictor of G.729's spectrum.
bool moves_memory(const FramePlan &plan) {
  return plan.frame.type != G729Frame::kUntransmitted && (!plan.frame.erased || plan.erased_speech);
}

// The noise of a loss depends on where it stands and on nothing else.
uint32_t loss_seed(int64_t first) {
  return static_cast<uint32_t>(static_cast<uint64_t>(first) * 0x9e3779b97f4a7c15u >> 32);
}

}  // namespace

void SpanCursor::open(const cr_leg &leg, size_t span, uint32_t budget, const G711Kernel &g711, int64_t from,
                      int64_t to) {
  leg_ = &leg;
  span_ = &leg.spans[span];
  span_index_ = static_cast<int32_t>(span);
  g711_ = &g711;
  budget_ = std::max(budget, static_cast<uint32_t>(in_ms(kBridgedMs)));
  to_ = to;
  bits_ = sample_bits(*span_);
  end_ = tick_to_sample(*span_, span_->end_tick);
  if (span_->codec == CR_CODEC_EXTERNAL) {
    end_ = std::max(end_, span_->pcm_count);
  }
  used_ = decoded_used_ = 0;
  begun_ = noise_ = last_noise_ = started_ = told_noise_ = erased_ = lost_before_ = false;
  fresh_ = true;
  frame_index_ = 0;
  counts_ = {};
  done_ = false;
  // Beyond the budget goes what is behind a loss, a packet more than it takes.
  codec_room_ =
      looks_ahead() ? 2 * budget_ + static_cast<uint32_t>(in_ms(kBridgedMs + 2 * kContextMs)) : budget_;
  pcm_.resize(size_t{codec_room_} + budget_);
  if (adaptive()) {
    octets_.reserve(span_->codec == CR_CODEC_G722 ? codec_room_ / 2 + 1 : codec_room_);
  } else if (framed()) {
    frames_.reserve(codec_room_ / kFrameSamples * 3 + 2 * kMemoryFrames + 3);
  }
  prelude_.clear();
  past_.resize((framed() && !looks_ahead()) || external() ? 0 : static_cast<size_t>(in_ms(kContextMs)));
  concealer_ = Concealer(span_->sample_rate_hz);
  run_ = 0;
  lost_until_ = -1;
  generator_.start(span_->seed, span_->sample_rate_hz, overload(span_->codec));
  start_at(from);
}

int64_t SpanCursor::row_sample(int64_t row) const {
  return tick_to_sample(*span_, leg_->timestamp[row]);
}

const uint8_t *SpanCursor::payload(int64_t row) const {
  const uint8_t *bytes = (leg_->flags[row] & CR_PACKET_SPILL) != 0 ? leg_->spill : leg_->data;
  // A null buffer has size 0, and then every payload in it is empty.
  return bytes == nullptr ? nullptr : bytes + leg_->offset[row];
}

void SpanCursor::start_at(int64_t from) {
  row_ = span_->first;
  position_ = gained_ = 0;
  if (span_->codec == CR_CODEC_EXTERNAL) {
    position_ = std::clamp<int64_t>(from, 0, end_);
    // A loss is made up from its beginning.
    for (size_t gap = first_gap(); gap_here(gap) && gap_start(gap) < position_; ++gap) {
      if (is_loss(leg_->gap_reason[gap]) && gap_end(gap) >= position_) {
        int64_t begin = gap_start(gap);
        for (;
             gap > 0 && gap_here(gap - 1) && is_loss(leg_->gap_reason[gap - 1]) && gap_end(gap - 1) >= begin;
             --gap) {
          begin = gap_start(gap - 1);
        }
        position_ = std::max<int64_t>(begin, 0);
        break;
      }
    }
    gained_ = position_;
  } else if (span_->first < span_->stop) {
    const int64_t margin = in_ms(adaptive() || framed() ? kWarmStateMs : kWarmWaveformMs);
    // The last packet before the margin, so that a gap around `from` is entered knowing what came before it,
    // and the margin once more before that packet, so that its own past is whole.
    for (int pass = 0; pass < 2; ++pass) {
      const int64_t limit = (pass == 0 ? from : row_sample(row_)) - margin;
      int64_t low = span_->first;
      int64_t high = span_->stop;
      while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (row_sample(middle) <= limit) {
          low = middle + 1;
        } else {
          high = middle;
        }
      }
      row_ = std::max(low - 1, span_->first);
      // Speech sets the generator of comfort noise anew.
      while (framed() && row_ > span_->first && leg_->size[row_] < kFrameOctets) {
        --row_;
      }
    }
    if (framed()) {
      skip_frames();
    } else {
      position_ = gained_ = row_sample(row_);
      recall();
    }
  }
  if (!framed()) {
    gap_ = first_gap();
  }
}

size_t SpanCursor::first_gap() const {
  const int32_t *spans = leg_->gap_span;
  return leg_->gap_count == 0
             ? 0
             : static_cast<size_t>(std::lower_bound(spans, spans + leg_->gap_count, span_index_) - spans);
}

// What a pause behind a loss needs to know of the packets before the first one that is decoded.
void SpanCursor::recall() {
  for (int64_t row = row_; row-- > span_->first;) {
    if ((leg_->flags[row] & CR_PACKET_NOISE) != 0 && leg_->size[row] > 0) {
      generator_.update(payload(row), leg_->size[row]);
      generator_.stop();
      return;
    }
  }
}

// G.729: plan all frames before row_ without decoding them, some ten nanoseconds each. The generator of
// concealment runs on from erasure to erasure, and the spectrum of the last SID, made with the memory of the
// frames before it, is that of a pause whose own SID is lost: a few of the skipped frames are a prelude that
// is decoded and not heard.
void SpanCursor::skip_frames() {
  const int64_t to = to_, start = row_sample(row_);
  row_ = span_->first;
  position_ = gained_ = row_sample(row_);
  gap_ = first_gap();
  erasure_seed_ = kErasureSeed;
  skipping_ = true;
  to_ = start;
  recent_.resize(kMemoryFrames);
  prelude_.reserve(2 * kMemoryFrames + 1);
  recent_count_ = sid_count_ = 0;
  recalled_ = {};
  recalled_.frame.type = G729Frame::kIdle;
  while (!done_) {
    plan();
    for (const FramePlan &plan : frames_) {
      for (int i = 0; i < kErasureCalls && plan.erased_speech; ++i) {
        erasure_seed_ = next_erasure_seed(erasure_seed_);
      }
      remember_frame(plan);
    }
  }
  end_prelude();
  to_ = to;
  skipping_ = done_ = false;
  counts_ = {};
  segments_.clear();
  frames_.clear();
}

// Keep the last frames that move the memory of the spectrum's predictor, and of them those up to
// the last SID.
void SpanCursor::remember_frame(const FramePlan &plan) {
  recalled_ = plan;
  recalled_.keep = 0;
  if (!moves_memory(plan)) {
    return;
  }
  recent_[recent_count_++ % kMemoryFrames] = recalled_;
  if (plan.frame.type == G729Frame::kSid) {
    prelude_.clear();
    take_recent(recent_count_ - std::min(recent_count_, kMemoryFrames));
    sid_count_ = recent_count_;
  }
}

void SpanCursor::take_recent(size_t from) {
  for (size_t i = from; i < recent_count_; ++i) {
    prelude_.push_back(recent_[i % kMemoryFrames]);
  }
}

// What was skipped comes down to a few frames: those up to the last SID, the last ones before the first
// packet, and what the very last one was.
void SpanCursor::end_prelude() {
  size_t from = std::max(sid_count_, recent_count_ - std::min(recent_count_, kMemoryFrames));
  while (from > sid_count_ && from < recent_count_ && recent_[from % kMemoryFrames].erased_speech) {
    ++from;  // behind a SID it would not be one of speech
  }
  take_recent(from);
  if (recalled_.frame.type != G729Frame::kIdle && !moves_memory(recalled_)) {
    prelude_.push_back(recalled_);
  }
  // The random numbers that they draw once more are taken back.
  for (const FramePlan &plan : prelude_) {
    for (int i = 0; i < kErasureCalls && plan.erased_speech; ++i) {
      erasure_seed_ = previous_erasure_seed(erasure_seed_);
    }
  }
}

bool SpanCursor::plan() {
  segments_.clear();
  octets_.clear();
  frames_.clear();
  if (!skipping_) {
    frames_.insert(frames_.end(), prelude_.begin(), prelude_.end());
    prelude_.clear();
  }
  used_ = decoded_used_ = 0;
  awaited_ = 0;
  bool room = true;
  while (room && !done_) {
    if (position_ >= to_ && awaited_ == 0) {
      done_ = true;
    } else if (span_->codec == CR_CODEC_EXTERNAL) {
      room = take_external();
    } else if (row_ < span_->stop && row_sample(row_) <= position_) {
      if ((leg_->flags[row_] & CR_PACKET_NOISE) != 0) {
        awaited_ = 0;
        take_noise_row();
      } else {
        room = framed() ? take_frame_row() : take_waveform_row();
      }
    } else {
      const int64_t gap_end = row_ < span_->stop ? row_sample(row_) : end_;
      if (!framed() || !erased_) {
        awaited_ = 0;  // what follows the last loss without a break ends here
      }
      done_ = (position_ >= to_ && awaited_ == 0) || position_ >= gap_end;
      if (!done_) {
        room = fill_gap(looks_ahead() ? gap_end : std::min(gap_end, to_));
      }
    }
  }
  return !segments_.empty() || !done_;
}

int16_t *SpanCursor::append(uint32_t count, uint8_t kind) {
  const bool codec = kind == CR_CHUNK_DECODED || framed();
  const uint32_t pcm = codec ? decoded_used_ : codec_room_ + used_ - decoded_used_;
  Segment *last = segments_.empty() ? nullptr : &segments_.back();
  if (last != nullptr && last->kind == kind && (kind != CR_CHUNK_CONCEALED || framed()) && !fresh_ &&
      last->first + last->count == position_ && last->pcm + last->count == pcm) {
    last->count += count;
  } else {
    segments_.push_back({position_, pcm, count, kind, fresh_, false, false, row_});
  }
  fresh_ = false;
  used_ += count;
  decoded_used_ += codec ? count : 0;
  awaited_ = std::max<int64_t>(awaited_ - count, 0);
  position_ += count;
  return pcm_.data() + pcm;
}

void SpanCursor::skip_to(int64_t sample) {
  position_ = sample;
  fresh_ = true;
}

uint8_t SpanCursor::unexplained() const {
  if (external()) {
    return CR_GAP_SILENCE;
  }
  if (leg_->sequence == nullptr) {
    return CR_GAP_LOST;
  }
  if (row_ >= span_->stop || row_ == span_->first) {
    return CR_GAP_SILENCE;
  }
  // Unsigned, so that no pair of sequence numbers overflows.
  const uint64_t step =
      static_cast<uint64_t>(leg_->sequence[row_]) - static_cast<uint64_t>(leg_->sequence[row_ - 1]);
  return step <= 1 ? CR_GAP_SILENCE : CR_GAP_LOST;
}

SpanCursor::Piece SpanCursor::gap_piece(int64_t end) {
  while (gap_here(gap_) && gap_end(gap_) <= position_) {
    ++gap_;
  }
  if (gap_here(gap_) && gap_start(gap_) <= position_) {
    return {std::min(end, gap_end(gap_)), leg_->gap_reason[gap_]};
  }
  return {gap_here(gap_) ? std::min(end, gap_start(gap_)) : end, unexplained()};
}

bool SpanCursor::fill_gap(int64_t end) {
  if (!started_) {
    skip_to(end);
    return true;
  }
  if (noise_) {
    return fill_noise(end);
  }
  Piece piece = gap_piece(end);
  if (framed()) {
    return fill_frames(piece);
  }
  if (!is_loss(piece.reason) && row_ < span_->stop && row_sample(row_) - gained_ < in_ms(kBridgeMs)) {
    piece = {end, CR_GAP_LOST};
  }
  return is_loss(piece.reason) ? fill_loss(end) : fill_pause(piece.end);
}

bool SpanCursor::fill_noise(int64_t end) {
  const int64_t limit = std::min(end, gained_ + in_ms(kComfortNoiseMs));
  if (position_ >= limit) {
    skip_to(end);
    return true;
  }
  // A round that looked ahead may be beyond its budget.
  const int64_t room = std::max<int64_t>(static_cast<int64_t>(budget_) - used_, 0);
  const auto count = static_cast<uint32_t>(std::min(limit - position_, room));
  if (count == 0) {
    return false;
  }
  const int64_t first = position_;
  generator_.generate(first, append(count, CR_CHUNK_NOISE), count);
  counts_.noise_samples += count;
  return true;
}

// What was not sent. Behind a loss in a span that has told its noise before, the packet that said so again is
// among the lost ones: the noise goes on.
bool SpanCursor::fill_pause(int64_t end) {
  if (position_ == lost_until_ && generator_.known()) {
    noise_ = true;
    return fill_noise(end);
  }
  skip_to(end);
  return true;
}

// Where the loss at position_ ends, `end` at the latest: rows of the gap table may follow each other.
int64_t SpanCursor::loss_end(int64_t end) const {
  int64_t at = position_;
  for (size_t gap = gap_; at < end; ++gap) {
    const bool here = gap_here(gap);
    const int64_t from = here ? gap_start(gap) : end;
    if (from > at && !is_loss(unexplained())) {
      break;
    }
    if (!here || from >= end) {
      return end;
    }
    if (!is_loss(leg_->gap_reason[gap])) {
      return std::max(at, from);
    }
    at = std::max(at, std::min(end, gap_end(gap)));
  }
  return at;
}

// The whole of a loss counts, whatever part of it is wanted: it is bridged, or fades out and in again.
bool SpanCursor::fill_loss(int64_t end) {
  const int64_t packet = external() ? span_->pcm_count : row_ < span_->stop ? row_sample(row_) : end_;
  if (position_ >= lost_until_) {
    const bool hairline = !external() && packet - gained_ < in_ms(kBridgeMs);
    lost_from_ = position_;
    lost_before_ = position_ == gained_;
    lost_until_ = hairline ? packet : std::max(loss_end(packet), position_ + 1);
  }
  const bool speaks = row_ < span_->stop && (leg_->flags[row_] & CR_PACKET_NOISE) == 0;
  const bool after = external() ? lost_until_ < packet : speaks && lost_until_ == packet;
  const int64_t out = lost_from_ + (lost_before_ ? in_ms(kFadeMs) : 0);
  const int64_t in = lost_until_ - (after ? in_ms(kFadeMs) : 0);
  if (lost_until_ - lost_from_ <= in_ms(kBridgedMs) && lost_before_ && after) {
    return put_loss(lost_from_, lost_until_, true, true);
  }
  if (lost_before_ && position_ < out) {
    return put_loss(lost_from_, std::min(out, lost_until_), true, false);
  }
  if (after && position_ <= in) {
    skip_to(in);
    return put_loss(in, lost_until_, false, true);
  }
  if (after && position_ < lost_until_) {
    return put_loss(position_, lost_until_, false, true);
  }
  skip_to(std::max(position_, std::min(lost_until_, end)));
  return true;
}

bool SpanCursor::put_loss(int64_t first, int64_t end, bool from_before, bool from_after) {
  const int64_t count = end - first;
  if (!fits(count)) {
    return false;
  }
  append(static_cast<uint32_t>(count), CR_CHUNK_CONCEALED);
  segments_.back().from_before = from_before;
  segments_.back().from_after = from_after;
  if (looks_ahead() && from_after) {
    awaited_ = in_ms(kContextMs + kBlendMs);
  }
  if (external()) {
    segments_.back().row = static_cast<int64_t>(gap_);
  }
  return true;
}

// The audio behind a loss, as far as its packets follow each other.
size_t SpanCursor::peek(const Segment &loss, int16_t *pcm, size_t room) const {
  int64_t at = loss.first + loss.count;
  size_t got = 0;
  for (int64_t row = loss.row; got < room && row < span_->stop; ++row) {
    const int64_t start = row_sample(row);
    if (start > at || (leg_->flags[row] & CR_PACKET_NOISE) != 0) {
      break;
    }
    const int64_t skip = at - start;
    const int64_t count =
        std::min(payload_samples(*span_, bits_, leg_->size[row]) - skip, static_cast<int64_t>(room - got));
    if (count > 0) {
      const int64_t first = skip * bits_ / 8;
      decode_direct(payload(row) + first, pcm + got, static_cast<uint32_t>(count));
      got += static_cast<size_t>(count);
      at += count;
    }
  }
  return got;
}

bool SpanCursor::fill_frames(const Piece &piece) {
  const bool lost = is_loss(piece.reason);
  awaited_ = lost ? awaited_ : 0;
  // A pause right behind a loss in a span that has sent SIDs: its SID is among what was lost (B.4.1.2 says
  // how the decoder guesses the level).
  const bool noise = last_noise_ || (!lost && erased_ && told_noise_);
  const int64_t limit = std::min(piece.end, gained_ + in_ms(noise ? kComfortNoiseMs : lost ? kEraseMs : 0));
  const int64_t count = limit - position_;
  if (2 * count < kFrameSamples) {
    skip_to(piece.end);
    return true;
  }
  G729Frame frame{nullptr, lost ? G729Frame::kSpeech : G729Frame::kUntransmitted, lost};
  if (!add_frame(frame, 0, static_cast<uint32_t>(std::min<int64_t>(count, kFrameSamples)),
                 noise ? CR_CHUNK_NOISE : CR_CHUNK_CONCEALED)) {
    return false;
  }
  if (looks_ahead() && lost && !noise) {
    Segment &loss = segments_.back();
    loss.from_before |= !erased_;
    loss.from_after = true;
    awaited_ = loss.from_before && loss.count <= in_ms(kBridgedMs) ? in_ms(kContextMs + kBlendMs) : 0;
  }
  last_noise_ = noise;
  erased_ = lost;
  return true;
}

void SpanCursor::take_noise_row() {
  generator_.update(payload(row_), leg_->size[row_]);
  // Comfort noise is for silence after something; a span may begin with it.
  noise_ = started_ = true;
  gained_ = position_;
  ++row_;
}

// The packets of a leg lie between those of the other, where the processor does not foresee them: by the time a
// payload is decoded it is to be there.
void SpanCursor::fetch_ahead() const {
  const int64_t row = row_ + kFetchedAhead;
  if (row < span_->stop && leg_->size[row] > 0) {
    const uint8_t *octets = payload(row);
    for (uint32_t at = 0; at < std::min<uint32_t>(leg_->size[row], kFetchedOctets); at += 64) {
      __builtin_prefetch(octets + at);
    }
    __builtin_prefetch(octets + leg_->size[row] - 1);
  }
}

bool SpanCursor::take_waveform_row() {
  fetch_ahead();
  const int64_t total = payload_samples(*span_, bits_, leg_->size[row_]);
  const int64_t at = row_sample(row_);
  // In units of octets for G.722, so that a position inside an octet rounds up and never goes back.
  const int64_t step = span_->codec == CR_CODEC_G722 ? 2 : 1;
  const int64_t skip = (position_ - at + step - 1) / step * step;
  if (!begun_) {
    counts_.trimmed_packets += skip > 0;
    counts_.malformed_packets += bits_ != 8 && int64_t{8} * leg_->size[row_] % bits_ != 0;
  }
  if (skip >= total) {
    ++row_;
    begun_ = false;
    return true;
  }
  if (!fits(total - skip)) {
    return false;
  }
  if (noise_) {
    noise_ = false;
    generator_.stop();
  }
  position_ = at + skip;
  const auto count = static_cast<uint32_t>(std::min<int64_t>(total - skip, budget_ / step * step));
  int16_t *pcm = append(count, CR_CHUNK_DECODED);
  if (adaptive()) {
    take_octets(payload(row_), skip, count);
  } else {
    decode_direct(payload(row_) + skip * bits_ / 8, pcm, count);
  }
  counts_.decoded_samples += count;
  gained_ = position_;
  started_ = true;
  begun_ = skip + count < total;
  row_ += begun_ ? 0 : 1;
  return true;
}

// What is decoded in lanes: `count` samples of a payload from `first` on.
void SpanCursor::take_octets(const uint8_t *octets, int64_t first, uint32_t count) {
  if (span_->codec == CR_CODEC_G722) {
    octets_.insert(octets_.end(), octets + first / 2, octets + (first + count) / 2);
    return;
  }
  const size_t before = octets_.size();
  octets_.resize(before + count);
  unpack_g726(octets, static_cast<size_t>(first), count, code_bits(*span_), (span_->mode & CR_G726_AAL2) != 0,
              octets_.data() + before);
}

// G.711 of several channels, interleaved octet by octet, averaged to one.
void SpanCursor::decode_channels(const uint8_t *octets, int16_t *pcm, uint32_t count) const {
  int16_t each[kMostChannels * 64];
  const auto channels = static_cast<uint32_t>(span_->mode);
  for (uint32_t done = 0; done < count;) {
    const uint32_t some = std::min<uint32_t>(64, count - done);
    if (span_->codec == CR_CODEC_ULAW) {
      g711_->decode_ulaw(octets, each, some * channels);
    } else {
      g711_->decode_alaw(octets, each, some * channels);
    }
    for (uint32_t n = 0; n < some; ++n) {
      int32_t sum = 0;
      for (uint32_t channel = 0; channel < channels; ++channel) {
        sum += each[n * channels + channel];
      }
      pcm[done + n] = static_cast<int16_t>(sum / span_->mode);
    }
    octets += size_t{some} * channels;
    done += some;
  }
}

void SpanCursor::decode_direct(const uint8_t *octets, int16_t *pcm, uint32_t count) const {
  if (span_->mode > 1 && (span_->codec == CR_CODEC_ULAW || span_->codec == CR_CODEC_ALAW)) {
    decode_channels(octets, pcm, count);
    return;
  }
  switch (span_->codec) {
    case CR_CODEC_ULAW:
      g711_->decode_ulaw(octets, pcm, count);
      break;
    case CR_CODEC_ALAW:
      g711_->decode_alaw(octets, pcm, count);
      break;
    case CR_CODEC_L16:
      for (uint32_t n = 0; n < count; ++n) {
        int32_t sum = 0;
        for (int32_t channel = 0; channel < span_->mode; ++channel, octets += 2) {
          sum += static_cast<int16_t>(octets[0] << 8 | octets[1]);
        }
        pcm[n] = static_cast<int16_t>(sum / span_->mode);
      }
      break;
    default:
      break;
  }
}

bool SpanCursor::take_frame_row() {
  const int64_t octets = leg_->size[row_];
  const int64_t speech = octets / kFrameOctets;
  // RFC 3551 4.5.6: any number of frames, then at most one SID.
  const bool sid = octets % kFrameOctets == kSidOctets;
  if (frame_index_ == 0 && !begun_) {
    begun_ = true;
    counts_.trimmed_packets += row_sample(row_) < position_;
    counts_.malformed_packets += octets % kFrameOctets != 0 && !sid;
  }
  for (; frame_index_ < speech + sid; ++frame_index_) {
    const int64_t at = row_sample(row_) + frame_index_ * kFrameSamples;
    const int64_t skip = position_ - at;
    if (skip >= kFrameSamples) {
      continue;
    }
    const bool is_sid = frame_index_ == speech;
    const G729Frame frame{payload(row_) + frame_index_ * kFrameOctets,
                          is_sid ? G729Frame::kSid : G729Frame::kSpeech, false};
    if (!add_frame(frame, static_cast<uint32_t>(skip), static_cast<uint32_t>(kFrameSamples - skip),
                   is_sid ? CR_CHUNK_NOISE : CR_CHUNK_DECODED)) {
      return false;
    }
    if (noise_) {
      noise_ = false;
      generator_.stop();
    }
    last_noise_ = is_sid;
    told_noise_ |= is_sid;
    erased_ = false;
    started_ = true;
    gained_ = position_;
  }
  frame_index_ = 0;
  begun_ = false;
  ++row_;
  return true;
}

bool SpanCursor::add_frame(const G729Frame &frame, uint32_t skip, uint32_t keep, uint8_t kind) {
  if (!fits(keep)) {
    return false;
  }
  const int16_t *pcm = append(keep, kind);
  frames_.push_back({frame, static_cast<uint32_t>(pcm - pcm_.data()), static_cast<uint8_t>(skip),
                     static_cast<uint8_t>(keep), frame.erased && kind == CR_CHUNK_CONCEALED});
  (kind == CR_CHUNK_DECODED     ? counts_.decoded_samples
   : kind == CR_CHUNK_CONCEALED ? counts_.concealed_samples
                                : counts_.noise_samples) += keep;
  return true;
}

bool SpanCursor::take_external() {
  const int64_t end = std::min(span_->pcm_count, to_);
  if (position_ >= end) {
    done_ = true;
    return true;
  }
  const Piece piece = gap_piece(span_->pcm_count);
  const bool in_gap = gap_here(gap_) && gap_start(gap_) <= position_;
  if (in_gap && is_loss(piece.reason)) {
    return fill_loss(span_->pcm_count);
  }
  const int64_t room = static_cast<int64_t>(budget_) - used_;
  const int64_t count = std::min({room, piece.end - position_, end - position_});
  if (room <= 0) {
    return false;
  }
  const int64_t first = position_;
  std::memcpy(append(static_cast<uint32_t>(count), CR_CHUNK_DECODED), span_->pcm + first,
              static_cast<size_t>(count) * sizeof(int16_t));
  counts_.decoded_samples += static_cast<uint64_t>(count);
  gained_ = position_;
  return true;
}

// What was received around the loss that is segment `index`; `after` has room for kMaxContext.
Surroundings SpanCursor::around(size_t index, int16_t *after) const {
  const Segment &loss = segments_[index];
  const auto context = in_ms(kContextMs);
  if (!external()) {
    Surroundings sides{past_.data() + past_.size() - run_, loss.from_before ? run_ : 0, after, 0};
    if (loss.from_after && !looks_ahead()) {
      const Segment *next = index + 1 < segments_.size() ? &segments_[index + 1] : nullptr;
      // Mostly it is in this round and decoded.
      if (next != nullptr && next->kind == CR_CHUNK_DECODED && !next->fresh && next->count >= context) {
        sides.after = pcm_.data() + next->pcm;
        sides.after_count = static_cast<size_t>(context);
      } else {
        sides.after_count = peek(loss, after, static_cast<size_t>(context));
      }
    }
    return sides;
  }
  auto gap = static_cast<size_t>(loss.row);
  const int64_t end = loss.first + loss.count;
  const int64_t since = gap > 0 && gap_here(gap - 1) ? std::max<int64_t>(gap_end(gap - 1), 0) : 0;
  const int64_t before = loss.from_before ? std::clamp<int64_t>(loss.first - since, 0, context) : 0;
  while (gap_here(gap) && gap_end(gap) <= end) {
    ++gap;
  }
  const int64_t until = std::min(gap_here(gap) ? gap_start(gap) : span_->pcm_count, span_->pcm_count);
  const int64_t behind = loss.from_after ? std::clamp<int64_t>(until - end, 0, context) : 0;
  return {span_->pcm + loss.first - before, static_cast<size_t>(before), span_->pcm + end,
          static_cast<size_t>(behind)};
}

// Fill the loss that is segment `index` from both sides. A decoder with a state comes out of a loss out of
// step: its first samples behind it are cross-faded with the bridge.
void SpanCursor::bridge(size_t index) {
  Segment &segment = segments_[index];
  int16_t after[kMaxContext];
  Surroundings sides = around(index, after);
  size_t blend = 0;
  int16_t *behind = nullptr;
  if (looks_ahead() && segment.from_after && index + 1 < segments_.size()) {
    const Segment &next = segments_[index + 1];
    if (next.kind == CR_CHUNK_DECODED && !next.fresh) {
      behind = samples() + next.pcm;
      blend = static_cast<size_t>(in_ms(kBlendMs));
      // Too little to cross-fade and to look at.
      blend = next.count < 3 * blend ? 0 : blend;
      sides.after = behind + blend;
      sides.after_count = next.count - blend;
    }
  }
  int16_t filled[16 * (kBridgedMs + kBlendMs)];
  const bool apart = blend > 0;
  int16_t *pcm = apart ? filled : samples() + segment.pcm;
  const bool sounds = concealer_.bridge(sides, loss_seed(segment.first), pcm, segment.count + blend);
  if (apart && sounds) {
    std::copy_n(filled, segment.count, samples() + segment.pcm);
    for (size_t i = 0; i < blend; ++i) {
      const float weight = (static_cast<float>(i) + 0.5f) / static_cast<float>(blend);
      const float made = filled[segment.count + i];
      behind[i] = static_cast<int16_t>(std::lrintf(made + weight * (static_cast<float>(behind[i]) - made)));
    }
  } else if (apart) {
    std::fill_n(samples() + segment.pcm, segment.count, int16_t{0});
  }
  segment.count = sounds || framed() ? segment.count : 0;
  counts_.concealed_samples += framed() ? 0 : segment.count;
}

// The last kContextMs of what was received without a break.
void SpanCursor::remember(const int16_t *pcm, size_t count) {
  const size_t room = past_.size();
  if (room == 0) {
    return;
  }
  if (count >= room) {
    std::copy_n(pcm + count - room, room, past_.data());
    run_ = room;
    return;
  }
  const size_t kept = std::min(run_, room - count);
  std::memmove(past_.data() + room - count - kept, past_.data() + room - kept, kept * sizeof(int16_t));
  std::copy_n(pcm, count, past_.data() + room - count);
  run_ = kept + count;
}

void SpanCursor::finish() {
  if (past_.empty() && !external()) {
    return;
  }
  for (size_t i = 0; i < segments_.size(); ++i) {
    const Segment &segment = segments_[i];
    if (segment.fresh) {
      run_ = 0;
    }
    if (segment.kind == CR_CHUNK_DECODED) {
      remember(samples() + segment.pcm, segment.count);
      continue;
    }
    if (segment.kind == CR_CHUNK_CONCEALED && (!framed() || bridgeable(i))) {
      bridge(i);
    }
    run_ = 0;
  }
}

// G.729: a loss that is in the round whole, speech on both sides, and no longer than what is bridged. Others
// stay as the recommendation has them.
bool SpanCursor::bridgeable(size_t index) const {
  const Segment &loss = segments_[index];
  return loss.from_before && loss.count <= in_ms(kBridgedMs) && index + 1 < segments_.size() &&
         segments_[index + 1].kind == CR_CHUNK_DECODED && !segments_[index + 1].fresh;
}

}  // namespace callreplay
