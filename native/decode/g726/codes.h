// G.726 payloads to codes: 2 to 5 bits a sample, in either order of bits.
#pragma once

#include <cstddef>
#include <cstdint>

namespace callreplay {

// The `count` codes from code `first` of a payload on, one an octet. RFC 3551 4.5.4 fills octets from their
// least significant bit on; `aal2` (ITU-T I.366.2) from the most significant. The payload must hold
// (first + count) * bits bits; no octet behind them is read.
void unpack_g726(const uint8_t *payload, size_t first, size_t count, int bits, bool aal2, uint8_t *codes);

}  // namespace callreplay
