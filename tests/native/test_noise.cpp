#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "decode/noise/comfort_noise.h"

TEST_CASE("the level is the one announced, and no partition changes a sample") {
  const uint8_t payload[] = {40, 100, 160};
  callreplay::ComfortNoise whole, parts;
  std::vector<int16_t> a(40000), b(40000);
  for (callreplay::ComfortNoise *noise : {&whole, &parts}) {
    noise->start(7, 8000, 32124.0);
    noise->update(payload, sizeof(payload));
  }
  whole.generate(0, a.data(), a.size());
  for (size_t at = 0, step = 1; at < b.size(); at += step, step = step % 97 + 5) {
    parts.generate(static_cast<int64_t>(at), b.data() + at, std::min(step, b.size() - at));
    if (step > b.size() - at) break;
  }
  CHECK(a == b);
  double power = 0;
  for (size_t i = 8000; i < a.size(); ++i) power += static_cast<double>(a[i]) * a[i];
  const double dbov = 10 * std::log10(power / static_cast<double>(a.size() - 8000) / (32124.0 * 32124.0));
  CHECK(std::abs(dbov + 40) < 1);
}
