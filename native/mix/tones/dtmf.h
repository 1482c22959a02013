// ITU-T Q.23 tone pairs for RFC 4733 events.
#pragma once

#include <cstddef>
#include <cstdint>

namespace callreplay {

// Add samples first .. first + count of a tone pair that is `length` samples long. `tone`: RFC 4733 event
// code 0 to 15 (0-9, *, #, A-D). `level_dbm0`: power of both together, -63 to 0; 0 stands for -10, for many
// senders leave the field empty. The high tone is 2 dB above the low one (Q.24 annex A lists what networks
// send and accept), and the ends are ramped over 2 ms. A sample depends on its position only.
void add_dtmf(int tone, int level_dbm0, int rate_hz, int64_t length, int64_t first, int32_t *sum,
              size_t count);

}  // namespace callreplay
