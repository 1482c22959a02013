#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "callreplay/raster.h"
#include "checkasm.h"
#include "raster/extremes.h"

namespace {

std::vector<int16_t> noise(size_t samples, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int16_t> pcm(samples);
  for (auto &x : pcm) {
    const uint32_t r = random();
    x = (r & 15) == 0 ? INT16_MIN : (r & 15) == 1 ? INT16_MAX : static_cast<int16_t>(r >> 16);
  }
  return pcm;
}

std::vector<cr_peak> peaks_of(cr_peaks *peaks, const std::vector<int16_t> &pcm, int channels, size_t block) {
  const size_t frames = pcm.size() / channels;
  for (size_t at = 0; at < frames; at += block) {
    REQUIRE(cr_peaks_write(peaks, pcm.data() + at * channels, std::min(block, frames - at)) == CR_OK);
  }
  const cr_peak *data = cr_peaks_data(peaks);
  std::vector<cr_peak> copy(data, data + cr_peaks_count(peaks) * channels);
  cr_peaks_destroy(peaks);
  return copy;
}

bool same(const std::vector<cr_peak> &a, const std::vector<cr_peak> &b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](const cr_peak &x, const cr_peak &y) {
           return x.low == y.low && x.high == y.high && x.energy == y.energy && x.count == y.count;
         });
}

}  // namespace

TEST_CASE("every instruction set finds the extremes that a plain loop finds") {
  for (int channels : {1, 2, 3, 4, 8}) {
    for (size_t frames : {size_t{1}, size_t{31}, size_t{64}, size_t{129}, size_t{1000}}) {
      const auto pcm = noise(frames * channels, static_cast<uint32_t>(frames * 10 + channels));
      callreplay::Extremes want;
      for (int c = 0; c < channels; ++c) {
        want.low[c] = INT16_MAX;
        want.high[c] = INT16_MIN;
        want.energy[c] = 0;
        for (size_t i = 0; i < frames; ++i) {
          const int64_t x = pcm[i * channels + c];
          want.low[c] = std::min<int16_t>(want.low[c], static_cast<int16_t>(x));
          want.high[c] = std::max<int16_t>(want.high[c], static_cast<int16_t>(x));
          want.energy[c] += static_cast<uint64_t>(x * x);
        }
      }
      for (int isa = CR_ISA_SCALAR; isa <= CR_ISA_AVX512; ++isa) {
        if (!cr_isa_available(static_cast<cr_isa>(isa))) {
          continue;
        }
        callreplay::Extremes got;
        for (int c = 0; c < channels; ++c) {
          got.low[c] = INT16_MAX;
          got.high[c] = INT16_MIN;
          got.energy[c] = 0;
        }
        callreplay::raster_kernel(static_cast<cr_isa>(isa))->extremes(&got, pcm.data(), frames, channels);
        for (int c = 0; c < channels; ++c) {
          CHECK(got.low[c] == want.low[c]);
          CHECK(got.high[c] == want.high[c]);
          CHECK(got.energy[c] == want.energy[c]);
        }
      }
    }
  }
}

