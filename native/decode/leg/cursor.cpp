#include "decode/leg/cursor.h"

#include <algorithm>
#include <cstring>

#include "decode/leg/leg.h"

namespace callreplay {
namespace {

constexpr int kFrameSamples = 80;  // G.729: 10 ms
constexpr int kFrameOctets = 10;
constexpr int kSidOctets = 2;

// No sender skips less than this on purpose; a smaller hole is a sender's sloppy clock and is bridged, not
// silenced.
constexpr int kBridgeMs = 10;
constexpr uint32_t kMostChannels = 8;  // check_span

// Packets that must be decoded before a sample for it to come out right. Waveform codecs: what the concealer
// remembers and fades, so exact; G.722 and G.729: their adaptive states have forgotten a wrong start after 2
// s.
constexpr int kWarmWaveformMs = 250;
constexpr int kWarmStateMs = 2000;

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

}  // namespace

void SpanCursor::open(const cr_leg &leg, size_t span, uint32_t budget, const G711Kernel &g711, int64_t from,
                      int64_t to) {
  leg_ = &leg;
  span_ = &leg.spans[span];
  span_index_ = static_cast<int32_t>(span);
  g711_ = &g711;
  budget_ = std::max<uint32_t>(budget, kFrameSamples);
  to_ = to;
  end_ = tick_to_sample(*span_, span_->end_tick);
  if (span_->codec == CR_CODEC_EXTERNAL) {
    end_ = std::max(end_, span_->pcm_count);
  }
  used_ = decoded_used_ = 0;
  begun_ = noise_ = last_noise_ = started_ = after_loss_ = false;
  fresh_ = true;
  frame_index_ = 0;
  counts_ = {};
  done_ = false;
  pcm_.resize(size_t{budget_} * 2);
  if (span_->codec == CR_CODEC_G722) {
    octets_.reserve(budget_ / 2 + 1);
  } else if (framed()) {
    frames_.reserve(budget_ / kFrameSamples * 3 + 2);
  }
  if (!framed() && span_->codec != CR_CODEC_EXTERNAL) {
    concealer_.emplace(span_->sample_rate_hz);
    concealer_->reset();
  } else {
    concealer_.reset();  // a slot is used again, and these conceal by themselves
  }
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
  } else if (span_->first < span_->stop) {
    const bool waveform = span_->codec != CR_CODEC_G722 && !framed();
    const int64_t margin = in_ms(waveform ? kWarmWaveformMs : kWarmStateMs);
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
    }
    position_ = gained_ = row_sample(row_);
  }
  const int32_t *spans = leg_->gap_span;
  gap_ = leg_->gap_count == 0
             ? 0
             : static_cast<size_t>(std::lower_bound(spans, spans + leg_->gap_count, span_index_) - spans);
}

bool SpanCursor::plan() {
  segments_.clear();
  octets_.clear();
  frames_.clear();
  used_ = decoded_used_ = 0;
  bool room = true;
  while (room && !done_) {
    if (position_ >= to_) {
      done_ = true;
    } else if (span_->codec == CR_CODEC_EXTERNAL) {
      room = take_external();
    } else if (row_ < span_->stop && row_sample(row_) <= position_) {
      if ((leg_->flags[row_] & CR_PACKET_NOISE) != 0) {
        take_noise_row();
      } else {
        room = framed() ? take_frame_row() : take_waveform_row();
      }
    } else {
      const int64_t gap_end = row_ < span_->stop ? row_sample(row_) : end_;
      if (position_ < gap_end) {
        room = fill_gap(std::min(gap_end, to_));
      } else {
        done_ = true;
      }
    }
  }
  return !segments_.empty() || !done_;
}

int16_t *SpanCursor::append(uint32_t count, uint8_t kind) {
  const bool codec = kind == CR_CHUNK_DECODED || framed();
  const uint32_t pcm = codec ? decoded_used_ : budget_ + used_ - decoded_used_;
  Segment *last = segments_.empty() ? nullptr : &segments_.back();
  if (last != nullptr && last->kind == kind && !fresh_ && last->first + last->count == position_ &&
      last->pcm + last->count == pcm) {
    last->count += count;
  } else {
    segments_.push_back({position_, pcm, count, count, kind, fresh_});
  }
  fresh_ = false;
  used_ += count;
  decoded_used_ += codec ? count : 0;
  position_ += count;
  return pcm_.data() + pcm;
}

void SpanCursor::skip_to(int64_t sample) {
  position_ = sample;
  fresh_ = true;
}

uint8_t SpanCursor::unexplained() const {
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
  const auto here = [this] { return gap_ < leg_->gap_count && leg_->gap_span[gap_] == span_index_; };
  const auto row_start = [this] { return tick_to_sample(*span_, leg_->gap_start[gap_]); };
  const auto row_end = [this] {
    return tick_to_sample(*span_, leg_->gap_start[gap_] + leg_->gap_ticks[gap_]);
  };
  while (here() && row_end() <= position_) {
    ++gap_;
  }
  if (here() && row_start() <= position_) {
    return {std::min(end, row_end()), leg_->gap_reason[gap_]};
  }
  return {here() ? std::min(end, row_start()) : end, unexplained()};
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
  if (!is_loss(piece.reason) && row_ < span_->stop && end - gained_ < in_ms(kBridgeMs)) {
    piece.reason = CR_GAP_LOST;
  }
  return fill_waveform(piece);
}

