#include "conveyor/conveyor.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

namespace callreplay {

Conveyor::Conveyor(ChoiceOf<G722Kernel> g722, ChoiceOf<G726Kernel> g726, ChoiceOf<G729Kernel> g729)
    : g711_(g711_kernel(cr_isa_active())),
      g722_{g722, {}, {}, {}},
      g726_{g726, {}, {}, {}},
      g729_{g729, {}, {}, {}},
      ahead_(g729) {
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
  slots_[slot]->seed = slots_[slot]->cursor.erasure_seed();
  slots_[slot]->distrust = slots_[slot]->failures = 0;
  free_.pop_back();
  return slot;
}

void Conveyor::close(uint32_t slot) {
  Slot &leaving = *slots_[slot];
  if (leaving.lane.group >= 0) {
    switch (leaving.cursor.span().codec) {
      case CR_CODEC_G722:
        leave(g722_, leaving);
        break;
      case CR_CODEC_G726:
        leave(g726_, leaving);
        break;
      default:
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

// Groups hold the streams of one mode; what is empty may take another.
template <class Kernel>
Conveyor::Standing Conveyor::look(const Family<Kernel> &family, int mode) {
  Standing now;
  used_.assign(family.groups.size(), 0);
  for (const uint32_t waiting : family.waiting) {
    const Slot &slot = *slots_[waiting];
    if (slot.cursor.mode() != mode) {
      continue;
    }
    ++now.streams;
    now.rounds = std::max(now.rounds, rounds_of(slot, family.choice->kernels[0]));
    if (slot.lane.group < 0) {
      ++now.unseated;
    } else {
      ++used_[static_cast<size_t>(slot.lane.group)];
    }
  }
  for (size_t i = 0; i < used_.size(); ++i) {
    const auto used = static_cast<size_t>(used_[i]);
    now.cost += used == 0 ? 0.0 : family.choice->plan.widths()[family.groups[i].width].cost(used);
  }
  return now;
}

// Marks in kept_ the groups of the cheapest calls for `streams`, the fullest of each width, and leaves in
// needed_ how many are to be opened. Returns how many streams must leave their group.
template <class Kernel>
size_t Conveyor::choose_groups(const Family<Kernel> &family, int mode, size_t streams) {
  const LanePlan &plan = family.choice->plan;
  needed_.assign(plan.widths().size(), 0);
  for (size_t left = streams; left > 0;) {
    const size_t width = plan.first(left);
    ++needed_[width];
    left -= std::min(left, plan.widths()[width].lanes);
  }
  kept_.assign(family.groups.size(), 0);
  for (size_t width = 0; width < needed_.size(); ++width) {
    while (needed_[width] > 0) {
      size_t fullest = family.groups.size();
      for (size_t i = 0; i < family.groups.size(); ++i) {
        const Group<Kernel> &group = family.groups[i];
        const bool fits = kept_[i] == 0 && used_[i] > 0 && group.width == width && group.mode == mode;
        if (fits && (fullest == family.groups.size() || used_[i] > used_[fullest])) {
          fullest = i;
        }
      }
      if (fullest == family.groups.size()) {
        break;
      }
      kept_[fullest] = 1;
      --needed_[width];
    }
  }
  size_t leaving = 0;
  for (size_t i = 0; i < family.groups.size(); ++i) {
    leaving += kept_[i] == 0 ? static_cast<size_t>(used_[i]) : 0;
  }
  return leaving;
}

template <class Kernel>
size_t Conveyor::open_group(Family<Kernel> &family, size_t width, int mode) {
  size_t index = 0;
  while (index < family.groups.size() &&
         (family.groups[index].occupied > 0 || family.groups[index].width != width)) {
    ++index;
  }
  if (index == family.groups.size()) {
    const Kernel *kernel = family.choice->kernels[width];
    family.groups.push_back({kernel, width, mode, AlignedState(kernel->state_bytes),
                             std::vector<int32_t>(static_cast<size_t>(kernel->lanes), -1)});
    kept_.push_back(0);
    for (int lane = 0; lane < kernel->lanes; ++lane) {
      kernel->reset(family.groups.back().state.get(), lane);
    }
  }
  family.groups[index].mode = mode;
  kept_[index] = 1;
  return index;
}

// A lane for a stream: a fresh one, or where it goes on with the state of its lane so far.
template <class Kernel>
void Conveyor::put(Family<Kernel> &family, size_t index, uint32_t slot) {
  Group<Kernel> &group = family.groups[index];
  const auto lane =
      static_cast<int>(std::find(group.occupant.begin(), group.occupant.end(), -1) - group.occupant.begin());
  Slot &moving = *slots_[slot];
  if (moving.lane.group >= 0) {
    const Group<Kernel> &old = family.groups[static_cast<size_t>(moving.lane.group)];
    family.stream.resize(state_words(*old.kernel));
    old.kernel->save(old.state.get(), moving.lane.lane, family.stream.data());
    group.kernel->load(group.state.get(), lane, family.stream.data());
    leave(family, moving);
  } else {
    group.kernel->reset(group.state.get(), lane);
    if constexpr (std::is_same_v<Kernel, G729Kernel>) {
      group.kernel->seed(group.state.get(), lane, moving.cursor.erasure_seed());
    }
  }
  group.occupant[static_cast<size_t>(lane)] = static_cast<int32_t>(slot);
  ++group.occupied;
  moving.lane = {static_cast<int32_t>(index), lane};
}

// Seat the streams of one mode that have work where the round is cheapest. Those that sit already move only
// where that saves more than it costs.
template <class Kernel>
void Conveyor::arrange(Family<Kernel> &family, int mode) {
  const Standing now = look(family, mode);
  const LanePlan &plan = family.choice->plan;
  const double saved = (now.cost - plan.cost(now.streams)) * now.rounds;
  if (now.streams == 0 || (now.unseated == 0 && saved <= 0.0)) {
    return;
  }
  const size_t leaving = choose_groups(family, mode, now.streams);
  if (now.unseated == 0 && saved <= static_cast<double>(leaving) * family.choice->move_ns) {
    return;
  }
  for (size_t width = 0; width < needed_.size(); ++width) {
    for (; needed_[width] > 0; --needed_[width]) {
      open_group(family, width, mode);
    }
  }
  size_t left = now.unseated + leaving;
  size_t group = 0;
  for (const uint32_t waiting : family.waiting) {
    const Slot &slot = *slots_[waiting];
    if (slot.cursor.mode() != mode ||
        (slot.lane.group >= 0 && kept_[static_cast<size_t>(slot.lane.group)] != 0)) {
      continue;
    }
    const auto has_room = [&](size_t i) {
      return kept_[i] != 0 && family.groups[i].occupied < family.groups[i].kernel->lanes;
    };
    while (group < family.groups.size() && !has_room(group)) {
      ++group;
    }
    if (group == family.groups.size()) {  // lanes are held by streams that have no work now
      group = open_group(family, plan.first(left), mode);
    }
    put(family, group, waiting);
    --left;
  }
}

void Conveyor::step() {
  for (const uint32_t slot : wanted_) {
    Slot &taking = *slots_[slot];
    taking.cursor.plan();
    if (!taking.cursor.octets().empty()) {
      (taking.cursor.span().codec == CR_CODEC_G726 ? g726_.waiting : g722_.waiting).push_back(slot);
    } else if (!taking.cursor.frames().empty()) {
      g729_.waiting.push_back(slot);
    }
  }
  for (int mode = 0; mode <= 2 && !g722_.waiting.empty(); ++mode) {
    arrange(g722_, mode);
  }
  for (int bits = 2; bits <= 5 && !g726_.waiting.empty(); ++bits) {
    arrange(g726_, bits);
  }
  if (!g729_.waiting.empty()) {
    arrange(g729_, CR_G729_EXACT);
    arrange(g729_, CR_G729_BRIDGED);
    decode_ahead();
  }
  g722_.waiting.clear();
  g726_.waiting.clear();
  g729_.waiting.clear();
  for (Group<G722Kernel> &group : g722_.groups) {
    decode_octets(group, 2);
  }
  for (Group<G726Kernel> &group : g726_.groups) {
    decode_octets(group, 1);
  }
  for (Group<G729Kernel> &group : g729_.groups) {
    decode(group);
  }
  for (const uint32_t slot : wanted_) {
    slots_[slot]->cursor.finish();
    slots_[slot]->wanted = slots_[slot]->ahead = false;
  }
  wanted_.clear();
}

// Streams of G.729 with a long round, where they are few: those that are not left to decode() afterwards.
void Conveyor::decode_ahead() {
  size_t longest = 0;
  ahead_slots_.clear();
  for (const uint32_t waiting : g729_.waiting) {
    Slot &slot = *slots_[waiting];
    if (slot.distrust > 0) {
      --slot.distrust;
    } else {
      ahead_slots_.push_back(waiting);
      longest = std::max(longest, slot.cursor.frames().size());
    }
  }
  if (ahead_.pays(ahead_slots_.size(), longest)) {
    const size_t words = state_words(*g729_.choice->kernels[0]);
    ahead_states_.assign(ahead_slots_.size() * words, 0);
    ahead_streams_.clear();
    for (size_t i = 0; i < ahead_slots_.size(); ++i) {
      Slot &slot = *slots_[ahead_slots_[i]];
      const Group<G729Kernel> &group = g729_.groups[static_cast<size_t>(slot.lane.group)];
      uint64_t *state = ahead_states_.data() + i * words;
      group.kernel->save(group.state.get(), slot.lane.lane, state);
      ahead_streams_.push_back({&slot.cursor, state, slot.seed});
    }
    const Ahead::Done done = ahead_.decode(ahead_streams_);
    count(done.lanes, done.used, 80 * static_cast<uint64_t>(done.rounds));
    for (size_t i = 0; i < ahead_slots_.size(); ++i) {
      Slot &slot = *slots_[ahead_slots_[i]];
      Group<G729Kernel> &group = g729_.groups[static_cast<size_t>(slot.lane.group)];
      group.kernel->load(group.state.get(), slot.lane.lane, ahead_streams_[i].state);
      slot.ahead = true;
      // Where the lanes do not come together they were for nothing: twice as long each time it is left alone.
      slot.failures = ahead_streams_[i].again * 4 > done.pieces ? std::min(slot.failures + 1, 6) : 0;
      slot.distrust = slot.failures > 0 ? 1 << slot.failures : 0;
    }
  }
  for (const uint32_t waiting : g729_.waiting) {
    Slot &slot = *slots_[waiting];
    slot.seed = seed_behind(slot.cursor.frames(), 0, slot.cursor.frames().size(), slot.seed);
  }
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

template <class Kernel>
void Conveyor::decode_octets(Group<Kernel> &group, size_t samples_per_octet) {
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
        pcm[lane] = cursor.samples() + samples_per_octet * done;
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
