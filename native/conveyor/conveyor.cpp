#include "conveyor/conveyor.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

namespace callreplay {

AlignedState::AlignedState(size_t bytes) : memory_(::operator new (bytes, std::align_val_t{64})) {
  std::memset(memory_.get(), 0, bytes);
}

Conveyor::Conveyor()
    : g711_(g711_kernel(cr_isa_active())),
      g722_{g722_kernel(cr_isa_active()), g722_kernel(CR_ISA_SCALAR), {}, {}},
      g729_{g729_kernel(cr_isa_active()), g729_kernel(CR_ISA_SCALAR), {}, {}} {
  if (g711_ == nullptr) {
    g711_ = g711_kernel(CR_ISA_SCALAR);
  }
}

uint32_t Conveyor::open(const cr_leg &leg, size_t span, uint32_t budget, int64_t from, int64_t to) {
  if (free_.empty()) {
    slots_.push_back(std::make_unique<Slot>());
    free_.push_back(static_cast<uint32_t>(slots_.size() - 1));
  }
  const uint32_t slot = free_.back();
  slots_[slot]->cursor.open(leg, span, budget, *g711_, from, to);
  free_.pop_back();
  return slot;
}

void Conveyor::close(uint32_t slot) {
  Slot &leaving = *slots_[slot];
  if (leaving.lane.group >= 0) {
    if (leaving.cursor.span().codec == CR_CODEC_G722) {
      leave(g722_, leaving);
    } else {
      leave(g729_, leaving);
    }
  }
  free_.push_back(slot);
}

template <class Kernel>
void Conveyor::leave(Family<Kernel> &family, Slot &slot) {
  Group<Kernel> &group = family.groups[static_cast<size_t>(slot.lane.group)];
  group.occupant[static_cast<size_t>(slot.lane.lane)] = -1;
  --group.occupied;
  slot.lane = {};
}

void Conveyor::want(uint32_t slot) {
  if (!slots_[slot]->wanted) {
    slots_[slot]->wanted = true;
    wanted_.push_back(slot);
  }
}

template <class Kernel>
size_t Conveyor::group_with_room(Family<Kernel> &family, const Kernel *kernel, int mode) {
  for (size_t i = 0; i < family.groups.size(); ++i) {
    Group<Kernel> &group = family.groups[i];
    const bool fits = group.kernel == kernel && (group.mode == mode || group.occupied == 0);
    if (fits && group.occupied < kernel->lanes) {
      group.mode = mode;
      return i;
    }
  }
  const auto lanes = static_cast<size_t>(kernel->lanes);
  family.groups.push_back({kernel, mode, AlignedState(kernel->state_bytes), std::vector<int32_t>(lanes, -1)});
  for (int lane = 0; lane < kernel->lanes; ++lane) {
    kernel->reset(family.groups.back().state.get(), lane);
  }
  return family.groups.size() - 1;
}

template <class Kernel>
void Conveyor::put(Family<Kernel> &family, size_t index, uint32_t slot) {
  Group<Kernel> &group = family.groups[index];
  const auto lane =
      static_cast<int>(std::find(group.occupant.begin(), group.occupant.end(), -1) - group.occupant.begin());
  group.occupant[static_cast<size_t>(lane)] = static_cast<int32_t>(slot);
  ++group.occupied;
  group.kernel->reset(group.state.get(), lane);
  if constexpr (std::is_same_v<Kernel, G729Kernel>) {
    group.kernel->seed(group.state.get(), lane, slots_[slot]->cursor.erasure_seed());
  }
  slots_[slot]->lane = {static_cast<int32_t>(index), lane};
}

// Lanes for the pending spans of one mode. A span keeps its lane to its end, for a state cannot move between
// kernels; so a lone newcomer gets the scalar kernel, unless a vector group is running with room anyway.
template <class Kernel>
void Conveyor::seat(Family<Kernel> &family, int mode) {
  const auto waits = [this, mode](uint32_t slot) { return slots_[slot]->cursor.span().mode == mode; };
  auto left = static_cast<size_t>(std::count_if(family.pending.begin(), family.pending.end(), waits));
  for (const uint32_t slot : family.pending) {
    if (!waits(slot)) {
      continue;
    }
    const bool vector = family.vector != nullptr && family.vector->lanes > 1;
    bool join = false;
    for (const Group<Kernel> &group : family.groups) {
      join = join || (vector && group.kernel == family.vector && group.mode == mode && group.occupied > 0 &&
                      group.occupied < group.kernel->lanes);
    }
    const Kernel *kernel = vector && (join || left >= 2) ? family.vector : family.scalar;
    put(family, group_with_room(family, kernel, mode), slot);
    --left;
  }
}

void Conveyor::step() {
  for (const uint32_t slot : wanted_) {
    Slot &taking = *slots_[slot];
    taking.cursor.plan();
    if (taking.lane.group >= 0) {
      continue;
    }
    if (!taking.cursor.octets().empty()) {
      g722_.pending.push_back(slot);
    } else if (!taking.cursor.frames().empty()) {
      g729_.pending.push_back(slot);
    }
  }
  if (!g722_.pending.empty()) {
    for (int mode = 0; mode <= 2; ++mode) {
      seat(g722_, mode);
    }
    g722_.pending.clear();
  }
  if (!g729_.pending.empty()) {
    seat(g729_, CR_G729_EXACT);
    seat(g729_, CR_G729_BRIDGED);
    g729_.pending.clear();
  }
  for (Group<G722Kernel> &group : g722_.groups) {
    decode(group);
  }
  for (Group<G729Kernel> &group : g729_.groups) {
    decode(group);
  }
  for (const uint32_t slot : wanted_) {
    slots_[slot]->cursor.finish();
    slots_[slot]->wanted = false;
  }
  wanted_.clear();
}

void Conveyor::count(int lanes, int used, uint64_t weight) {
  if (lanes == 1) {
    occupancy_.scalar_rounds += weight;
    return;
  }
  occupancy_.rounds += weight;
  occupancy_.lane_slots += weight * static_cast<uint64_t>(lanes);
  occupancy_.lane_used += weight * static_cast<uint64_t>(used);
}

void Conveyor::decode(Group<G722Kernel> &group) {
  if (group.occupied == 0) {
    return;
  }
  const uint8_t *payload[kMaxLanes] = {};
  int16_t *pcm[kMaxLanes] = {};
  size_t done = 0;  // every lane starts with the round, so all are equally far until they end
  for (;;) {
    size_t octets = 0;
    int used = 0;
    for (size_t lane = 0; lane < group.occupant.size(); ++lane) {
      payload[lane] = nullptr;
      if (!present(group.occupant[lane])) {
        continue;
      }
      SpanCursor &cursor = slots_[static_cast<size_t>(group.occupant[lane])]->cursor;
      const size_t left = cursor.octets().size() - std::min(done, cursor.octets().size());
      if (left > 0) {
        payload[lane] = cursor.octets().data() + done;
        pcm[lane] = cursor.samples() + 2 * done;
        octets = used == 0 ? left : std::min(octets, left);
        ++used;
      }
    }
    if (used == 0) {
      return;
    }
    group.kernel->decode(group.state.get(), group.mode, payload, pcm, static_cast<int>(octets));
    count(group.kernel->lanes, used, octets);
    done += octets;
  }
}

void Conveyor::decode(Group<G729Kernel> &group) {
  if (group.occupied == 0) {
    return;
  }
  G729Frame frames[kMaxLanes];
  int16_t *pcm[kMaxLanes] = {};
  int16_t partial[kMaxLanes][80];
  for (size_t round = 0;; ++round) {
    int used = 0;
    for (size_t lane = 0; lane < group.occupant.size(); ++lane) {
      frames[lane] = {nullptr, G729Frame::kIdle, false};
      pcm[lane] = partial[lane];
      if (!present(group.occupant[lane])) {
        continue;
      }
      SpanCursor &cursor = slots_[static_cast<size_t>(group.occupant[lane])]->cursor;
      if (round < cursor.frames().size()) {
        const FramePlan &plan = cursor.frames()[round];
        frames[lane] = plan.frame;
        pcm[lane] = plan.keep == 80 ? cursor.samples() + plan.pcm : partial[lane];
        ++used;
      }
    }
    if (used == 0) {
      return;
    }
    group.kernel->decode(group.state.get(), frames, pcm);
    count(group.kernel->lanes, used, 80);
    for (size_t lane = 0; lane < group.occupant.size(); ++lane) {
      if (frames[lane].type == G729Frame::kIdle || pcm[lane] != partial[lane]) {
        continue;
      }
      SpanCursor &cursor = slots_[static_cast<size_t>(group.occupant[lane])]->cursor;
      const FramePlan &plan = cursor.frames()[round];
      std::copy_n(partial[lane] + plan.skip, plan.keep, cursor.samples() + plan.pcm);
    }
  }
}

}  // namespace callreplay