bool SpanCursor::fill_noise(int64_t end) {
  const int64_t limit = std::min(end, gained_ + in_ms(kComfortNoiseMs));
  if (position_ >= limit) {
    skip_to(end);
    return true;
  }
  const int64_t room = static_cast<int64_t>(budget_) - used_;
  const auto count = static_cast<uint32_t>(std::min(limit - position_, room));
  if (count == 0) {
    return false;
  }
  const int64_t first = position_;
  generator_.generate(first, append(count, CR_CHUNK_NOISE), count);
  counts_.noise_samples += count;
  return true;
}

bool SpanCursor::fill_waveform(const Piece &piece) {
  const int64_t limit = std::min(piece.end, gained_ + in_ms(kConcealMs));
  if (!is_loss(piece.reason) || position_ >= limit) {
    const bool was_fresh = fresh_;
    skip_to(piece.end);
    // A loss that outlasts the concealer is still a loss to it: it fades the next speech in.
    fresh_ = was_fresh || !is_loss(piece.reason);
    return true;
  }
  const int64_t count = limit - position_;
  if (!fits(count)) {
    return false;
  }
  append(static_cast<uint32_t>(std::min<int64_t>(count, budget_)), CR_CHUNK_CONCEALED);
  return true;
}

bool SpanCursor::fill_frames(const Piece &piece) {
  const bool lost = is_loss(piece.reason);
  const int64_t limit = std::min(piece.end, gained_ + in_ms(last_noise_ ? kComfortNoiseMs
                                                            : lost      ? kEraseMs
                                                                        : 0));
  const int64_t count = limit - position_;
  if (2 * count < kFrameSamples) {
    skip_to(piece.end);
    return true;
  }
  G729Frame frame{nullptr, lost ? G729Frame::kSpeech : G729Frame::kUntransmitted, lost};
  return add_frame(frame, 0, static_cast<uint32_t>(std::min<int64_t>(count, kFrameSamples)),
                   last_noise_ ? CR_CHUNK_NOISE : CR_CHUNK_CONCEALED);
}

void SpanCursor::take_noise_row() {
  generator_.update(payload(row_), leg_->size[row_]);
  // Comfort noise is for silence after something; a span may begin with it.
  noise_ = started_ = true;
  gained_ = position_;
  ++row_;
}

bool SpanCursor::take_waveform_row() {
  const int64_t total = payload_samples(*span_, leg_->size[row_]);
  const int64_t at = row_sample(row_);
  // In units of octets for G.722, so that a position inside an octet rounds up and never goes back.
  const int64_t step = span_->codec == CR_CODEC_G722 ? 2 : 1;
  const int64_t skip = (position_ - at + step - 1) / step * step;
  if (!begun_) {
    counts_.trimmed_packets += skip > 0;
    counts_.malformed_packets += leg_->size[row_] % sample_octets(*span_) != 0;
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
  const int64_t octet =
      leg_->size[row_] == 0 ? 0 : skip * sample_octets(*span_) / step;
  decode_direct(payload(row_) + octet, append(count, CR_CHUNK_DECODED), count);
  if (span_->codec == CR_CODEC_G722) {
    octets_.insert(octets_.end(), payload(row_) + octet, payload(row_) + octet + count / 2);
  }
  counts_.decoded_samples += count;
  gained_ = position_;
  started_ = true;
  begun_ = skip + count < total;
  row_ += begun_ ? 0 : 1;
  return true;
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
                     static_cast<uint8_t>(keep)});
  (kind == CR_CHUNK_DECODED     ? counts_.decoded_samples
   : kind == CR_CHUNK_CONCEALED ? counts_.concealed_samples
                                : counts_.noise_samples) += keep;
  return true;
}

bool SpanCursor::take_external() {
  const int64_t room = static_cast<int64_t>(budget_) - used_;
  const int64_t count = std::min({room, span_->pcm_count - position_, to_ - position_});
  if (room == 0) {
    return false;
  }
  if (count <= 0) {
    done_ = true;
    return true;
  }
  const int64_t first = position_;
  std::memcpy(append(static_cast<uint32_t>(count), CR_CHUNK_DECODED), span_->pcm + first,
              static_cast<size_t>(count) * sizeof(int16_t));
  counts_.decoded_samples += static_cast<uint64_t>(count);
  return true;
}

void SpanCursor::finish() {
  if (!concealer_) {
    return;
  }
  for (Segment &segment : segments_) {
    int16_t *pcm = pcm_.data() + segment.pcm;
    if (segment.fresh) {
      concealer_->reset();
      after_loss_ = false;
    }
    if (segment.kind == CR_CHUNK_CONCEALED) {
      const size_t sounding = concealer_->lost(pcm, segment.count);
      counts_.concealed_samples += sounding;
      segment.count = static_cast<uint32_t>(std::min<size_t>(sounding, segment.count));
      after_loss_ = true;
      continue;
    }
    // The packet that ends a loss goes in alone: what the concealer blends must not depend on the round's
    // length.
    const size_t head = after_loss_ ? segment.head : 0;
    if (head > 0) {
      concealer_->good(pcm, head);
    }
    if (head < segment.count) {
      concealer_->good(pcm + head, segment.count - head);
    }
    after_loss_ = false;
  }
}

}  // namespace callreplay
