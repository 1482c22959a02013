// The C face of the renderers.
#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "conveyor/call.h"
#include "handle.h"

using callreplay::Call;
using callreplay::CallSource;
using callreplay::Conveyor;
using callreplay::LanedStreams;

struct cr_renderer : callreplay::Handle {
  explicit cr_renderer(CallSource source_) : source(std::move(source_)) { start(0); }

  void start(int64_t frame) {
    call.reset();
    conveyor = std::make_unique<Conveyor>();
    call = std::make_unique<Call>(source, frame);
    position = frame;
  }

  template <class Sample>
  void read(Sample *pcm, size_t max_frames, size_t *frames) {
    const auto channels = static_cast<size_t>(source.timeline.channels);
    while (*frames < max_frames && !call->ended()) {
      const size_t got = call->read(pcm + *frames * channels, max_frames - *frames);
      *frames += got;
      if (got == 0) {
        call->feed(*conveyor);
        conveyor->step();
      }
    }
    position = call->position();
  }

  std::atomic<int64_t> position{0};  // asked for at any time, by any thread
  CallSource source;
  std::unique_ptr<Conveyor> conveyor;
  std::unique_ptr<Call> call;
};

namespace {

// A call of a group. When it has ended its counts stay, until another call takes its place.
struct GroupCall {
  explicit GroupCall(CallSource source_) : source(std::make_unique<CallSource>(std::move(source_))) {
    call = std::make_unique<Call>(*source, 0);
  }
  std::unique_ptr<CallSource> source;
  std::unique_ptr<Call> call;
  std::vector<cr_leg_counts> counts;
  std::vector<int16_t> gathered;  // frames that wait for a whole block
  size_t filled = 0;              // of them, in frames
};

}  // namespace

struct cr_renderer_group : callreplay::Handle {
  explicit cr_renderer_group(uint32_t gather_ms_) : gather_ms(gather_ms_) {}

  // Take up the end of a call: its lanes are free for others.
  void end(uint32_t index) {
    GroupCall &ending = calls[index];
    ending.call->close(conveyor);
    ending.counts.reserve(ending.source->legs.size());
    for (uint32_t leg = 0; leg < ending.source->legs.size(); ++leg) {
      ending.counts.push_back(ending.call->counts(conveyor, leg));
    }
    ending.call.reset();
    ending.source.reset();
    ending.gathered = {};
    free.push_back(index);  // add() has made room
  }

  static size_t channels(const GroupCall &call) {
    return static_cast<size_t>(call.source->timeline.channels);
  }

  // Frames that are handed out at once.
  size_t block(const GroupCall &call) const {
    return static_cast<size_t>(call.source->timeline.rate_hz) * gather_ms / 1000;
  }

  // Take what a call has ready to the block so far. True when it is whole, or the call has ended.
  bool gather(GroupCall &current, int16_t *pcm) {
    current.filled +=
        current.call->read(pcm + current.filled * channels(current), block(current) - current.filled);
    return current.filled == block(current) || current.call->ended();
  }

  // The next block of a call into `pcm`, if it can be had. A call that needs no lanes goes on until it has one,
  // straight to where it is wanted: so all that it touches stays in the processor's first caches, where round by
  // round of many calls each would find its own in the last of them, or in memory. The others wait in `gathered`.
  bool take(GroupCall &current, int16_t *pcm, size_t room) {
    const size_t samples = block(current) * channels(current);
    if (room < samples || !current.call->by_itself(conveyor)) {
      current.gathered.resize(samples);
      if (!gather(current, current.gathered.data())) {
        return false;
      }
      if (current.filled * channels(current) <= room) {
        std::copy_n(current.gathered.data(), current.filled * channels(current), pcm);
      }
      return true;
    }
    std::copy_n(current.gathered.data(), current.filled * channels(current), pcm);
    while (!gather(current, pcm)) {
      if (!current.call->by_itself(conveyor)) {
        current.gathered.resize(samples);
        std::copy_n(pcm, current.filled * channels(current), current.gathered.data());
        return false;
      }
      current.call->feed(conveyor);
      conveyor.step();
    }
    return true;
  }

