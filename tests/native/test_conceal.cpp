#include <algorithm>
#include <cmath>
#include <memory>

#include "checkasm.h"
#include "decode/conceal.h"

using callreplay::Concealer;
using checkasm::Random;

namespace {

constexpr int kRates[] = {8000, 11025, 16000, 22050, 32000, 44100, 48000};

// A voice: harmonics of 120 Hz that fall off by 1/k.
std::vector<int16_t> voice(int rate_hz, size_t count) {
  std::vector<int16_t> pcm(count);
  for (size_t i = 0; i < count; ++i) {
    double x = 0;
    for (int k = 1; k <= 20; ++k)
      x += std::sin(2 * 3.14159265358979 * 120 * k * static_cast<double>(i) / rate_hz + k) / k;
    pcm[i] = static_cast<int16_t>(std::lrint(6000 * x));
  }
  return pcm;
}

size_t samples(int rate_hz, double ms) {
  return static_cast<size_t>(rate_hz * ms / 1000);
}

int largest_step(const int16_t *pcm, size_t count) {
  int step = 0;
  for (size_t i = 1; i < count; ++i) step = std::max(step, std::abs(pcm[i] - pcm[i - 1]));
  return step;
}

// 10 log10 of signal over difference.
double snr_db(const int16_t *signal, const int16_t *other, size_t count) {
  double energy = 1, error = 1;
  for (size_t i = 0; i < count; ++i) {
    energy += static_cast<double>(signal[i]) * signal[i];
    error += std::pow(static_cast<double>(signal[i]) - other[i], 2);
  }
  return 10 * std::log10(energy / error);
}

}  // namespace

TEST_CASE("a voice goes on through a loss, without a step at either end") {
  for (const int rate : kRates) {
    CAPTURE(rate);
    const size_t packet = samples(rate, 20), lost_from = 10 * packet;
    const std::vector<int16_t> original = voice(rate, 15 * packet);
    std::vector<int16_t> heard = original;
    auto concealer = std::make_unique<Concealer>(rate);
    for (size_t at = 0; at < heard.size(); at += packet) {
      if (at == lost_from) {
        CHECK(concealer->lost(&heard[at], packet) == packet);
      } else {
        concealer->good(&heard[at], packet);
      }
    }
    // Before the loss and from 6 ms after it on, good audio is not touched.
    CHECK(std::equal(original.begin(), original.begin() + static_cast<ptrdiff_t>(lost_from), heard.begin()));
    const size_t clean_from = lost_from + packet + samples(rate, 6) + 1;
    CHECK(std::equal(original.begin() + static_cast<ptrdiff_t>(clean_from), original.end(),
                     heard.begin() + static_cast<ptrdiff_t>(clean_from)));
    // In 10 ms the level has fallen by 0.8 dB.
    CHECK(snr_db(&original[lost_from], &heard[lost_from], packet / 2) > 15);
    const int usual = largest_step(original.data(), original.size());
    CHECK(largest_step(&heard[lost_from - 1], packet + samples(rate, 8)) <= usual * 5 / 4);
  }
}

TEST_CASE("silence from 60 ms on, and the count says how much was not") {
  for (const int rate : kRates) {
    CAPTURE(rate);
    std::vector<int16_t> pcm = voice(rate, samples(rate, 100));
    auto concealer = std::make_unique<Concealer>(rate);
    concealer->good(pcm.data(), pcm.size());
    const size_t silent = static_cast<size_t>(rate) * 60 / 1000, packet = samples(rate, 20);
    std::vector<int16_t> filled(7 * packet, 1234);
    size_t audible = 0;
    for (size_t at = 0; at < filled.size(); at += packet) audible += concealer->lost(&filled[at], packet);
    CHECK(audible == silent);
    CHECK(std::all_of(filled.begin() + static_cast<ptrdiff_t>(silent), filled.end(),
                      [](int16_t x) { return x == 0; }));
    // It has faded, not stopped.
    CHECK(std::abs(filled[silent - 1]) < 1000);
    CHECK(largest_step(&filled[silent - samples(rate, 5)], samples(rate, 10)) <
          largest_step(pcm.data(), pcm.size()) / 2);
  }
}

