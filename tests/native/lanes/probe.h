// Every lane operation of one instruction set beside the law of one lane, on random and edge values.
#pragma once

#include "callreplay/isa.h"

namespace callreplay {

// Told of every operation once: whether all lanes gave the law's bits each time.
using LaneReport = void (*)(void *context, const char *operation, bool same);

struct LaneProbe {
  cr_isa isa;
  int lanes16, lanes32;
  void (*run)(LaneReport report, void *context);
};

const LaneProbe *lane_probe_kernel(cr_isa isa);

}  // namespace callreplay