  uint32_t add(GroupCall added) {
    running.reserve(running.size() + 1);
    if (free.empty()) {
      free.reserve(calls.size() + 1);
      calls.push_back(std::move(added));
      running.push_back(static_cast<uint32_t>(calls.size() - 1));
    } else {
      calls[free.back()] = std::move(added);
      running.push_back(free.back());
      free.pop_back();
    }
    return running.back();
  }

  // The block of the call whose turn it is was taken. CR_ARGUMENT when it does not fit.
  cr_status hand_out(size_t room, size_t *frames, int *last) {
    const uint32_t index = running[turn];
    GroupCall &current = calls[index];
    if (current.filled * channels(current) > room) {
      return CR_ARGUMENT;
    }
    *frames = current.filled;
    current.filled = 0;
    if (current.call->ended()) {
      end(index);
      running.erase(running.begin() + static_cast<ptrdiff_t>(turn));
      --together;
      *last = 1;
    } else {
      ++turn;
    }
    return CR_OK;
  }

  cr_status read(int16_t *pcm, size_t room, uint32_t *call, size_t *frames, int *last) {
    while (!running.empty()) {
      for (; turn < together; ++turn) {
        *call = running[turn];
        if (take(calls[*call], pcm, room)) {
          return hand_out(room, frames, last);
        }
      }
      turn = 0;
      go_on();
    }
    return CR_OK;
  }

  // A round of the oldest calls, as many as fill the lanes that take the streams of each codec among them for
  // least. The others wait: with all that are open in every round, what each touches would be in the last cache or
  // in memory by its next one.
  void go_on() {
    LanedStreams streams;
    together = 0;
    while (together < running.size() && !conveyor.full(streams)) {
      Call &next = *calls[running[together++]].call;
      next.feed(conveyor);
      next.count(conveyor, streams);
    }
    conveyor.step();
  }

  // How many stand back if a round begins now.
  size_t waiting() const {
    LanedStreams streams;
    size_t going = 0;
    while (going < running.size() && !conveyor.full(streams)) {
      calls[running[going++]].call->count(conveyor, streams);
    }
    return running.size() - going;
  }

  Conveyor conveyor;
  std::vector<GroupCall> calls;
  std::vector<uint32_t> running;
  std::vector<uint32_t> free;  // numbers of ended calls
  size_t together = 0;         // of `running`, the first ones: those that go on
  size_t turn = 0;             // of them, the next to be asked
  uint32_t gather_ms;
};

namespace {

template <class Sample>
cr_status read_as(cr_renderer *renderer, Sample *pcm, size_t max_frames, size_t *frames) {
  if (frames == nullptr || (max_frames > 0 && pcm == nullptr)) {
    return CR_ARGUMENT;
  }
  *frames = 0;
  return callreplay::use(renderer, [&](cr_renderer &held) {
    held.read(pcm, max_frames, frames);
    return CR_OK;
  });
}

}  // namespace