TEST_CASE("without anything to go on there is silence") {
  auto concealer = std::make_unique<Concealer>(8000);
  std::vector<int16_t> pcm(160, 99);
  CHECK(concealer->lost(pcm.data(), pcm.size()) == 0);
  CHECK(std::count(pcm.begin(), pcm.end(), 0) == 160);
  std::vector<int16_t> quiet(800, 0);
  concealer->good(quiet.data(), quiet.size());
  CHECK(concealer->lost(pcm.data(), pcm.size()) == 0);
  CHECK(std::count(pcm.begin(), pcm.end(), 0) == 160);
}

TEST_CASE("any split of the calls gives the same samples, and a reset gives a new object") {
  Random random(checkasm::seed());
  for (const int rate : {8000, 16000, 48000}) {
    auto whole = std::make_unique<Concealer>(rate), pieces = std::make_unique<Concealer>(rate);
    std::vector<int16_t> noise(997);
    checkasm::fill(noise.data(), noise.size(), checkasm::Pattern::kRandom, random);
    pieces->good(noise.data(), noise.size());
    pieces->lost(noise.data(), 100);
    pieces->reset();
    const std::vector<int16_t> speech = voice(rate, samples(rate, 2000));
    std::vector<int16_t> a = speech, b = speech;
    bool good = true;
    for (size_t at = 0; at < a.size(); good = !good) {
      const size_t count = std::min(a.size() - at, 1 + random.below(samples(rate, good ? 80 : 50)));
      if (good) {
        whole->good(&a[at], count);
      } else {
        whole->lost(&a[at], count);
      }
      for (size_t done = 0; done < count;) {
        const size_t part = std::min(count - done, random.below(70));
        if (good) {
          pieces->good(&b[at + done], part);
        } else {
          pieces->lost(&b[at + done], part);
        }
        done += part;
      }
      at += count;
    }
    CHECK(a == b);
    CHECK(a != speech);
  }
}

TEST_CASE("any audio, any lengths, any rate: nothing outside the buffer, silence where promised") {
  Random random(checkasm::seed() + 1);
  for (const int rate : {0, 8000, 16000, 44100, 48000, 192000}) {
    const auto actual = static_cast<size_t>(std::clamp(rate, 8000, 48000));
    for (const auto pattern : checkasm::kPatterns) {
      auto concealer = std::make_unique<Concealer>(rate);
      size_t since_good = 0;
      for (int turn = 0; turn < 60; ++turn) {
        const size_t count = random.below(4) == 0 ? random.below(5) : random.below(2500);
        checkasm::Guarded<int16_t> pcm(count, random.below(8));
        checkasm::fill(pcm.data(), count, pattern, random);
        if (random.below(2) == 0) {
          concealer->good(pcm.data(), count);
          if (count != 0) since_good = 0;
        } else {
          const size_t audible = concealer->lost(pcm.data(), count);
          REQUIRE(audible <= count);
          REQUIRE(since_good + audible <= actual * 60 / 1000);
          for (size_t i = audible; i < count; ++i) REQUIRE(pcm[i] == 0);
          since_good += audible;
        }
        REQUIRE(pcm.intact());
      }
    }
  }
}

CHECKASM_BENCH("conceal: 20 ms lost after 20 ms good") {
  for (const int rate : {8000, 16000, 48000}) {
    const size_t packet = samples(rate, 20);
    std::vector<int16_t> speech = voice(rate, packet), pcm(packet);
    auto concealer = std::make_unique<Concealer>(rate);
    for (int i = 0; i < 5; ++i) concealer->good(speech.data(), packet);
    const std::string name = std::to_string(rate);
    checkasm::report(name.c_str(), static_cast<double>(2 * packet), [&] {
      concealer->good(speech.data(), packet);
      concealer->lost(pcm.data(), packet);
    });
  }
}
