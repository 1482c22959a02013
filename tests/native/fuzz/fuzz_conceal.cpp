// The concealer: any audio, any sequence of good and lost pieces. Input: a rate, then pieces of [kind,
// length] with their samples.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "decode/conceal.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static constexpr int kRates[] = {8000, 11025, 16000, 48000};
  if (size == 0) return 0;
  const int rate = kRates[data[0] % 4];
  auto concealer = std::make_unique<callreplay::Concealer>(rate);
  ++data;
  --size;
  size_t audible = 0;
  while (size >= 2) {
    const bool lost = data[0] % 2 != 0;
    const size_t count = static_cast<size_t>(data[1]) * (data[0] / 2 % 8 + 1);
    data += 2;
    size -= 2;
    std::vector<int16_t> pcm(count);
    if (lost) {
      const size_t filled = concealer->lost(pcm.data(), count);
      audible += filled;
      if (filled > count || audible > static_cast<size_t>(rate) * 60 / 1000) std::abort();
      for (size_t i = filled; i < count; ++i) {
        if (pcm[i] != 0) std::abort();
      }
    } else {
      const size_t given = std::min(size, 2 * count);
      if (given != 0) std::memcpy(pcm.data(), data, given);
      data += given;
      size -= given;
      concealer->good(pcm.data(), count);
      if (count != 0) audible = 0;
    }
  }
  return 0;
}
