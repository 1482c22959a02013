// Spans in lanes: cursors plan, kernels decode in lockstep, cursors finish.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "decode/kernels.h"
#include "decode/leg/cursor.h"

namespace callreplay {

// Zeroed memory aligned to 64 octets.
class AlignedState {
 public:
  explicit AlignedState(size_t bytes);
  void *get() const { return memory_.get(); }

 private:
  struct Free {
    void operator()(void *memory) const { ::operator delete (memory, std::align_val_t{64}); }
  };
  std::unique_ptr<void, Free> memory_;
};

class Conveyor {
 public:
  Conveyor();

  // Take a span in; `leg` (checked) must outlive it. Returns its slot.
  uint32_t open(const cr_leg &leg, size_t span, uint32_t budget, int64_t from, int64_t to);
  // The span is over or not wanted any more: its lane is free for another.
  void close(uint32_t slot);

  // The slot takes part in the next step.
  void want(uint32_t slot);
  // One round of every wanted slot: plan, decode, finish.
  void step();

  SpanCursor &cursor(uint32_t slot) { return slots_[slot]->cursor; }
  const SpanCursor &cursor(uint32_t slot) const { return slots_[slot]->cursor; }
  const cr_occupancy &occupancy() const { return occupancy_; }

 private:
  struct Lane {
    int32_t group = -1;
    int32_t lane = 0;
  };
  struct Slot {
    SpanCursor cursor;
    Lane lane;
    bool wanted = false;
  };
  // Streams that share a kernel's state. Scalar groups have one lane.
  template <class Kernel>
  struct Group {
    const Kernel *kernel;
    int mode;
    AlignedState state;
    std::vector<int32_t> occupant;  // slot of each lane, -1 when free
    int occupied = 0;
  };
  template <class Kernel>
  struct Family {
    const Kernel *vector;
    const Kernel *scalar;
    std::vector<Group<Kernel>> groups;
    std::vector<uint32_t> pending;  // slots that wait for a lane, by arrival
  };

  template <class Kernel>
  void seat(Family<Kernel> &family, int mode);
  template <class Kernel>
  void put(Family<Kernel> &family, size_t group, uint32_t slot);
  template <class Kernel>
  void leave(Family<Kernel> &family, Slot &slot);
  template <class Kernel>
  size_t group_with_room(Family<Kernel> &family, const Kernel *kernel, int mode);
  void decode(Group<G722Kernel> &group);
  void decode(Group<G729Kernel> &group);
  void count(int lanes, int used, uint64_t weight);
  bool present(int32_t occupant) const {
    return occupant >= 0 && slots_[static_cast<size_t>(occupant)]->wanted;
  }

  static constexpr int kMaxLanes = 128;

  const G711Kernel *g711_;
  Family<G722Kernel> g722_;
  Family<G729Kernel> g729_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<uint32_t> free_;
  std::vector<uint32_t> wanted_;
  cr_occupancy occupancy_{};
};

}  // namespace callreplay
