#include <algorithm>
#include <cmath>
#include <vector>

#include "callreplay/raster.h"
#include "handle.h"

namespace {

constexpr uint32_t kMaxLevels = 64;

// Add to `coverage` (one float per row) how much of each row lies between y0 and y1 (rows, 0 at the top).
void cover(float *coverage, uint32_t rows, double y0, double y1, float weight) {
  y0 = std::clamp(y0, 0.0, static_cast<double>(rows));
  y1 = std::clamp(y1, 0.0, static_cast<double>(rows));
  if (!(y1 > y0)) {
    return;
  }
  const auto first = static_cast<uint32_t>(y0);
  const auto last = std::min(static_cast<uint32_t>(y1), rows - 1);
  if (first == last) {
    coverage[first] += weight * static_cast<float>(y1 - y0);
    return;
  }
  coverage[first] += weight * static_cast<float>(first + 1 - y0);
  for (uint32_t row = first + 1; row < last; ++row) {
    coverage[row] += weight;
  }
  coverage[last] += weight * static_cast<float>(y1 - last);
}

uint32_t shade(float coverage, uint32_t levels) {
  const float clipped = std::min(std::max(coverage, 0.0F), 1.0F);
  // What lies one unit in the last place below a half may go up: no shade that anyone sees, and lround costs
  // a call. NOLINTNEXTLINE(bugprone-incorrect-roundings)
  return static_cast<uint32_t>(clipped * static_cast<float>(levels - 1) + 0.5F);
}

}  // namespace

extern "C" cr_status cr_draw_band(const cr_band *band, const cr_peak *peaks, size_t step,
                                  uint32_t columns_per_pixel) {
  if (band == nullptr || peaks == nullptr || band->pixels == nullptr || step == 0 || columns_per_pixel == 0 ||
      band->levels < 2 || band->levels > kMaxLevels || !(band->scale > 0.0) || band->height == 0 ||
      band->width == 0 || band->width > (1u << 20) || band->height > (1u << 16) ||
      static_cast<uint64_t>(band->left) + band->width > band->stride) {
    return CR_ARGUMENT;
  }
  std::vector<float> coverage;
  const cr_status room = callreplay::caught([&] {
    coverage.resize(size_t{2} * band->height);
    return CR_OK;
  });
  if (room != CR_OK) {
    return room;
  }
  float *peak_rows = coverage.data();
  float *rms_rows = coverage.data() + band->height;
  const double middle = band->height / 2.0;
  const double unit = middle * band->scale / 32768.0;
  const float weight = 1.0F / static_cast<float>(columns_per_pixel);
  for (uint32_t x = 0; x < band->width; ++x) {
    std::fill(coverage.begin(), coverage.end(), 0.0F);
    for (uint32_t k = 0; k < columns_per_pixel; ++k) {
      const cr_peak &peak = peaks[(static_cast<size_t>(x) * columns_per_pixel + k) * step];
      if (peak.count == 0) {
        continue;
      }
      // Half a row at least, so that quiet is a line and not nothing.
      const double high = std::max(peak.high * unit, 0.25);
      const double low = std::min(peak.low * unit, -0.25);
      cover(peak_rows, band->height, middle - high, middle - low, weight);
      const double rms = std::sqrt(static_cast<double>(peak.energy) / static_cast<double>(peak.count)) * unit;
      cover(rms_rows, band->height, middle - std::min(rms, high), middle + std::min(rms, -low), weight);
    }
    for (uint32_t y = 0; y < band->height; ++y) {
      uint8_t *pixel = band->pixels + (static_cast<size_t>(band->top) + y) * band->stride + band->left + x;
      const uint32_t core = shade(rms_rows[y], band->levels);
      const uint32_t edge = shade(peak_rows[y], band->levels);
      if (core > 0 && edge + 1 >= band->levels) {
        *pixel = static_cast<uint8_t>(band->rms_base + core);
      } else if (edge > 0) {
        *pixel = static_cast<uint8_t>(band->peak_base + edge);
      }
    }
  }
  return CR_OK;
}
