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

// A coverage is a sum of shares that are at most 1 together, or hardly more. Clamped as a number, since compilers make
// vectors of that.
int32_t shade(float coverage, float most_f, int32_t most) {
  // What lies one unit in the last place below a half may go up: no shade that anyone sees, and lround costs
  // a call. NOLINTNEXTLINE(bugprone-incorrect-roundings)
  const auto rounded = static_cast<int32_t>(coverage * most_f + 0.5F);
  return rounded < most ? rounded : most;
}

constexpr int32_t kGround = -1;

// The colours of rows from how much of each is covered, and coverage back to nought. Without a branch: vectors.
void colour(int32_t *__restrict colours, float *__restrict peak_rows, float *__restrict rms_rows, size_t rows,
            const cr_band &band) {
  const auto most = static_cast<int32_t>(band.levels - 1);
  const auto most_f = static_cast<float>(most);
  const int32_t peak_base = band.peak_base;
  const int32_t rms_base = band.rms_base;
  for (size_t y = 0; y < rows; ++y) {
    const int32_t core = shade(rms_rows[y], most_f, most);
    const int32_t edge = shade(peak_rows[y], most_f, most);
    const int32_t outside = edge > 0 ? peak_base + edge : kGround;
    const int32_t inside = edge >= most ? rms_base + core : outside;
    colours[y] = core > 0 ? inside : outside;
    rms_rows[y] = peak_rows[y] = 0.0F;
  }
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
  const uint32_t height = band->height;
  const double middle = height / 2.0;
  const double unit = middle * band->scale / 32768.0;
  if (!std::isfinite(unit)) {
    return CR_ARGUMENT;
  }
  std::vector<float> coverage;
  std::vector<int32_t> colours;
  const cr_status room = callreplay::caught([&] {
    coverage.resize(size_t{2} * height);
    colours.resize(height);
    return CR_OK;
  });
  if (room != CR_OK) {
    return room;
  }
  float *peak_rows = coverage.data();
  float *rms_rows = coverage.data() + height;
  const float weight = 1.0F / static_cast<float>(columns_per_pixel);
  for (uint32_t x = 0; x < band->width; ++x) {
    double first = height;  // what the column covers
    double stop = 0;
    for (uint32_t k = 0; k < columns_per_pixel; ++k) {
      const cr_peak &peak = peaks[(static_cast<size_t>(x) * columns_per_pixel + k) * step];
      if (peak.count == 0) {
        continue;
      }
      // Half a row at least, so that quiet is a line and not nothing.
      const double high = std::max(peak.high * unit, 0.25);
      const double low = std::min(peak.low * unit, -0.25);
      first = std::min(first, middle - high);
      stop = std::max(stop, middle - low);
      cover(peak_rows, height, middle - high, middle - low, weight);
      const double rms = std::sqrt(static_cast<double>(peak.energy) / static_cast<double>(peak.count)) * unit;
      cover(rms_rows, height, middle - std::min(rms, high), middle + std::min(rms, -low), weight);
    }
    // No row beyond is covered; nor is one by the RMS, which ends within the peaks.
    const auto top = static_cast<uint32_t>(std::clamp(first, 0.0, static_cast<double>(height)));
    const auto bottom = static_cast<uint32_t>(std::ceil(std::clamp(stop, 0.0, static_cast<double>(height))));
    if (top >= bottom) {
      continue;
    }
    colour(colours.data(), peak_rows + top, rms_rows + top, bottom - top, *band);
    uint8_t *pixel = band->pixels + (size_t{band->top} + top) * band->stride + band->left + x;
    for (uint32_t y = 0; y < bottom - top; ++y, pixel += band->stride) {
      if (colours[y] != kGround) {
        *pixel = static_cast<uint8_t>(colours[y]);
      }
    }
  }
  return CR_OK;
}
