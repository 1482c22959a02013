// The C face of the conveyor: legs queue, each decodes its spans one after the other.
#include <algorithm>
#include <memory>
#include <vector>

#include "conveyor/conveyor.h"
#include "conveyor/leg_copy.h"
#include "handle.h"

namespace {

using callreplay::Conveyor;
using callreplay::LegCopy;

constexpr int64_t kForever = int64_t{1} << 60;

struct QueuedLeg {
  explicit QueuedLeg(const cr_leg &source) : copy(source) {}
  LegCopy copy;
  cr_leg_counts counts{};  // of the spans that have ended
};

struct ActiveLeg {
  uint32_t leg;
  size_t span;
  uint32_t slot;
};

}  // namespace

struct cr_conveyor : callreplay::Handle {
  cr_conveyor(uint32_t width_, uint32_t block_ms_) : width(width_), block_ms(block_ms_) {}

  void seat_waiting();
  void retire_done();
  void collect();
  void step();
  uint32_t open(const LegCopy &copy, size_t span) {
    return conveyor.open(copy.leg, span, callreplay::round_samples(copy.spans[span], block_ms), 0, kForever);
  }

  Conveyor conveyor;
  uint32_t width;
  uint32_t block_ms;
  std::vector<std::unique_ptr<QueuedLeg>> legs;
  size_t next = 0;
  std::vector<ActiveLeg> active;
  std::vector<cr_chunk> chunks;
};

void cr_conveyor::seat_waiting() {
  while (active.size() < width && next < legs.size()) {
    const LegCopy &copy = legs[next]->copy;
    if (!copy.spans.empty()) {
      active.push_back({static_cast<uint32_t>(next), 0, open(copy, 0)});
    }
    ++next;
  }
}

void cr_conveyor::retire_done() {
  size_t kept = 0;
  for (ActiveLeg &current : active) {
    const callreplay::SpanCursor &cursor = conveyor.cursor(current.slot);
    QueuedLeg &leg = *legs[current.leg];
    bool stays = true;
    if (cursor.done()) {
      callreplay::add_counts(leg.counts, cursor.counts());
      conveyor.close(current.slot);
      stays = ++current.span < leg.copy.spans.size();
      if (stays) {
        current.slot = open(leg.copy, current.span);
      }
    }
    if (stays) {
      active[kept++] = current;
    }
  }
  active.resize(kept);
}

void cr_conveyor::collect() {
  for (const ActiveLeg &current : active) {
    callreplay::SpanCursor &cursor = conveyor.cursor(current.slot);
    for (const callreplay::Segment &segment : cursor.segments()) {
      if (segment.count > 0) {
        chunks.push_back({current.leg, static_cast<uint32_t>(current.span), segment.first,
                          cursor.samples() + segment.pcm, segment.count, segment.kind});
      }
    }
  }
}

void cr_conveyor::step() {
  chunks.clear();
  // A round may give nothing but silence; the end is when nobody is left.
  do {
    retire_done();
    seat_waiting();
    for (const ActiveLeg &current : active) {
      conveyor.want(current.slot);
    }
    conveyor.step();
    collect();
  } while (chunks.empty() && !active.empty());
}

extern "C" {

cr_status cr_conveyor_create(uint32_t width, uint32_t block_ms, cr_conveyor **conveyor) {
  if (conveyor == nullptr || width == 0 || block_ms < 20 || block_ms > 10000) {
    return CR_ARGUMENT;
  }
  return callreplay::create(conveyor, width, block_ms);
}

void cr_conveyor_destroy(cr_conveyor *conveyor) {
  delete conveyor;
}

cr_status cr_conveyor_add(cr_conveyor *conveyor, const cr_leg *leg) {
  const cr_status status = conveyor == nullptr ? CR_ARGUMENT : cr_leg_check(leg, nullptr);
  if (status != CR_OK) {
    return status;
  }
  return callreplay::use(conveyor, [&](cr_conveyor &held) {
    if (held.legs.size() >= UINT32_MAX) {
      return CR_ARGUMENT;
    }
    held.legs.push_back(std::make_unique<QueuedLeg>(*leg));
    return CR_OK;
  });
}

cr_status cr_conveyor_step(cr_conveyor *conveyor, const cr_chunk **chunks, size_t *count) {
  if (chunks == nullptr || count == nullptr) {
    return CR_ARGUMENT;
  }
  return callreplay::use(conveyor, [&](cr_conveyor &held) {
    held.step();
    *chunks = held.chunks.data();
    *count = held.chunks.size();
    return CR_OK;
  });
}

cr_status cr_conveyor_counts(const cr_conveyor *conveyor, uint32_t leg, cr_leg_counts *counts) {
  if (counts == nullptr) {
    return CR_ARGUMENT;
  }
  return callreplay::use(conveyor, [&](const cr_conveyor &held) {
    if (leg >= held.legs.size()) {
      return CR_ARGUMENT;
    }
    *counts = held.legs[leg]->counts;
    for (const ActiveLeg &current : held.active) {
      if (current.leg == leg) {
        callreplay::add_counts(*counts, held.conveyor.cursor(current.slot).counts());
      }
    }
    return CR_OK;
  });
}

cr_status cr_conveyor_occupancy(const cr_conveyor *conveyor, cr_occupancy *occupancy) {
  if (occupancy == nullptr) {
    return CR_ARGUMENT;
  }
  return callreplay::use(conveyor, [&](const cr_conveyor &held) {
    *occupancy = held.conveyor.occupancy();
    return CR_OK;
  });
}

}  // extern "C"
