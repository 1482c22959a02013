// A leg that keeps its own spans: what a handle holds of a cr_leg after the call that gave it.
#pragma once

#include <vector>

#include "callreplay/decode.h"

namespace callreplay {

struct LegCopy {
  cr_leg leg{};
  std::vector<cr_span> spans;

  // `source` must be checked.
  explicit LegCopy(const cr_leg &source)
      : leg(source), spans(source.spans, source.spans + source.span_count) {
    leg.spans = spans.data();
  }
  LegCopy(LegCopy &&) = default;
  LegCopy(const LegCopy &) = delete;
  LegCopy &operator=(LegCopy &&) = default;
  LegCopy &operator=(const LegCopy &) = delete;
};

void add_counts(cr_leg_counts &sum, const cr_leg_counts &more);

// Samples of a round: at least a packet of 120 ms, for what is longer is split.
uint32_t round_samples(const cr_span &span, int64_t block_ms);

}  // namespace callreplay
