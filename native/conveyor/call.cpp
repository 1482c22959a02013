#include "conveyor/call.h"

#include <algorithm>

#include "decode/leg/leg.h"
#include "mix/timeline.h"

namespace callreplay {
namespace {

// Longer than any resampling filter (384 taps at 48 to 8 kHz) or a glide of Slip reaches.
constexpr int64_t kFilterReach = 1024;

}  // namespace

CallSource::CallSource(const cr_timeline &timeline_, const cr_render_leg *legs_, size_t leg_count,
                       const cr_event *events_, size_t event_count)
    : timeline(timeline_), events(events_, events_ + event_count) {
  for (size_t i = 0; i < leg_count; ++i) {
    // A leg that is not there, or not wanted, has no spans.
    const bool wanted = legs_[i].leg != nullptr && legs_[i].channel >= 0;
    legs.emplace_back(wanted ? *legs_[i].leg : cr_leg{});
    channels.push_back(legs_[i].channel);
  }
}

cr_status check_call(const cr_timeline *timeline, const cr_render_leg *legs, size_t leg_count,
                     const cr_event *events, size_t event_count) {
  const cr_status status = check_timeline(timeline, events, event_count);
  if (status != CR_OK || (leg_count > 0 && legs == nullptr)) {
    return status != CR_OK ? status : CR_ARGUMENT;
  }
  for (size_t i = 0; i < leg_count; ++i) {
    if (legs[i].channel < -1 || legs[i].channel >= timeline->channels) {
      return CR_ARGUMENT;
    }
    const cr_status leg = legs[i].leg == nullptr ? CR_OK : cr_leg_check(legs[i].leg, nullptr);
    if (leg != CR_OK) {
      return leg;
    }
  }
  return CR_OK;
}

Call::Call(const CallSource &source, int64_t start)
    : source_(source),
      mixer_(source.timeline, source.events.data(), source.events.size(), start),
      counts_(source.legs.size()) {
  for (uint32_t leg = 0; leg < source.legs.size(); ++leg) {
    if (source.channels[leg] >= 0) {
      mixer_.set_channel(leg, source.channels[leg]);
      enlist(source, leg, start);
    }
  }
  std::stable_sort(waiting_.begin(), waiting_.end(),
                   [](const Waiting &a, const Waiting &b) { return a.start < b.start; });
}

void Call::enlist(const CallSource &source, uint32_t leg, int64_t start) {
  const cr_timeline &timeline = source.timeline;
  const std::vector<cr_span> &spans = source.legs[leg].spans;
  for (uint32_t i = 0; i < spans.size(); ++i) {
    const cr_span &span = spans[i];
    const Placement placement(span.anchor_ns, timeline.origin_ns, span.sample_rate_hz,
                              corrected_drift(timeline, span.drift_ppb), timeline.rate_hz);
    const auto sample = [&](int64_t frame) {
      return placement.is_copy() ? frame - placement.first_frame() : placement.at(frame).sample;
    };
    const int64_t reach = placement.is_copy() ? 0 : kFilterReach;
    const int64_t first =
        track_placement(timeline, span.sample_rate_hz, span.anchor_ns, span.drift_ppb).frame_from(0);
    if (first < timeline.frames) {
      waiting_.push_back({leg, i, first, sample(start) - reach, sample(timeline.frames) + reach});
    }
  }
}

void Call::activate(Conveyor &conveyor) {
  for (; next_ < waiting_.size() && waiting_[next_].start < mixer_.window_end(); ++next_) {
    const Waiting &span = waiting_[next_];
    const LegCopy &copy = source_.legs[span.leg];
    const cr_span &row = copy.spans[span.span];
    if (tick_to_sample(row, row.end_tick) < span.from && row.pcm_count < span.from) {
      continue;  // it ends before the first frame that is read
    }
    const uint32_t track = mixer_.add_track(span.leg, source_.channels[span.leg], row.sample_rate_hz,
                                            row.anchor_ns, row.drift_ppb);
    active_.reserve(active_.size() + 1);
    const uint32_t slot =
        conveyor.open(copy.leg, span.span, round_samples(row, source_.timeline.block_ms), span.from, span.to);
    active_.push_back({span.leg, track, slot, 0, 0});
    conveyor.want(slot);
  }
}

// True when everything decoded so far is with the mixer.
bool Call::push(Conveyor &conveyor, Track &track) {
  SpanCursor &cursor = conveyor.cursor(track.slot);
  const std::vector<Segment> &segments = cursor.segments();
  for (; track.segment < segments.size(); ++track.segment, track.offset = 0) {
    const Segment &segment = segments[track.segment];
    const size_t left = segment.count - track.offset;
    const size_t taken = mixer_.push(track.track, segment.first + static_cast<int64_t>(track.offset),
                                     cursor.samples() + segment.pcm + track.offset, left);
    if (taken < left) {
      track.offset += taken;
      return false;
    }
  }
  return true;
}

void Call::feed(Conveyor &conveyor) {
  size_t kept = 0;
  for (Track &track : active_) {
    bool stays = true;
    if (push(conveyor, track)) {
      const SpanCursor &cursor = conveyor.cursor(track.slot);
      stays = !cursor.done();
      if (stays) {
        conveyor.want(track.slot);
        track.segment = 0;
      } else {
        add_counts(counts_[track.leg], cursor.counts());
        mixer_.finish(track.track);
        conveyor.close(track.slot);
      }
    }
    if (stays) {
      active_[kept++] = track;
    }
  }
  active_.resize(kept);
  activate(conveyor);
}

bool Call::by_itself(Conveyor &conveyor) const {
  return !active_.empty() && std::none_of(active_.begin(), active_.end(), [&](const Track &track) {
    return conveyor.cursor(track.slot).in_lanes();
  });
}

void Call::count(const Conveyor &conveyor, LanedStreams &streams) const {
  const auto add = [&](int32_t codec) {
    streams.g722 += codec == CR_CODEC_G722 ? 1 : 0;
    streams.g726 += codec == CR_CODEC_G726 ? 1 : 0;
    streams.g729 += codec == CR_CODEC_G729 ? 1 : 0;
  };
  for (const Track &track : active_) {
    add(conveyor.cursor(track.slot).span().codec);
  }
  for (size_t i = next_; i < waiting_.size() && waiting_[i].start < mixer_.window_end(); ++i) {
    add(source_.legs[waiting_[i].leg].spans[waiting_[i].span].codec);
  }
}

int64_t Call::ready_until() const {
  return next_ < waiting_.size() ? std::max(waiting_[next_].start, int64_t{0}) : mixer_.frames();
}

void Call::close(Conveyor &conveyor) {
  for (const Track &track : active_) {
    add_counts(counts_[track.leg], conveyor.cursor(track.slot).counts());
    conveyor.close(track.slot);
  }
  active_.clear();
}

cr_leg_counts Call::counts(const Conveyor &conveyor, uint32_t leg) const {
  cr_leg_counts sum = counts_[leg];
  for (const Track &track : active_) {
    if (track.leg == leg) {
      add_counts(sum, conveyor.cursor(track.slot).counts());
    }
  }
  return sum;
}

}  // namespace callreplay
