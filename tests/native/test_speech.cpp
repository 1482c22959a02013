#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <vector>

#include "callreplay/speech.h"

namespace {

struct Found {
  std::vector<cr_talk> talk;
};

// In blocks of `block` samples.
Found run(int32_t rate_hz, const std::vector<int16_t> &pcm, size_t block) {
  cr_speech *speech = nullptr;
  REQUIRE(cr_speech_create(rate_hz, &speech) == CR_OK);
  Found found;
  const auto take = [&] {
    cr_talk talk[3];
    size_t count = 0;
    do {
      REQUIRE(cr_speech_take(speech, talk, 3, &count) == CR_OK);
      found.talk.insert(found.talk.end(), talk, talk + count);
    } while (count > 0);
  };
  for (size_t at = 0; at < pcm.size(); at += block) {
    REQUIRE(cr_speech_write(speech, pcm.data() + at, std::min(block, pcm.size() - at)) == CR_OK);
    take();
  }
  REQUIRE(cr_speech_finish(speech) == CR_OK);
  take();
  CHECK(cr_speech_write(speech, pcm.data(), 1) == CR_STATE);
  cr_speech_destroy(speech);
  return found;
}

// A second of silence, a second whose level goes as syllables do, and so on.
std::vector<int16_t> syllables(int32_t rate_hz, int seconds) {
  std::minstd_rand random(7);
  std::uniform_int_distribution<int> noise(-6000, 6000);
  std::vector<int16_t> pcm(static_cast<size_t>(rate_hz * seconds));
  for (size_t n = 0; n < pcm.size(); ++n) {
    const double time = static_cast<double>(n) / rate_hz;
    const double level = std::fmod(time, 2.0) < 1 ? 0 : 0.55 + 0.45 * std::sin(31.4 * time);
    pcm[n] = static_cast<int16_t>(noise(random) * level);
  }
  return pcm;
}

}  // namespace

TEST_CASE("talk is found at every rate, with its energy") {
  for (const int32_t rate : {8000, 11025, 16000, 48000}) {
    const std::vector<int16_t> pcm = syllables(rate, 8);
    const Found found = run(rate, pcm, pcm.size());
    REQUIRE(found.talk.size() == 4);
    int64_t before = 0;
    for (size_t i = 0; i < 4; ++i) {
      const cr_talk &talk = found.talk[i];
      CHECK(talk.start >= before);
      CHECK(std::abs(static_cast<double>(talk.start) / rate - (2.0 * i + 1)) < 0.1);
      CHECK(std::abs(static_cast<double>(talk.end) / rate - (2.0 * i + 2)) < 0.1);
      REQUIRE(talk.end <= static_cast<int64_t>(pcm.size()));
      double energy = 0;
      for (int64_t n = talk.start; n < talk.end; ++n) {
        energy += static_cast<double>(pcm[static_cast<size_t>(n)]) * pcm[static_cast<size_t>(n)];
      }
      CHECK(talk.energy == doctest::Approx(energy).epsilon(1e-9));
      before = talk.end;
    }
  }
}

TEST_CASE("where blocks are cut changes nothing") {
  const std::vector<int16_t> pcm = syllables(11025, 5);
  const Found whole = run(11025, pcm, pcm.size());
  for (const size_t block : {1, 109, 110, 111, 4096}) {
    const Found cut = run(11025, pcm, block);
    REQUIRE(cut.talk.size() == whole.talk.size());
    for (size_t i = 0; i < cut.talk.size(); ++i) {
      CHECK(cut.talk[i].start == whole.talk[i].start);
      CHECK(cut.talk[i].end == whole.talk[i].end);
      CHECK(cut.talk[i].energy == whole.talk[i].energy);
    }
  }
}

TEST_CASE("the extremes: full scale, nothing, one sample") {
  for (const int16_t level : {int16_t{32767}, int16_t{-32768}, int16_t{0}}) {
    CHECK(run(8000, std::vector<int16_t>(80000, level), 777).talk.empty());
  }
  CHECK(run(48000, {5}, 1).talk.empty());
}

