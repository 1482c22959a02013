#include "conveyor/leg_copy.h"

#include <algorithm>

namespace callreplay {

void add_counts(cr_leg_counts &sum, const cr_leg_counts &more) {
  sum.decoded_samples += more.decoded_samples;
  sum.concealed_samples += more.concealed_samples;
  sum.noise_samples += more.noise_samples;
  sum.trimmed_packets += more.trimmed_packets;
  sum.malformed_packets += more.malformed_packets;
}

uint32_t round_samples(const cr_span &span, int64_t block_ms) {
  return static_cast<uint32_t>(std::max<int64_t>(block_ms, 120) * span.sample_rate_hz / 1000);
}

}  // namespace callreplay