extern "C" {

cr_status cr_renderer_create(const cr_timeline *timeline, const cr_render_leg *legs, size_t leg_count,
                             const cr_event *events, size_t event_count, cr_renderer **renderer) {
  const cr_status status = callreplay::check_call(timeline, legs, leg_count, events, event_count);
  if (status != CR_OK || renderer == nullptr) {
    return status != CR_OK ? status : CR_ARGUMENT;
  }
  return callreplay::caught([&] {
    return callreplay::create(renderer, CallSource(*timeline, legs, leg_count, events, event_count));
  });
}

void cr_renderer_destroy(cr_renderer *renderer) {
  delete renderer;
}

cr_status cr_renderer_read(cr_renderer *renderer, int16_t *pcm, size_t max_frames, size_t *frames) {
  return read_as(renderer, pcm, max_frames, frames);
}

cr_status cr_renderer_read_f32(cr_renderer *renderer, float *pcm, size_t max_frames, size_t *frames) {
  return read_as(renderer, pcm, max_frames, frames);
}

cr_status cr_renderer_seek(cr_renderer *renderer, int64_t frame) {
  return callreplay::use(renderer, [&](cr_renderer &held) {
    if (frame < 0 || frame > held.source.timeline.frames) {
      return CR_ARGUMENT;
    }
    held.start(frame);
    return CR_OK;
  });
}

int64_t cr_renderer_position(const cr_renderer *renderer) {
  return renderer == nullptr ? 0 : renderer->position.load();
}

cr_status cr_renderer_counts(const cr_renderer *renderer, uint32_t leg, cr_leg_counts *counts) {
  if (counts == nullptr) {
    return CR_ARGUMENT;
  }
  return callreplay::use(renderer, [&](const cr_renderer &held) {
    if (leg >= held.source.legs.size()) {
      return CR_ARGUMENT;
    }
    *counts = held.call->counts(*held.conveyor, leg);
    return CR_OK;
  });
}

cr_status cr_renderer_group_create(uint32_t gather_ms, cr_renderer_group **group) {
  if (group == nullptr || gather_ms == 0 || gather_ms > 60000) {
    return CR_ARGUMENT;
  }
  return callreplay::create(group, gather_ms);
}

void cr_renderer_group_destroy(cr_renderer_group *group) {
  delete group;
}

cr_status cr_renderer_group_add(cr_renderer_group *group, const cr_timeline *timeline,
                                const cr_render_leg *legs, size_t leg_count, const cr_event *events,
                                size_t event_count, uint32_t *call) {
  const cr_status status = callreplay::check_call(timeline, legs, leg_count, events, event_count);
  if (status != CR_OK || call == nullptr) {
    return status != CR_OK ? status : CR_ARGUMENT;
  }
  return callreplay::use(group, [&](cr_renderer_group &held) {
    if (held.calls.size() >= UINT32_MAX) {
      return CR_LIMIT;
    }
    *call = held.add(GroupCall(CallSource(*timeline, legs, leg_count, events, event_count)));
    return CR_OK;
  });
}

cr_status cr_renderer_group_read(cr_renderer_group *group, int16_t *pcm, size_t capacity, uint32_t *call,
                                 size_t *frames, int *last) {
  if (pcm == nullptr || capacity < 2 || call == nullptr || frames == nullptr || last == nullptr) {
    return CR_ARGUMENT;
  }
  *frames = 0;
  *last = 0;
  return callreplay::use(
      group, [&](cr_renderer_group &held) { return held.read(pcm, capacity, call, frames, last); });
}

cr_status cr_renderer_group_counts(const cr_renderer_group *group, uint32_t call, uint32_t leg,
                                   cr_leg_counts *counts) {
  if (counts == nullptr) {
    return CR_ARGUMENT;
  }
  return callreplay::use(group, [&](const cr_renderer_group &held) {
    if (call >= held.calls.size()) {
      return CR_ARGUMENT;
    }
    const GroupCall &asked = held.calls[call];
    const size_t legs = asked.call != nullptr ? asked.source->legs.size() : asked.counts.size();
    if (leg >= legs) {
      return CR_ARGUMENT;
    }
    *counts = asked.call != nullptr ? asked.call->counts(held.conveyor, leg) : asked.counts[leg];
    return CR_OK;
  });
}

cr_status cr_renderer_group_waiting(const cr_renderer_group *group, size_t *calls) {
  if (calls == nullptr) {
    return CR_ARGUMENT;
  }
  return callreplay::use(group, [&](const cr_renderer_group &held) {
    *calls = held.waiting();
    return CR_OK;
  });
}

cr_status cr_renderer_group_occupancy(const cr_renderer_group *group, cr_occupancy *occupancy) {
  if (occupancy == nullptr) {
    return CR_ARGUMENT;
  }
  return callreplay::use(group, [&](const cr_renderer_group &held) {
    *occupancy = held.conveyor.occupancy();
    return CR_OK;
  });
}

}  // extern "C"
