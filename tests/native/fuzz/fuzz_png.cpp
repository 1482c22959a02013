// The pictures' packer: zlib unpacks what it wrote to the filtered rows, for any pixels, width, height and stride, and
// it stays within the room it asked for. Input: [width, height, stride, how pixels are made of the octets], octets.
#include <zlib.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "callreplay/raster.h"

#if __has_feature(memory_sanitizer)
#include <sanitizer/msan_interface.h>
#else
#define __msan_unpoison(memory, size)  // zlib itself is built without a sanitizer
#endif

namespace {

// Each value a good half as often as the one before: codes that want to be longer than deflate has them.
uint8_t rarer(uint32_t &state) {
  state = state * 1664525 + 1013904223;
  uint8_t value = 0;
  for (uint64_t bound = uint64_t{1} << 32; value < 40 && state < bound * 5 / 8; bound = bound * 5 / 8) {
    ++value;
  }
  return value;
}

// Plain octets make noise; runs, and what little differs from the row above, the rest of what a picture is.
std::vector<uint8_t> made(const uint8_t *data, size_t size, size_t stride, size_t height, uint8_t way) {
  std::vector<uint8_t> pixels(stride * height);
  const size_t run = size_t{1} << (way >> 4);
  uint32_t state = data[0];
  for (size_t i = 0; i < pixels.size(); ++i) {
    const uint8_t octet = (way & 4) != 0 ? rarer(state) : data[i / run % size];
    const bool above = (way & 1) != 0 && i >= stride;
    pixels[i] = static_cast<uint8_t>((above ? pixels[i - stride] : 0) + ((way & 2) != 0 ? octet & 7 : octet));
  }
  return pixels;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 7) return 0;
  const uint32_t width = (data[0] | data[1] << 8) % 4096, height = (data[2] | data[3] << 8) % 512;
  const size_t stride = size_t{width} + data[4] % 16;
  if (size_t{width} * height > 200000) return 0;
  const std::vector<uint8_t> pixels = made(data + 6, size - 6, stride, height, data[5]);
  const size_t room = cr_png_room(width, height);
  if ((room == 0) != (width == 0 || height == 0)) std::abort();
  // Exactly the room, and rows that end where the last one does: whoever goes beyond is caught by the sanitizer.
  std::vector<uint8_t> out(room);
  std::vector<uint8_t> image(pixels.begin(),
                             pixels.end() - static_cast<std::ptrdiff_t>(height == 0 ? 0 : stride - width));
  size_t used = 0;
  const cr_status status = cr_png_pack(image.data(), stride, width, height, out.data(), room, &used);
  if (room == 0) {
    if (status != CR_ARGUMENT) std::abort();
    return 0;
  }
  if (status != CR_OK || used > room) std::abort();
  std::vector<uint8_t> expected;
  for (size_t y = 0; y < height; ++y) {
    expected.push_back(2);  // filter "up"
    for (size_t x = 0; x < width; ++x) {
      const uint8_t above = y == 0 ? uint8_t{0} : image[(y - 1) * stride + x];
      expected.push_back(static_cast<uint8_t>(image[y * stride + x] - above));
    }
  }
  std::vector<uint8_t> got(expected.size() + 1);
  z_stream zlib = {};
  zlib.next_in = out.data();
  zlib.avail_in = static_cast<uInt>(used);
  zlib.next_out = got.data();
  zlib.avail_out = static_cast<uInt>(got.size());
  if (inflateInit(&zlib) != Z_OK) std::abort();
  const int ended = inflate(&zlib, Z_FINISH);
  __msan_unpoison(&zlib, sizeof zlib);
  __msan_unpoison(got.data(), got.size());
  const bool whole = ended == Z_STREAM_END && zlib.avail_in == 0 && zlib.avail_out == 1;
  inflateEnd(&zlib);
  if (!whole || !std::equal(expected.begin(), expected.end(), got.begin())) std::abort();
  return 0;
}
