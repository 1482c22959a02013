#include <doctest/doctest.h>

#include <map>

#include "callreplay/isa.h"
#include "legs.h"

using namespace callreplay;
using callreplay::test::MadeLeg;

namespace {

using Sound = std::map<std::pair<uint32_t, int64_t>, int16_t>;  // (span, sample) -> value

std::vector<Sound> decode(const std::vector<MadeLeg> &legs, uint32_t width, uint32_t block_ms,
                          cr_occupancy *occupancy) {
  cr_conveyor *conveyor = nullptr;
  REQUIRE(cr_conveyor_create(width, block_ms, &conveyor) == CR_OK);
  for (const MadeLeg &leg : legs) {
    const cr_leg view = leg.view();
    REQUIRE(cr_conveyor_add(conveyor, &view) == CR_OK);
  }
  std::vector<Sound> sounds(legs.size());
  for (;;) {
    const cr_chunk *chunks = nullptr;
    size_t count = 0;
    REQUIRE(cr_conveyor_step(conveyor, &chunks, &count) == CR_OK);
    if (count == 0) {
      break;
    }
    for (size_t i = 0; i < count; ++i) {
      for (uint32_t n = 0; n < chunks[i].count; ++n) {
        const bool fresh =
            sounds[chunks[i].leg]
                .emplace(std::pair{chunks[i].span, chunks[i].first_sample + n}, chunks[i].pcm[n])
                .second;
        if (!fresh) {
          FAIL("a sample came twice");
        }
      }
    }
  }
  REQUIRE(cr_conveyor_occupancy(conveyor, occupancy) == CR_OK);
  cr_conveyor_destroy(conveyor);
  return sounds;
}

}  // namespace

TEST_CASE("the grouping never changes a sample") {
  std::vector<MadeLeg> legs;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    const cr_codec codec = seed % 4 == 0   ? CR_CODEC_ULAW
                           : seed % 4 == 1 ? CR_CODEC_G722
                           : seed % 4 == 2 ? CR_CODEC_L16
                                           : CR_CODEC_G729;
    legs.push_back(test::eventful_leg(codec, seed, 10 + static_cast<int>(seed) * 3));
  }
  cr_occupancy alone, all;
  std::vector<Sound> one_by_one;
  for (const MadeLeg &leg : legs) {
    one_by_one.push_back(decode({leg}, 1, 500, &alone)[0]);
    CHECK(alone.rounds == 0);  // one stream takes the scalar kernel
  }
  for (const uint32_t width : {2u, 7u, 64u}) {
    const auto together = decode(legs, width, 120, &all);
    for (size_t i = 0; i < legs.size(); ++i) {
      CAPTURE(i);
      CHECK((together[i] == one_by_one[i]));
    }
  }
  if (cr_isa_active() != CR_ISA_SCALAR) {
    CHECK(all.lane_used > 0);
    CHECK(all.lane_used <= all.lane_slots);
  }
}

TEST_CASE("several spans of several codecs in one leg come one after the other") {
  MadeLeg leg;
  test::Random random{3};
  for (const cr_codec codec : {CR_CODEC_ULAW, CR_CODEC_G722, CR_CODEC_G729, CR_CODEC_ULAW}) {
    for (int i = 0; i < 30; ++i) {
      leg.packet(i * 160, test::noise_payload(random, codec == CR_CODEC_G729 ? 20 : 160));
    }
    leg.span(codec, 8000, codec == CR_CODEC_G722 ? 16000 : 8000, 30 * 160);
  }
  cr_occupancy occupancy;
  const Sound sound = decode({leg}, 4, 120, &occupancy)[0];
  std::map<uint32_t, size_t> samples;
  for (const auto &[where, value] : sound) {
    ++samples[where.first];
  }
  CHECK(samples == std::map<uint32_t, size_t>{{0, 4800}, {1, 9600}, {2, 4800}, {3, 4800}});
}

TEST_CASE("a slot that held another codec leaves nothing behind") {
  // One slot serves all in turn; L16 and G.711 bring a concealer that G.729, with losses of its own, must not
  // meet.
  std::vector<MadeLeg> legs;
  for (uint64_t seed = 50; seed < 62; ++seed) {
    const cr_codec codec = seed % 3 == 0 ? CR_CODEC_ULAW : seed % 3 == 1 ? CR_CODEC_L16 : CR_CODEC_G729;
    legs.push_back(test::eventful_leg(codec, seed, 60));
  }
  cr_occupancy occupancy;
  const auto in_turn = decode(legs, 1, 60, &occupancy);
  for (size_t i = 0; i < legs.size(); ++i) {
    CAPTURE(i);
    CHECK((in_turn[i] == decode({legs[i]}, 1, 60, &occupancy)[0]));
  }
}

TEST_CASE("empty legs and wrong arguments") {
  cr_conveyor *conveyor = nullptr;
  CHECK(cr_conveyor_create(0, 200, &conveyor) == CR_ARGUMENT);
  CHECK(cr_conveyor_create(1, 1, &conveyor) == CR_ARGUMENT);
  CHECK(cr_conveyor_create(1, 200, nullptr) == CR_ARGUMENT);
  REQUIRE(cr_conveyor_create(1, 200, &conveyor) == CR_OK);
  CHECK(cr_conveyor_add(conveyor, nullptr) == CR_ARGUMENT);
  const MadeLeg empty;
  const cr_leg view = empty.view();
  CHECK(cr_conveyor_add(conveyor, &view) == CR_OK);
  const cr_chunk *chunks;
  size_t count = 7;
  CHECK(cr_conveyor_step(conveyor, &chunks, &count) == CR_OK);
  CHECK(count == 0);
  cr_leg_counts counts;
  CHECK(cr_conveyor_counts(conveyor, 0, &counts) == CR_OK);
  CHECK(cr_conveyor_counts(conveyor, 1, &counts) == CR_ARGUMENT);
  cr_conveyor_destroy(conveyor);
  cr_conveyor_destroy(nullptr);
}