TEST_CASE("pixels of eight bits are the extremes divided towards zero, on every instruction set") {
  for (int channels : {1, 2, 3}) {
    for (uint32_t per : {1u, 16u, 64u, 100u}) {
      const size_t frames = 1000;
      const auto pcm = noise(frames * channels, per + channels);
      std::vector<int8_t> want;
      for (size_t at = 0; at < frames; at += per) {
        for (int c = 0; c < channels; ++c) {
          int16_t low = INT16_MAX;
          int16_t high = INT16_MIN;
          for (size_t i = at; i < std::min<size_t>(at + per, frames); ++i) {
            low = std::min(low, pcm[i * channels + c]);
            high = std::max(high, pcm[i * channels + c]);
          }
          want.push_back(static_cast<int8_t>(low / 256));
          want.push_back(static_cast<int8_t>(high / 256));
        }
      }
      std::vector<int8_t> got(want.size());
      REQUIRE(cr_peaks8(pcm.data(), frames, channels, per, got.data()) == CR_OK);
      CHECK(got == want);
      if (channels == 3 || per * channels % callreplay::kPixelBlock != 0) {
        continue;
      }
      for (int isa = CR_ISA_SCALAR; isa <= CR_ISA_AVX512; ++isa) {
        if (cr_isa_available(static_cast<cr_isa>(isa))) {
          const size_t whole = frames / per;
          std::vector<int8_t> part(whole * channels * 2);
          callreplay::raster_kernel(static_cast<cr_isa>(isa))
              ->pixels(part.data(), pcm.data(), whole, size_t{per} * channels, channels);
          CHECK(std::equal(part.begin(), part.end(), want.begin()));
        }
      }
    }
  }
  int8_t out[2];
  const int16_t one = 0;
  CHECK(cr_peaks8(&one, 1, 0, 1, out) == CR_ARGUMENT);
  CHECK(cr_peaks8(&one, 1, 1, 0, out) == CR_ARGUMENT);
  CHECK(cr_peaks8(nullptr, 1, 1, 1, out) == CR_ARGUMENT);
}

TEST_CASE("where the blocks are cut changes nothing") {
  const auto pcm = noise(2 * 5000, 7);
  for (int fit : {0, 1}) {
    std::vector<cr_peak> whole;
    for (size_t block : {size_t{5000}, size_t{1}, size_t{255}, size_t{256}, size_t{257}, size_t{999}}) {
      cr_peaks *peaks = nullptr;
      REQUIRE((fit ? cr_peaks_create_fit(2, 5000, 123, &peaks) : cr_peaks_create(2, 256, &peaks)) == CR_OK);
      const auto got = peaks_of(peaks, pcm, 2, block);
      if (whole.empty()) {
        whole = got;
        CHECK(got.size() == (fit ? 246u : 40u));
      }
      CHECK(same(whole, got));
    }
  }
}

TEST_CASE("a picture has all its columns, with fewer frames than columns too") {
  cr_peaks *peaks = nullptr;
  REQUIRE(cr_peaks_create_fit(1, 3, 10, &peaks) == CR_OK);
  const auto got = peaks_of(peaks, {100, -200, 300}, 1, 3);
  REQUIRE(got.size() == 10);
  uint64_t count = 0;
  for (const auto &peak : got) {
    count += peak.count;
  }
  CHECK(count == 3);
  // Bucket i starts at floor(i * 3 / 10): frame 0 lies in the last bucket that starts at 0.
  CHECK(got[3].high == 100);
  CHECK(got[6].low == -200);
  CHECK(got[9].high == 300);
}

TEST_CASE("bad arguments are refused") {
  cr_peaks *peaks = nullptr;
  CHECK(cr_peaks_create(0, 256, &peaks) == CR_ARGUMENT);
  CHECK(cr_peaks_create(9, 256, &peaks) == CR_ARGUMENT);
  CHECK(cr_peaks_create(1, 0, &peaks) == CR_ARGUMENT);
  CHECK(cr_peaks_create_fit(1, 10, 0, &peaks) == CR_ARGUMENT);
  CHECK(cr_peaks_write(nullptr, nullptr, 1) == CR_ARGUMENT);
}

TEST_CASE("a band is filled by area: full scale fills it, half scale half, silence draws a thin line") {
  for (const int16_t level : {int16_t{32767}, int16_t{16384}, int16_t{0}}) {
    std::vector<uint8_t> image(20 * 40, 0);
    cr_peak peak{static_cast<int16_t>(-level), level, 0, 0, 1};
    std::vector<cr_peak> row(40, peak);
    const cr_band band{image.data(), 20, 0, 0, 20, 40, 16, 1, 40, 1.0};
    REQUIRE(cr_draw_band(&band, row.data(), 1, 2) == CR_OK);
    int inked = 0;
    for (int y = 0; y < 40; ++y) {
      inked += image[y * 20 + 10] != 0;
      CHECK(image[y * 20] == image[y * 20 + 19]);
      CHECK(image[y * 20 + 5] == image[(39 - y) * 20 + 5]);
    }
    CHECK(inked == (level == 32767 ? 40 : level == 16384 ? 20 : 2));
  }
}

