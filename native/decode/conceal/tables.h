// What the concealer has worked out beforehand for one sample rate.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "decode/conceal/kernels.h"

namespace callreplay {

struct ConcealTables {
  explicit ConcealTables(size_t sample_rate_hz);
  size_t rate_hz;
  int order;
  std::vector<float> window;         // of the linear prediction
  std::vector<float> packet_window;  // of a side of 20 ms, which is the most frequent of the shorter ones
  float lag_window[kMaxOrder + 1];   // of its autocorrelation
  std::vector<float> sag;            // of a bridge, by the distance from the side that goes on
  std::vector<float> fade;           // of a side that is alone
};

// `window` for a side of fewer samples.
void shorten_window(const std::vector<float> &window, size_t count, float *shorter);

// Those of the rates of telephony are made once a process and kept.
std::shared_ptr<const ConcealTables> conceal_tables(size_t sample_rate_hz);

}  // namespace callreplay
