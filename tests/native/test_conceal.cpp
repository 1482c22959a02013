#include <algorithm>
#include <cmath>

#include "checkasm.h"
#include "decode/conceal.h"

using callreplay::Concealer;
using callreplay::Surroundings;
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

// What is heard for a loss of `count` samples at `from`.
std::vector<int16_t> filled(const std::vector<int16_t> &pcm, int rate, size_t from, size_t count,
                            bool before = true, bool after = true) {
  std::vector<int16_t> loss(count, 1234);
  const size_t end = from + count;
  const Surroundings around{pcm.data(), before ? from : 0, pcm.data() + end, after ? pcm.size() - end : 0};
  Concealer(rate).bridge(around, 7, loss.data(), count);
  return loss;
}

}  // namespace

TEST_CASE("a voice goes on through a loss, without a step at either end") {
  for (const int rate : kRates) {
    const std::vector<int16_t> longest = voice(rate, 2 * samples(rate, 200) + samples(rate, 120));
    for (const double ms : {20.0, 60.0, 120.0}) {
      CAPTURE(rate);
      CAPTURE(ms);
      const size_t from = samples(rate, 200), lost = samples(rate, ms);
      const std::vector<int16_t> original(longest.begin(),
                                          longest.begin() + static_cast<ptrdiff_t>(2 * from + lost));
      const std::vector<int16_t> loss = filled(original, rate, from, lost);
      std::vector<int16_t> heard = original;
      std::copy(loss.begin(), loss.end(), heard.begin() + static_cast<ptrdiff_t>(from));
      CHECK(snr_db(&original[from], loss.data(), samples(rate, 10)) > 15);
      CHECK(snr_db(&original[from + lost - samples(rate, 10)], &loss[lost - samples(rate, 10)],
                   samples(rate, 10)) > 15);
      const int usual = largest_step(original.data(), original.size());
      CHECK(largest_step(&heard[from - 1], lost + 2) <= usual * 5 / 4);
    }
  }
}

TEST_CASE("a voice that changes its pitch is taken up from both sides") {
  const int rate = 8000;
  std::vector<int16_t> low = voice(rate, 1600), high = voice(rate * 4 / 5, 1600);  // 120 and 150 Hz
  std::vector<int16_t> pcm = low;
  std::copy(high.begin(), high.begin() + 800, pcm.begin() + 800);
  const std::vector<int16_t> loss = filled(pcm, rate, 720, 160);
  CHECK(snr_db(&low[720], loss.data(), 24) > 12);
  CHECK(snr_db(&high[56], &loss[136], 24) > 12);
}

TEST_CASE("with one side only it fades to silence within 60 ms") {
  for (const int rate : kRates) {
    CAPTURE(rate);
    const std::vector<int16_t> pcm = voice(rate, samples(rate, 320));
    const size_t from = samples(rate, 100), count = samples(rate, 120),
                 silent = static_cast<size_t>(rate) * 60 / 1000;
    std::vector<int16_t> loss = filled(pcm, rate, from, count, true, false);
    CHECK(std::count(loss.begin() + static_cast<ptrdiff_t>(silent), loss.end(), 0) ==
          static_cast<ptrdiff_t>(count - silent));
    CHECK(std::abs(loss[silent - 1]) < 1000);
    CHECK(snr_db(&pcm[from], loss.data(), samples(rate, 5)) > 15);
    loss = filled(pcm, rate, from, count, false, true);
    CHECK(std::count(loss.begin(), loss.begin() + static_cast<ptrdiff_t>(count - silent), 0) ==
          static_cast<ptrdiff_t>(count - silent));
    CHECK(std::abs(loss[count - silent]) < 1000);
    CHECK(snr_db(&pcm[from + count - samples(rate, 5)], &loss[count - samples(rate, 5)], samples(rate, 5)) >
          15);
  }
}

TEST_CASE("without anything to go on there is silence") {
  std::vector<int16_t> pcm(160, 99);
  CHECK(!Concealer(8000).bridge({nullptr, 0, nullptr, 0}, 1, pcm.data(), pcm.size()));
  CHECK(std::count(pcm.begin(), pcm.end(), 0) == 160);
  const std::vector<int16_t> quiet(800, 0);
  pcm.assign(160, 99);
  CHECK(!Concealer(8000).bridge({quiet.data(), 400, quiet.data() + 400, 400}, 1, pcm.data(), pcm.size()));
  CHECK(std::count(pcm.begin(), pcm.end(), 0) == 160);
}