TEST_CASE("a band outside its image is refused") {
  std::vector<uint8_t> image(10 * 10);
  cr_peak peak{0, 0, 0, 0, 1};
  const cr_band band{image.data(), 10, 5, 0, 6, 10, 16, 1, 40, 1.0};
  CHECK(cr_draw_band(&band, &peak, 1, 1) == CR_ARGUMENT);
}

TEST_CASE("an image is packed into the room that was asked for, and no other is taken") {
  const auto random = noise(64, 9);
  std::vector<uint8_t> image(random.size() * 2);
  std::memcpy(image.data(), random.data(), image.size());
  const size_t room = cr_png_room(16, 8);
  std::vector<uint8_t> out(room + 16, 0xA5);
  size_t size = 0;
  REQUIRE(cr_png_pack(image.data(), 16, 16, 8, out.data(), room, &size) == CR_OK);
  CHECK(size <= room);
  CHECK(std::all_of(out.begin() + static_cast<ptrdiff_t>(room), out.end(),
                    [](uint8_t x) { return x == 0xA5; }));
  CHECK(cr_png_pack(image.data(), 16, 16, 8, out.data(), room - 1, &size) == CR_ARGUMENT);
  CHECK(cr_png_pack(image.data(), 15, 16, 8, out.data(), room, &size) == CR_ARGUMENT);
  CHECK(cr_png_pack(nullptr, 16, 16, 8, out.data(), room, &size) == CR_ARGUMENT);
  CHECK(cr_png_room(0, 8) == 0);
  CHECK(cr_png_room(1u << 20, 1u << 8) == 0);
}

TEST_CASE("marks of a band are refused outside its rows") {
  std::vector<uint8_t> image(10 * 10);
  const double start = 0.25, stop = 0.5;
  const uint8_t loss = 1;
  cr_band band{image.data(), 10, 0, 0, 10, 10, 0, 0, 0, 0.0};
  cr_marks marks{&start, &stop, &loss, 1, 3, 4, 5};
  REQUIRE(cr_draw_marks(&band, &marks) == CR_OK);
  CHECK(std::count(image.begin(), image.end(), 3) == 2 * 3);
  CHECK(std::count(image.begin(), image.end(), 4) == 8 * 3);
  marks.loss = nullptr;
  CHECK(cr_draw_marks(&band, &marks) == CR_ARGUMENT);
  marks.loss = &loss;
  band.left = 1;
  CHECK(cr_draw_marks(&band, &marks) == CR_ARGUMENT);
  CHECK(cr_draw_marks(&band, nullptr) == CR_ARGUMENT);
}

CHECKASM_BENCH("raster: a picture packed") {
  std::vector<uint8_t> image(1000 * 200);
  std::mt19937 random(1);
  for (size_t x = 0; x < 1000; ++x) {
    const uint32_t tall = random() % 100;
    for (size_t y = 0; y < 200; ++y) {
      image[y * 1000 + x] = y + tall / 2 > 100 && y < 100 + tall / 2 ? 40 : 0;
    }
  }
  std::vector<uint8_t> out(cr_png_room(1000, 200));
  size_t size = 0;
  checkasm::report("all", image.size(),
                   [&] { cr_png_pack(image.data(), 1000, 1000, 200, out.data(), out.size(), &size); });
}

CHECKASM_BENCH("raster: extremes of 8000 samples") {
  const std::vector<int16_t> pcm = noise(8000, 1);
  for (const int channels : {1, 2}) {
    std::printf(" %d channels\n", channels);
    for (const cr_isa isa : checkasm::available_isas()) {
      callreplay::Extremes extremes{};
      checkasm::report(cr_isa_name(isa), 8000, [&] {
        callreplay::raster_kernel(isa)->extremes(&extremes, pcm.data(), 8000 / static_cast<size_t>(channels),
                                                 channels);
      });
    }
  }
}
