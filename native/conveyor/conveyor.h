// Spans in lanes: cursors plan, kernels decode in lockstep, cursors finish.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "callreplay/conveyor.h"
#include "conveyor/ahead.h"
#include "conveyor/choice.h"
#include "decode/kernels.h"
#include "decode/leg/cursor.h"

namespace callreplay {

// Streams of each codec that is decoded in lanes.
struct LanedStreams {
  size_t g722 = 0, g726 = 0, g729 = 0;
};

class Conveyor {
 public:
  Conveyor() : Conveyor(g722_choice, g726_choice, g729_choice) {}
  // With these kernels, for tests and benches; they must outlive it.
  Conveyor(ChoiceOf<G722Kernel> g722, ChoiceOf<G726Kernel> g726, ChoiceOf<G729Kernel> g729);

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
  // Whether streams are as many as the lanes in which those of the codecs among them are decoded for least.
  bool full(const LanedStreams &streams) const {
    const size_t all = streams.g722 + streams.g726 + streams.g729;
    return all > 0 && all >= (streams.g722 > 0 ? g722_.choice->plan.bulk() : 0) +
                                 (streams.g726 > 0 ? g726_.choice->plan.bulk() : 0) +
                                 (streams.g729 > 0 ? g729_.choice->plan.bulk() : 0);
  }

 private:
  struct Lane {
    int32_t group = -1;
    int32_t lane = 0;
  };
  struct Slot {
    SpanCursor cursor;
    Lane lane;
    bool wanted = false;
    // G.729:
    bool ahead = false;            // this round was decoded by Ahead
    uint16_t seed = kErasureSeed;  // of the generator of concealment, before the round
    int distrust = 0;              // rounds that it is kept from Ahead,
    int failures = 0;              // which did not pay so many times in a row
  };
  // Streams that share a kernel's state. Scalar groups have one lane.
  template <class Kernel>
  struct Group {
    const Kernel *kernel;
    size_t width;  // its number among the kernels of the choice
    int mode;
    AlignedState state;
    std::vector<int32_t> occupant;  // slot of each lane, -1 when free
    int occupied = 0;
  };
  template <class Kernel>
  struct Family {
    ChoiceOf<Kernel> choice;
    std::vector<Group<Kernel>> groups;
    std::vector<uint32_t> waiting;  // slots with work in this round
    std::vector<uint64_t> stream;   // a state on its way from lane to lane
  };
  // The groups of one family and mode as a round finds them.
  struct Standing {
    size_t streams = 0;   // with work in this round
    size_t unseated = 0;  // of them, without a lane so far
    double rounds = 0;    // calls of a kernel that the longest of them needs
    double cost = 0;      // of all calls as the streams sit
  };

  template <class Kernel>
  Standing look(const Family<Kernel> &family, int mode);
  template <class Kernel>
  void arrange(Family<Kernel> &family, int mode);
  template <class Kernel>
  size_t choose_groups(const Family<Kernel> &family, int mode, size_t streams);
  template <class Kernel>
  size_t open_group(Family<Kernel> &family, size_t width, int mode);
  template <class Kernel>
  void put(Family<Kernel> &family, size_t group, uint32_t slot);
  template <class Kernel>
  void leave(Family<Kernel> &family, Slot &slot);
  static double rounds_of(const Slot &slot, const G722Kernel *) {
    return static_cast<double>(slot.cursor.octets().size()) / kG722Octets;
  }
  static double rounds_of(const Slot &slot, const G726Kernel *) {
    return static_cast<double>(slot.cursor.octets().size()) / kG726Codes;
  }
  static double rounds_of(const Slot &slot, const G729Kernel *) {
    return static_cast<double>(slot.cursor.frames().size());
  }
  template <class Kernel>
  void decode_octets(Group<Kernel> &group, size_t samples_per_octet);
  void decode(Group<G729Kernel> &group);
  void decode_ahead();
  void count(int lanes, int used, uint64_t weight);
  bool present(int32_t occupant) const {
    return occupant >= 0 && slots_[static_cast<size_t>(occupant)]->wanted &&
           !slots_[static_cast<size_t>(occupant)]->ahead;
  }

  const G711Kernel *g711_;
  Family<G722Kernel> g722_;
  Family<G726Kernel> g726_;
  Family<G729Kernel> g729_;
  Ahead ahead_;
  std::vector<uint32_t> ahead_slots_;  // slots of a round, their streams and the states of these
  std::vector<AheadStream> ahead_streams_;
  std::vector<uint64_t> ahead_states_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<uint32_t> free_;
  std::vector<uint32_t> wanted_;
  std::vector<int> used_;       // by group: lanes with work in this round
  std::vector<char> kept_;      // by group: it stays, or is new
  std::vector<size_t> needed_;  // by width: groups that are still to be opened
  cr_occupancy occupancy_{};
};

}  // namespace callreplay
