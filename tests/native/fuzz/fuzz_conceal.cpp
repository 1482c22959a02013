// The concealer: any audio on both sides of a loss of any length. Input: a rate, the lengths of the sides and
// of the loss, then samples.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "decode/conceal.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static constexpr int kRates[] = {8000, 11025, 16000, 48000};
  if (size < 4) return 0;
  const int rate = kRates[data[0] % 4];
  const size_t before = data[1] * size_t{9}, after = data[2] * size_t{9};
  const size_t count = static_cast<size_t>(rate) * callreplay::kBridgedMs / 1000 * data[3] / 255;
  std::vector<int16_t> sides(before + after), pcm(count, 99);
  if (!sides.empty()) std::memcpy(sides.data(), data + 4, std::min(size - 4, 2 * sides.size()));
  const callreplay::Surroundings around{sides.data(), before, sides.data() + before, after};
  const bool sounds = callreplay::Concealer(rate).bridge(around, data[0], pcm.data(), count);
  if (!sounds && std::count(pcm.begin(), pcm.end(), 0) != static_cast<std::ptrdiff_t>(count)) std::abort();
  return 0;
}
