#include <doctest/doctest.h>

#include <vector>

#include "callreplay/mix.h"

TEST_CASE("tracks are placed, added and saturated") {
  const cr_timeline timeline{8000, 1, 0, 400, 200, 0};
  cr_mixer *mixer = nullptr;
  REQUIRE(cr_mixer_create(&timeline, nullptr, 0, &mixer) == CR_OK);
  uint32_t one = 0, two = 0;
  // The second begins 10 ms later: frame 80.
  REQUIRE(cr_mixer_add_track(mixer, 0, 0, 8000, 0, 0, &one) == CR_OK);
  REQUIRE(cr_mixer_add_track(mixer, 1, 0, 8000, 10'000'000, 0, &two) == CR_OK);
  const std::vector<int16_t> loud(160, 20000);
  size_t accepted = 0;
  REQUIRE(cr_mixer_push(mixer, one, 0, loud.data(), loud.size(), &accepted) == CR_OK);
  CHECK(accepted == loud.size());
  REQUIRE(cr_mixer_push(mixer, two, 0, loud.data(), loud.size(), &accepted) == CR_OK);
  CHECK(accepted == loud.size());
  REQUIRE(cr_mixer_finish(mixer, one) == CR_OK);
  REQUIRE(cr_mixer_finish(mixer, two) == CR_OK);
  std::vector<int16_t> pcm(400, -1);
  for (size_t done = 0, frames = 1; frames != 0; done += frames) {
    REQUIRE(cr_mixer_read(mixer, pcm.data() + done, pcm.size() - done, &frames) == CR_OK);
  }
  CHECK(cr_mixer_position(mixer) == 400);
  for (size_t n = 0; n < pcm.size(); ++n) {
    CAPTURE(n);
    CHECK(pcm[n] == (n < 80 ? 20000 : n < 160 ? 32767 : n < 240 ? 20000 : 0));
  }
  cr_mixer_destroy(mixer);
}

TEST_CASE("wrong timelines") {
  cr_mixer *mixer = nullptr;
  cr_timeline timeline{7999, 1, 0, 400, 200, 0};
  CHECK(cr_mixer_create(&timeline, nullptr, 0, &mixer) == CR_ARGUMENT);
  timeline = {8000, 3, 0, 400, 200, 0};
  CHECK(cr_mixer_create(&timeline, nullptr, 0, &mixer) == CR_ARGUMENT);
  timeline = {8000, 1, 0, -1, 200, 0};
  CHECK(cr_mixer_create(&timeline, nullptr, 0, &mixer) == CR_ARGUMENT);
  cr_mixer_destroy(nullptr);
}
