#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "callreplay/wav.h"

namespace {

uint64_t little(const uint8_t *octets, int count) {
  uint64_t value = 0;
  for (int i = count; i-- > 0;) value = value << 8 | octets[i];
  return value;
}

}  // namespace

TEST_CASE("RIFF up to 4 GiB, RF64 above") {
  uint8_t header[CR_WAV_HEADER_MAX];
  size_t size = 0;
  REQUIRE(cr_wav_header(CR_WAV_S16, 8000, 1, 100, header, &size) == CR_OK);
  CHECK(size == 44);
  CHECK(std::memcmp(header, "RIFF", 4) == 0);
  CHECK(little(header + 4, 4) == 36 + 200);
  CHECK(little(header + 40, 4) == 200);
  REQUIRE(cr_wav_header(CR_WAV_S16, 8000, 1, uint64_t{1} << 32, header, &size) == CR_OK);
  CHECK(std::memcmp(header, "RF64", 4) == 0);
  CHECK(little(header + 28, 8) == uint64_t{1} << 33);
}

TEST_CASE("wrong arguments") {
  uint8_t header[CR_WAV_HEADER_MAX];
  size_t size = 0;
  CHECK(cr_wav_header(CR_WAV_S16, 0, 1, 1, header, &size) == CR_ARGUMENT);
  CHECK(cr_wav_header(CR_WAV_S16, 8000, 0, 1, header, &size) == CR_ARGUMENT);
  CHECK(cr_wav_header(CR_WAV_S16, 8000, 1, 1, nullptr, &size) == CR_ARGUMENT);
}

TEST_CASE("16-bit samples are little-endian") {
  const int16_t pcm[] = {0x0102, -2};
  uint8_t out[4];
  REQUIRE(cr_wav_encode(CR_WAV_S16, pcm, 2, out) == CR_OK);
  CHECK(std::vector<uint8_t>(out, out + 4) == std::vector<uint8_t>{2, 1, 0xfe, 0xff});
}
