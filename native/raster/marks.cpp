#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "callreplay/raster.h"
#include "handle.h"

namespace {

// Columns of a band while its marks are drawn.
class Marked {
 public:
  Marked(const cr_band &band, const cr_marks &marks)
      : band_(band), marks_(marks), lost_(band.width), quiet_(band.width) {}

  void draw(double start, double stop, bool loss) {
    const double width = band_.width;
    // Compared as floating-point numbers: they may be anything.
    const double from = std::clamp(std::trunc(start * width), 0.0, width - 1.0);
    const double to = std::clamp(std::ceil(stop * width), from + 1.0, width);
    const auto first = static_cast<uint32_t>(from);
    const auto count = static_cast<size_t>(to - from);
    // Loss leaves no ground, so that nothing changes there any more.
    if (std::memchr(lost_.data() + first, 0, count) == nullptr) {
      return;
    }
    if (loss) {
      draw_loss(first, count);
    } else {
      draw_silence(first, count);
    }
  }

 private:
  uint8_t *row(uint32_t y, uint32_t x) const {
    return band_.pixels + (size_t{band_.top} + y) * band_.stride + band_.left + x;
  }

  void draw_loss(uint32_t first, size_t count) {
    const uint32_t edge = std::max(uint32_t{1}, band_.height / 40);
    for (uint32_t y = 0; y < band_.height; ++y) {
      uint8_t *pixel = row(y, first);
      if (y < edge || y >= band_.height - edge) {
        std::fill_n(pixel, count, marks_.loss_colour);
        continue;
      }
      for (size_t x = 0; x < count; ++x) {
        pixel[x] = pixel[x] == 0 ? marks_.tint : pixel[x];
      }
    }
    std::fill_n(lost_.begin() + first, count, uint8_t{1});
  }

  // Comfort noise may sound in it: only the thin line of nothing becomes a dotted one.
  void draw_silence(uint32_t first, size_t count) {
    const uint32_t middle = band_.height / 2;
    std::fill_n(quiet_.begin(), count, uint8_t{1});
    for (uint32_t y = 0; y < band_.height; ++y) {
      if (y + 1 >= middle && y <= middle) {
        continue;
      }
      const uint8_t *pixel = row(y, first);
      for (size_t x = 0; x < count; ++x) {
        quiet_[x] = static_cast<uint8_t>(pixel[x] == 0 ? quiet_[x] : 0);
      }
    }
    for (uint32_t y = band_.height % 2 == 0 ? middle - 1 : middle; y <= middle && y < band_.height; ++y) {
      uint8_t *pixel = row(y, first);
      for (size_t x = 0; x < count; ++x) {
        if (quiet_[x] != 0) {
          pixel[x] = (first + x) / 2 % 3 == 0 ? marks_.silence : uint8_t{0};
        }
      }
    }
  }

  const cr_band &band_;
  const cr_marks &marks_;
  std::vector<uint8_t> lost_;
  std::vector<uint8_t> quiet_;
};

}  // namespace

extern "C" cr_status cr_draw_marks(const cr_band *band, const cr_marks *marks) {
  if (band == nullptr || marks == nullptr || band->pixels == nullptr || band->height == 0 ||
      band->width == 0 || band->width > (1u << 20) || band->height > (1u << 16) ||
      static_cast<uint64_t>(band->left) + band->width > band->stride ||
      (marks->count != 0 && (marks->start == nullptr || marks->stop == nullptr || marks->loss == nullptr))) {
    return CR_ARGUMENT;
  }
  return callreplay::caught([&] {
    Marked marked(*band, *marks);
    for (size_t i = 0; i < marks->count; ++i) {
      if (!std::isnan(marks->start[i]) && !std::isnan(marks->stop[i])) {
        marked.draw(marks->start[i], marks->stop[i], marks->loss[i] != 0);
      }
    }
    return CR_OK;
  });
}