TEST_CASE("wrong arguments") {
  cr_speech *speech = nullptr;
  size_t count = 0;
  CHECK(cr_speech_create(7999, &speech) == CR_ARGUMENT);
  CHECK(cr_speech_create(48001, &speech) == CR_ARGUMENT);
  CHECK(cr_speech_create(8000, nullptr) == CR_ARGUMENT);
  CHECK(cr_speech_write(nullptr, nullptr, 0) == CR_ARGUMENT);
  CHECK(cr_speech_finish(nullptr) == CR_ARGUMENT);
  CHECK(cr_speech_take(nullptr, nullptr, 0, &count) == CR_ARGUMENT);
  cr_speech_destroy(nullptr);
  REQUIRE(cr_speech_create(8000, &speech) == CR_OK);
  CHECK(cr_speech_write(speech, nullptr, 3) == CR_ARGUMENT);
  CHECK(cr_speech_take(speech, nullptr, 1, &count) == CR_ARGUMENT);
  CHECK(cr_speech_take(speech, nullptr, 0, &count) == CR_OK);
  cr_speech_destroy(speech);
}

namespace {

std::vector<cr_talk> take_all(cr_speech *speech) {
  std::vector<cr_talk> talk(64);
  size_t count = 0;
  REQUIRE(cr_speech_finish(speech) == CR_OK);
  REQUIRE(cr_speech_take(speech, talk.data(), talk.size(), &count) == CR_OK);
  talk.resize(count);
  return talk;
}

}  // namespace

TEST_CASE("two channels side by side give what each gives by itself") {
  for (const int32_t rate : {8000, 11025, 16000}) {
    const std::vector<int16_t> one = syllables(rate, 7);
    std::vector<int16_t> two(one.rbegin(), one.rend());
    for (const size_t channels : {size_t{2}, size_t{3}, size_t{4}}) {
      std::vector<int16_t> frames(one.size() * channels, 12345);
      for (size_t n = 0; n < one.size(); ++n) {
        frames[n * channels] = one[n];
        frames[n * channels + 1] = two[n];
      }
      const std::vector<cr_talk> alone[] = {run(rate, one, one.size()).talk, run(rate, two, two.size()).talk};
      // The last one: one of them has heard something before.
      for (const size_t block : {one.size(), size_t{1237}, size_t{31}, size_t{0}}) {
        cr_speech *pair[2] = {};
        REQUIRE(cr_speech_create(rate, &pair[0]) == CR_OK);
        REQUIRE(cr_speech_create(rate, &pair[1]) == CR_OK);
        const size_t first = block == 0 ? 50 : 0;
        REQUIRE(cr_speech_write(pair[0], one.data(), first) == CR_OK);
        const size_t step = block == 0 ? 4000 : block;
        const size_t whole = one.size() - first;
        std::vector<int16_t> shifted = frames;
        for (size_t n = 0; n < whole; ++n) {
          shifted[n * channels] = one[n + first];
        }
        for (size_t at = 0; at < whole; at += step) {
          REQUIRE(cr_speech_write_pair(pair[0], pair[1], shifted.data() + at * channels,
                                       std::min(step, whole - at), channels) == CR_OK);
        }
        REQUIRE(cr_speech_write(pair[1], two.data() + whole, first) == CR_OK);
        for (size_t who = 0; who < 2; ++who) {
          const std::vector<cr_talk> found = take_all(pair[who]);
          REQUIRE(found.size() == alone[who].size());
          REQUIRE(!found.empty());
          for (size_t i = 0; i < found.size(); ++i) {
            CHECK(found[i].start == alone[who][i].start);
            CHECK(found[i].end == alone[who][i].end);
            CHECK(found[i].energy == alone[who][i].energy);
          }
        }
        CHECK(cr_speech_write_pair(pair[0], pair[1], frames.data(), 1, channels) == CR_STATE);
        CHECK(cr_speech_write_pair(pair[0], pair[0], frames.data(), 1, channels) == CR_ARGUMENT);
        CHECK(cr_speech_write_pair(pair[0], pair[1], frames.data(), 1, 1) == CR_ARGUMENT);
        CHECK(cr_speech_write_pair(pair[0], nullptr, frames.data(), 1, 2) == CR_ARGUMENT);
        cr_speech_destroy(pair[0]);
        cr_speech_destroy(pair[1]);
      }
    }
  }
}
