// Tracks on one timeline, summed in a window that moves with the reader.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "callreplay/mix.h"
#include "mix/kernels.h"
#include "mix/resampler.h"
#include "mix/slip.h"
#include "mix/timeline.h"

namespace callreplay {

cr_status check_timeline(const cr_timeline *timeline, const cr_event *events, size_t event_count);

// The drift that is corrected: none when clocks are to be trusted.
int64_t corrected_drift(const cr_timeline &timeline, int64_t drift_ppb);

// Where the samples of a track go, once Slip has corrected its clock if that suits.
Placement track_placement(const cr_timeline &timeline, int32_t sample_rate_hz, int64_t anchor_ns,
                          int64_t drift_ppb);

class Mixer {
 public:
  // The timeline is checked. Reading starts at frame `start`.
  Mixer(const cr_timeline &timeline, const cr_event *events, size_t event_count, int64_t start);

  uint32_t add_track(uint32_t leg, int32_t channel, int32_t sample_rate_hz, int64_t anchor_ns,
                     int64_t drift_ppb);
  // Where the events of a leg sound. Implied by add_track.
  void set_channel(uint32_t leg, int32_t channel);
  size_t push(uint32_t track, int64_t first_sample, const int16_t *pcm, size_t count);
  void finish(uint32_t track);
  // Frames before `until` that every track has passed, at most `max_frames`.
  size_t read(int16_t *pcm, size_t max_frames, int64_t until);
  // The same frames as floats, -1 to 1.
  size_t read(float *pcm, size_t max_frames, int64_t until);

  int64_t position() const { return base_; }
  int64_t window_end() const { return base_ + static_cast<int64_t>(capacity_); }
  int64_t frames() const { return timeline_.frames; }
  size_t capacity() const { return capacity_; }
  int32_t channels() const { return timeline_.channels; }
  size_t tracks() const { return tracks_.size(); }
  bool has(uint32_t track) const { return track < tracks_.size(); }
  bool finished(uint32_t track) const { return tracks_[track].finished; }

 private:
  struct Track {
    uint32_t leg;
    int32_t channel;
    Placement placement;
    std::unique_ptr<Slip> slip;            // comes first
    std::unique_ptr<Resampler> resampler;  // none: samples are copied
    int64_t next_sample = INT64_MIN;       // what was pushed so far ends here
    int64_t passed = 0;                    // no more samples come before this frame
    size_t event = 0;                      // first event of the leg that may still matter
    bool finished = false;
  };
  struct Overlay {
    uint32_t leg;
    int32_t tone, level, channel;
    int64_t start, end;  // frames
  };

  size_t push_slipping(Track &track, int64_t first_sample, const int16_t *pcm, size_t count);
  bool forward(Track &track);
  bool settle(Track &track);
  size_t push_placed(Track &track, int64_t first_sample, const int16_t *pcm, size_t count);
  size_t push_copy(Track &track, int64_t first_sample, const int16_t *pcm, size_t count);
  size_t push_resampled(Track &track, int64_t first_sample, const int16_t *pcm, size_t count);
  void pump(Track &track);
  void deposit(Track &track, int64_t frame, const int16_t *pcm, size_t count);
  void add(int32_t channel, int64_t frame, const int16_t *pcm, size_t count);
  void add_tones(int64_t until);
  int64_t passed_by_all(int64_t until) const;
  template <class Sample>
  size_t read_as(Sample *pcm, size_t max_frames, int64_t until);
  template <class Piece>
  void in_pieces(int64_t frame, size_t count, const Piece &piece) const;
  void hand_out(int16_t *pcm, size_t at, size_t count) const;
  void hand_out(float *pcm, size_t at, size_t count) const;

  const MixKernel *kernel_;
  cr_timeline timeline_;
  size_t capacity_;
  size_t block_;
  int64_t base_;                  // the first frame of the window
  size_t head_ = 0;               // where it lies in sums_
  std::vector<int32_t> sums_[2];  // a ring of capacity_
  std::vector<Track> tracks_;
  std::vector<uint32_t> active_;   // tracks that have not settled
  std::vector<Overlay> overlays_;  // by leg, then start
  std::vector<int16_t> scratch_;
};

}  // namespace callreplay
