// One call being rendered: its spans' cursors in a conveyor, their chunks in a mixer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "callreplay/conveyor.h"
#include "conveyor/conveyor.h"
#include "conveyor/leg_copy.h"
#include "mix/mixer.h"

namespace callreplay {

// What a call is made of; outlives every Call made from it.
struct CallSource {
  // Copies; everything must be checked (check_call).
  CallSource(const cr_timeline &timeline, const cr_render_leg *legs, size_t leg_count, const cr_event *events,
             size_t event_count);

  cr_timeline timeline;
  std::vector<LegCopy> legs;
  std::vector<int32_t> channels;
  std::vector<cr_event> events;
};

cr_status check_call(const cr_timeline *timeline, const cr_render_leg *legs, size_t leg_count,
                     const cr_event *events, size_t event_count);

class Call {
 public:
  Call(const CallSource &source, int64_t start);

  // Hand what was decoded to the mixer and ask the conveyor for more where the mixer has room.
  void feed(Conveyor &conveyor);
  // Frames that are ready, at most `max_frames`.
  template <class Sample>
  size_t read(Sample *pcm, size_t max_frames) {
    return mixer_.read(pcm, max_frames, ready_until());
  }
  // Whether it gains nothing by others that go on with it: something of it sounds, and nothing in lanes.
  bool by_itself(Conveyor &conveyor) const;
  // Add its streams that are under way, or are with the next feed().
  void count(const Conveyor &conveyor, LanedStreams &streams) const;
  bool ended() const { return mixer_.position() >= mixer_.frames(); }
  int64_t position() const { return mixer_.position(); }
  // Leave the conveyor.
  void close(Conveyor &conveyor);

  cr_leg_counts counts(const Conveyor &conveyor, uint32_t leg) const;

 private:
  int64_t ready_until() const;
  // A span with its place on the timeline, waiting for the window to reach it.
  struct Waiting {
    uint32_t leg;
    uint32_t span;
    int64_t start;     // frame
    int64_t from, to;  // samples that are wanted
  };
  struct Track {
    uint32_t leg;
    uint32_t track;
    uint32_t slot;
    size_t segment;  // the next to push
    size_t offset;   // samples of it that are pushed
  };

  void enlist(const CallSource &source, uint32_t leg, int64_t start);
  void activate(Conveyor &conveyor);
  bool push(Conveyor &conveyor, Track &track);

  const CallSource &source_;
  Mixer mixer_;
  std::vector<Waiting> waiting_;  // by start
  size_t next_ = 0;
  std::vector<Track> active_;
  std::vector<cr_leg_counts> counts_;  // of spans that have ended
};

}  // namespace callreplay
