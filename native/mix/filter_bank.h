// Windowed-sinc interpolation filters: a Kaiser window, 64 taps at the lower of the two rates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace callreplay {

// Taps of one output sample, a multiple of 16; longer when the rate falls, for the band is narrower then.
size_t filter_taps(int32_t from_hz, int32_t to_hz);

// The taps for an output that lies `fraction` (0 to 1) of a sample after input sample taps_count / 2 - 1.
// They add up to 1. Stop band below -80 dB from 1.09 of the lower Nyquist frequency on.
void make_filter(int32_t from_hz, int32_t to_hz, double fraction, float *taps);

// Filters at kPhases + 1 fractions from 0 to 1, for linear interpolation between neighbours: the error of
// that is below (pi / kPhases)^2 / 8, -106 dB.
struct FilterBank {
  static constexpr size_t kPhases = 512;
  size_t taps_count;
  std::vector<float> taps;
  const float *phase(size_t index) const { return taps.data() + index * taps_count; }
};

// Those between the rates of telephony are made once and kept, for making one takes milliseconds. No lock is
// held meanwhile or ever: a child that is forked in the midst of it has one to make, and no one to wait for.
std::shared_ptr<const FilterBank> filter_bank(int32_t from_hz, int32_t to_hz);

}  // namespace callreplay
