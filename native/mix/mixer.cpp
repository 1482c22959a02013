#include "mix/mixer.h"

#include <algorithm>
#include <cstring>

#include "decode/leg/leg.h"
#include "mix/tones/dtmf.h"

namespace callreplay {
namespace {

constexpr int64_t kBillion = 1'000'000'000;
constexpr int64_t kMaxFrames = int64_t{1} << 38;

int64_t frame_of(const cr_timeline &timeline, int64_t time_ns) {
  return Placement(time_ns, timeline.origin_ns, timeline.rate_hz, 0, timeline.rate_hz).first_frame();
}

const MixKernel *best_kernel() {
  const MixKernel *kernel = mix_kernel(cr_isa_active());
  return kernel != nullptr ? kernel : mix_kernel(CR_ISA_SCALAR);
}

}  // namespace

cr_status check_timeline(const cr_timeline *timeline, const cr_event *events, size_t event_count) {
  if (timeline == nullptr || (event_count > 0 && events == nullptr) || timeline->rate_hz < 8000 ||
      timeline->rate_hz > 48000 || timeline->channels < 1 || timeline->channels > 2 ||
      timeline->block_ms < 20 || timeline->block_ms > 60000 || timeline->frames < 0 ||
      timeline->origin_ns < -kMaxAnchorNs || timeline->origin_ns > kMaxAnchorNs) {
    return CR_ARGUMENT;
  }
  if (timeline->frames > kMaxFrames) {
    return CR_LIMIT;
  }
  for (size_t i = 0; i < event_count; ++i) {
    const cr_event &event = events[i];
    if (event.tone > 15 || event.start_ns < -kMaxAnchorNs || event.start_ns > kMaxAnchorNs ||
        event.duration_ns < 0 || event.duration_ns > 3600 * kBillion || event.level_dbm0 > 0 ||
        event.level_dbm0 < -63) {
      return CR_ARGUMENT;
    }
  }
  return CR_OK;
}

int64_t corrected_drift(const cr_timeline &timeline, int64_t drift_ppb) {
  return timeline.ignore_drift != 0 ? 0 : drift_ppb;
}

Placement track_placement(const cr_timeline &timeline, int32_t sample_rate_hz, int64_t anchor_ns,
                          int64_t drift_ppb) {
  const int64_t drift = corrected_drift(timeline, drift_ppb);
  return {anchor_ns, timeline.origin_ns, sample_rate_hz, Slip::suits(drift) ? 0 : drift, timeline.rate_hz};
}

Mixer::Mixer(const cr_timeline &timeline, const cr_event *events, size_t event_count, int64_t start)
    : kernel_(best_kernel()),
      timeline_(timeline),
      // Two rounds of the conveyor, which are of 120 ms at least.
      capacity_(static_cast<size_t>(std::max(timeline.block_ms, 120)) * 2 *
                static_cast<size_t>(timeline.rate_hz) / 1000),
      block_(capacity_ / 2),
      base_(std::min(start, timeline.frames)),
      scratch_(1024) {
  for (int32_t channel = 0; channel < timeline.channels; ++channel) {
    sums_[channel].resize(capacity_);
  }
  for (size_t i = 0; i < event_count; ++i) {
    const cr_event &event = events[i];
    overlays_.push_back({event.leg, event.tone, event.level_dbm0, -1, frame_of(timeline, event.start_ns),
                         frame_of(timeline, event.start_ns + event.duration_ns)});
  }
  std::sort(overlays_.begin(), overlays_.end(), [](const Overlay &a, const Overlay &b) {
    return a.leg != b.leg ? a.leg < b.leg : a.start != b.start ? a.start < b.start : a.end < b.end;
  });
}

uint32_t Mixer::add_track(uint32_t leg, int32_t channel, int32_t sample_rate_hz, int64_t anchor_ns,
                          int64_t drift_ppb) {
  const Placement placement = track_placement(timeline_, sample_rate_hz, anchor_ns, drift_ppb);
  Track track{leg, channel, placement, nullptr, nullptr};
  const int64_t drift = corrected_drift(timeline_, drift_ppb);
  if (Slip::suits(drift)) {
    track.slip = std::make_unique<Slip>(*kernel_, drift);
  }
  if (!placement.is_copy()) {
    const size_t block =
        block_ * static_cast<size_t>(sample_rate_hz) / static_cast<size_t>(timeline_.rate_hz) + 64;
    track.resampler =
        std::make_unique<Resampler>(*kernel_, placement, sample_rate_hz, timeline_.rate_hz, block);
  }
  track.event = static_cast<size_t>(std::lower_bound(overlays_.begin(), overlays_.end(), leg,
                                                     [](const Overlay &a, uint32_t l) { return a.leg < l; }) -
                                    overlays_.begin());
  set_channel(leg, channel);
  const auto index = static_cast<uint32_t>(tracks_.size());
  active_.reserve(active_.size() + 1);
  tracks_.push_back(std::move(track));
  active_.push_back(index);
  return index;
}

void Mixer::set_channel(uint32_t leg, int32_t channel) {
  for (Overlay &overlay : overlays_) {
    if (overlay.leg == leg && overlay.channel < 0) {
      overlay.channel = channel;
    }
  }
}

size_t Mixer::push(uint32_t index, int64_t first_sample, const int16_t *pcm, size_t count) {
  Track &track = tracks_[index];
  if (track.finished || count == 0) {
    return count;
  }
  // What overlaps is dropped: a track never goes back.
  size_t skip = 0;
  if (first_sample < track.next_sample) {
    skip = static_cast<size_t>(std::min(static_cast<int64_t>(count), track.next_sample - first_sample));
    if (skip == count) {
      return count;
    }
  }
  const int64_t first = first_sample + static_cast<int64_t>(skip);
  const size_t taken = track.slip != nullptr ? push_slipping(track, first, pcm + skip, count - skip)
                                             : push_placed(track, first, pcm + skip, count - skip);
  if (taken > 0) {
    track.next_sample = first + static_cast<int64_t>(taken);
  }
  return skip + taken;
}

size_t Mixer::push_slipping(Track &track, int64_t first_sample, const int16_t *pcm, size_t count) {
  Slip &slip = *track.slip;
  if (slip.running() && slip.next_sample() != first_sample) {
    slip.end();
  }
  size_t taken = 0;
  while (forward(track) && taken < count) {
    if (!slip.running()) {
      slip.begin(first_sample);
    }
    const size_t copies = std::min(slip.copies(), count - taken);
    if (copies == 0) {
      taken += slip.take(pcm + taken, count - taken);
      continue;
    }
    const size_t went = push_placed(track, slip.next_output(), pcm + taken, copies);
    slip.copied(pcm + taken, went);
    taken += went;
    if (went < copies) {
      break;
    }
  }
  return taken;
}

// Hand on what a glide gave. True when nothing of it is left.
bool Mixer::forward(Track &track) {
  Slip &slip = *track.slip;
  if (slip.waiting() > 0) {
    slip.sent(push_placed(track, slip.next_output(), slip.output(), slip.waiting()));
  }
  return slip.waiting() == 0;
}

size_t Mixer::push_placed(Track &track, int64_t first_sample, const int16_t *pcm, size_t count) {
  return track.resampler != nullptr ? push_resampled(track, first_sample, pcm, count)
                                    : push_copy(track, first_sample, pcm, count);
}

size_t Mixer::push_copy(Track &track, int64_t first_sample, const int16_t *pcm, size_t count) {
  int64_t frame = track.placement.frame_from(first_sample);
  size_t taken = 0;
  if (frame < base_) {
    taken = static_cast<size_t>(std::min<int64_t>(base_ - frame, static_cast<int64_t>(count)));
    frame += static_cast<int64_t>(taken);
  }
  const int64_t end = std::min(window_end(), timeline_.frames);
  if (taken < count && frame < end) {
    const auto fits =
        static_cast<size_t>(std::min<int64_t>(end - frame, static_cast<int64_t>(count - taken)));
    deposit(track, frame, pcm + taken, fits);
    taken += fits;
    frame += static_cast<int64_t>(fits);
  }
  track.passed = std::max(track.passed, frame);
  return frame >= timeline_.frames ? count : taken;
}

size_t Mixer::push_resampled(Track &track, int64_t first_sample, const int16_t *pcm, size_t count) {
  Resampler &resampler = *track.resampler;
  if (resampler.running() && resampler.next_sample() != first_sample) {
    resampler.end();
    pump(track);
    if (resampler.running()) {
      return 0;
    }
  }
  if (!resampler.running()) {
    const int64_t frame = track.placement.frame_from(first_sample);
    track.passed = std::max(track.passed, frame);
    if (frame >= timeline_.frames) {
      return count;
    }
    if (frame >= window_end()) {
      return 0;
    }
    // Samples that end a filter's length before the window never sound in it.
    const int64_t last = track.placement.frame_from(first_sample + static_cast<int64_t>(count + 1024));
    if (last < base_) {
      return count;
    }
    resampler.begin(first_sample);
  }
  size_t taken = 0;
  for (;;) {
    const size_t fits = std::min(count - taken, resampler.room());
    if (fits == 0) {
      break;
    }
    resampler.push(pcm + taken, fits);
    taken += fits;
    pump(track);
  }
  return taken;
}

// Move what the resampler can give into the window.
void Mixer::pump(Track &track) {
  Resampler &resampler = *track.resampler;
  const int64_t end = window_end();
  while (resampler.running() && resampler.next_frame() < end) {
    const int64_t frame = resampler.next_frame();
    const auto wanted =
        static_cast<size_t>(std::min<int64_t>(end - frame, static_cast<int64_t>(scratch_.size())));
    const size_t got = resampler.pull(scratch_.data(), wanted);
    if (got == 0) {
      break;
    }
    const auto before = static_cast<size_t>(std::clamp<int64_t>(base_ - frame, 0, static_cast<int64_t>(got)));
    const int64_t first = frame + static_cast<int64_t>(before);
    const int64_t fits = std::clamp<int64_t>(timeline_.frames - first, 0, static_cast<int64_t>(got - before));
    deposit(track, first, scratch_.data() + before, static_cast<size_t>(fits));
  }
  if (resampler.running()) {
    track.passed = std::max(track.passed, resampler.next_frame());
  }
}

void Mixer::deposit(Track &track, int64_t frame, const int16_t *pcm, size_t count) {
  int64_t at = frame;
  const int64_t end = frame + static_cast<int64_t>(count);
  const auto mine = [&](size_t event) {
    return event < overlays_.size() && overlays_[event].leg == track.leg;
  };
  while (mine(track.event) && overlays_[track.event].end <= at) {
    ++track.event;
  }
  for (size_t event = track.event; at < end && mine(event) && overlays_[event].start < end; ++event) {
    const int64_t muted = std::clamp(overlays_[event].start, at, end);
    add(track.channel, at, pcm + (at - frame), static_cast<size_t>(muted - at));
    at = std::clamp(overlays_[event].end, muted, end);
  }
  add(track.channel, at, pcm + (at - frame), static_cast<size_t>(end - at));
}

// The window is a ring: frames from `frame` on lie in two pieces at most. Calls with where each begins in
// sums_, its first frame counted from `frame`, and how many it has.
template <class Piece>
void Mixer::in_pieces(int64_t frame, size_t count, const Piece &piece) const {
  const size_t place = head_ + static_cast<size_t>(frame - base_);
  const size_t at = place < capacity_ ? place : place - capacity_;
  const size_t first = std::min(count, capacity_ - at);
  piece(at, size_t{0}, first);
  if (first < count) {
    piece(size_t{0}, first, count - first);
  }
}

void Mixer::add(int32_t channel, int64_t frame, const int16_t *pcm, size_t count) {
  if (count > 0) {
    in_pieces(frame, count, [&](size_t at, size_t from, size_t size) {
      kernel_->add(sums_[channel].data() + at, pcm + from, size);
    });
  }
}

void Mixer::finish(uint32_t index) {
  Track &track = tracks_[index];
  track.finished = true;
  if (track.slip != nullptr) {
    track.slip->end();
  } else if (track.resampler != nullptr) {
    track.resampler->end();
  }
}

// Move on what waits in a track. False when it has come to its end.
bool Mixer::settle(Track &track) {
  if (track.slip != nullptr && forward(track) && track.finished) {
    track.slip.reset();
    if (track.resampler != nullptr) {
      track.resampler->end();
    }
  }
  if (track.resampler != nullptr) {
    pump(track);
  }
  if (track.finished && track.slip == nullptr &&
      (track.resampler == nullptr || !track.resampler->running())) {
    track.resampler.reset();
    return false;
  }
  return true;
}

int64_t Mixer::passed_by_all(int64_t until) const {
  int64_t passed = std::min({until, timeline_.frames, window_end()});
  for (const uint32_t index : active_) {
    passed = std::min(passed, tracks_[index].passed);
  }
  return std::max(passed, base_);
}

void Mixer::add_tones(int64_t until) {
  for (const Overlay &overlay : overlays_) {
    const int64_t from = std::max(overlay.start, base_);
    const int64_t to = std::min(overlay.end, until);
    if (overlay.tone >= 0 && overlay.channel >= 0 && from < to) {
      in_pieces(from, static_cast<size_t>(to - from), [&](size_t at, size_t first, size_t size) {
        add_dtmf(overlay.tone, overlay.level, timeline_.rate_hz, overlay.end - overlay.start,
                 from - overlay.start + static_cast<int64_t>(first), sums_[overlay.channel].data() + at,
                 size);
      });
    }
  }
}

void Mixer::hand_out(int16_t *pcm, size_t at, size_t count) const {
  if (timeline_.channels == 2) {
    kernel_->interleave(pcm, sums_[0].data() + at, sums_[1].data() + at, count);
  } else {
    kernel_->saturate(pcm, sums_[0].data() + at, count);
  }
}

void Mixer::hand_out(float *pcm, size_t at, size_t count) const {
  if (timeline_.channels == 2) {
    kernel_->interleave_f32(pcm, sums_[0].data() + at, sums_[1].data() + at, count);
  } else {
    kernel_->saturate_f32(pcm, sums_[0].data() + at, count);
  }
}

template <class Sample>
size_t Mixer::read_as(Sample *pcm, size_t max_frames, int64_t until) {
  size_t kept = 0;
  for (const uint32_t index : active_) {
    if (settle(tracks_[index])) {
      active_[kept++] = index;
    }
  }
  active_.resize(kept);
  const int64_t passed = passed_by_all(until);
  const size_t count = std::min(max_frames, static_cast<size_t>(passed - base_));
  if (count == 0) {
    return 0;
  }
  add_tones(base_ + static_cast<int64_t>(count));
  const auto channels = static_cast<size_t>(timeline_.channels);
  in_pieces(base_, count, [&](size_t at, size_t first, size_t size) {
    hand_out(pcm + first * channels, at, size);
    for (size_t channel = 0; channel < channels; ++channel) {
      std::memset(sums_[channel].data() + at, 0, size * sizeof(int32_t));
    }
  });
  base_ += static_cast<int64_t>(count);
  head_ = (head_ + count) % capacity_;
  return count;
}

size_t Mixer::read(int16_t *pcm, size_t max_frames, int64_t until) {
  return read_as(pcm, max_frames, until);
}

size_t Mixer::read(float *pcm, size_t max_frames, int64_t until) {
  return read_as(pcm, max_frames, until);
}

}  // namespace callreplay