TEST_CASE("only the 36 ms on either side matter, and the seed") {
  for (const int rate : {8000, 16000, 48000}) {
    Random random(checkasm::seed());
    std::vector<int16_t> pcm(samples(rate, 300));
    checkasm::fill(pcm.data(), pcm.size(), checkasm::Pattern::kRandom, random);
    const size_t from = samples(rate, 140), count = samples(rate, 20), reach = samples(rate, 36);
    const std::vector<int16_t> loss = filled(pcm, rate, from, count);
    CHECK(filled({pcm.begin() + static_cast<ptrdiff_t>(from - reach),
                  pcm.begin() + static_cast<ptrdiff_t>(from + count + reach)},
                 rate, reach, count) == loss);
  }
}

TEST_CASE("any audio, any lengths, any rate: nothing outside the buffer") {
  Random random(checkasm::seed() + 1);
  for (const int rate : {0, 8000, 16000, 44100, 48000, 192000}) {
    const auto actual = static_cast<size_t>(std::clamp(rate, 8000, 48000));
    for (const auto pattern : checkasm::kPatterns) {
      for (int turn = 0; turn < (checkasm::emulated() ? 5 : 30); ++turn) {
        const size_t before = random.below(3000), after = random.below(3000);
        const size_t count = random.below(static_cast<uint32_t>(actual * 120 / 1000 + 1));
        checkasm::Guarded<int16_t> left(before, random.below(8)), right(after, random.below(8));
        checkasm::Guarded<int16_t> pcm(count, random.below(8));
        checkasm::fill(left.data(), before, pattern, random);
        checkasm::fill(right.data(), after, pattern, random);
        Concealer(rate).bridge({left.data(), before, right.data(), after}, 5, pcm.data(), count);
        REQUIRE(pcm.intact());
        REQUIRE(left.intact());
        REQUIRE(right.intact());
      }
    }
  }
}

TEST_CASE("every instruction set fills a loss with the same samples") {
  Random random(checkasm::seed() + 2);
  for (size_t r = 0; r < std::size(kRates); r += checkasm::emulated() ? 3 : 1) {
    const int rate = kRates[r];
    const size_t side = samples(rate, 50);
    const std::vector<int16_t> voiced = voice(rate, 2 * side);
    for (const auto pattern : checkasm::kPatterns) {
      for (int turn = 0; turn < 6; ++turn) {
        const size_t count = 1 + random.below(samples(rate, 120));
        std::vector<int16_t> pcm = voiced, other(2 * side);
        checkasm::fill(other.data(), other.size(), pattern, random);
        const int shift = static_cast<int>(random.below(16));  // from noise alone to a voice
        for (size_t i = 0; i < pcm.size(); ++i)
          pcm[i] =
              static_cast<int16_t>(std::clamp(pcm[i] * (turn % 3 > 0) + (other[i] >> shift), -32768, 32767));
        const Surroundings around{pcm.data(), turn == 4 ? 0 : side - random.below(side), pcm.data() + side,
                                  turn == 5 ? 0 : side - random.below(side)};
        std::vector<int16_t> law(count), got(count);
        Concealer(rate, CR_ISA_SCALAR).bridge(around, 3, law.data(), count);
        for (const cr_isa isa : checkasm::available_isas()) {
          CAPTURE(cr_isa_name(isa));
          Concealer(rate, isa).bridge(around, 3, got.data(), count);
          REQUIRE(got == law);
        }
      }
    }
  }
}

CHECKASM_BENCH("conceal: 20 ms lost") {
  for (const int rate : {8000, 16000, 48000}) {
    const Concealer concealer(rate);
    const size_t packet = samples(rate, 20);
    const std::vector<int16_t> speech = voice(rate, 7 * packet);
    std::vector<int16_t> pcm(packet);
    const std::string name = std::to_string(rate);
    checkasm::report(name.c_str(), static_cast<double>(packet), [&] {
      concealer.bridge({speech.data(), 3 * packet, speech.data() + 4 * packet, 3 * packet}, 1, pcm.data(),
                       packet);
    });
  }
}
