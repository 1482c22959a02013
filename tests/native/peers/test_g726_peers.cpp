// G.726 against libspandsp, which is exact to the ITU's sequences, and against libavcodec, which is not (its
// scale factor is not truncated as MIX says, and its zeros leak at 40 kbit/s as at the other rates).
#include <cmath>

#include "checkasm.h"
#include "decode/g726/codes.h"
#include "decode/kernels.h"
#include "g726_literal.h"

extern "C" {
#include <spandsp.h>
}

using callreplay::G726Kernel;
using checkasm::Pattern;
using checkasm::Random;

namespace {

// Ten seconds of harmonics that glide, with pauses, noise and full scale.
std::vector<int16_t> sound(Random &random) {
  std::vector<int16_t> pcm(80000);
  double phase = 0;
  for (size_t i = 0; i < pcm.size(); ++i) {
    const double t = static_cast<double>(i) / 8000;
    phase += 2 * M_PI * (140 + 60 * std::sin(2 * M_PI * 0.7 * t)) / 8000;
    double value = 0;
    for (int k = 1; k < 12; ++k) value += std::sin(k * phase) / k;
    value *= std::sin(2 * M_PI * 1.5 * t) > -0.5 ? (t > 8 ? 32000 : 6000) : 0;
    value += static_cast<double>(random.below(200)) - 100;
    pcm[i] = static_cast<int16_t>(value > 32767 ? 32767 : value < -32768 ? -32768 : value);
  }
  return pcm;
}

int packing_of(bool aal2) {
  return aal2 ? G726_PACKING_LEFT : G726_PACKING_RIGHT;
}

std::vector<uint8_t> encode(const std::vector<int16_t> &pcm, int bits, bool aal2) {
  std::vector<uint8_t> octets(pcm.size());
  g726_state_t *state = g726_init(nullptr, 8000 * bits, G726_ENCODING_LINEAR, packing_of(aal2));
  octets.resize(
      static_cast<size_t>(g726_encode(state, octets.data(), pcm.data(), static_cast<int>(pcm.size()))));
  g726_free(state);
  return octets;
}

std::vector<int16_t> decode_spandsp(const std::vector<uint8_t> &octets, int bits, bool aal2) {
  std::vector<int16_t> pcm(octets.size() * 4 + 8);
  g726_state_t *state = g726_init(nullptr, 8000 * bits, G726_ENCODING_LINEAR, packing_of(aal2));
  pcm.resize(
      static_cast<size_t>(g726_decode(state, pcm.data(), octets.data(), static_cast<int>(octets.size()))));
  g726_free(state);
  return pcm;
}

std::vector<int16_t> decode_ours(const G726Kernel *kernel, const std::vector<uint8_t> &octets, int bits,
                                 bool aal2) {
  const size_t count = 8 * octets.size() / static_cast<size_t>(bits);
  std::vector<uint8_t> codes(count);
  callreplay::unpack_g726(octets.data(), 0, count, bits, aal2, codes.data());
  checkasm::State state(kernel->state_bytes);
  const auto lanes = static_cast<size_t>(kernel->lanes);
  for (size_t lane = 0; lane < lanes; ++lane) kernel->reset(state.data(), static_cast<int>(lane));
  std::vector<std::vector<int16_t>> pcm(lanes, std::vector<int16_t>(count));
  std::vector<const uint8_t *> from(lanes, codes.data());
  std::vector<int16_t *> to;
  for (auto &one : pcm) to.push_back(one.data());
  kernel->decode(state.data(), bits, from.data(), to.data(), static_cast<int>(count));
  for (const auto &one : pcm) REQUIRE(one == pcm[0]);
  return pcm[0];
}

// libspandsp gives all 16 bits of what was reconstructed, shifted, where Annex A limits them to 14.
std::vector<int16_t> decode_literal(const std::vector<uint8_t> &octets, int bits, bool aal2, bool limited) {
  std::vector<uint8_t> codes(8 * octets.size() / static_cast<size_t>(bits));
  callreplay::unpack_g726(octets.data(), 0, codes.size(), bits, aal2, codes.data());
  literal726::Decoder decoder(bits);
  std::vector<int16_t> pcm;
  for (const uint8_t code : codes) {
    pcm.push_back(limited ? decoder.linear(code) : static_cast<int16_t>(decoder.decode(code) * 4));
  }
  return pcm;
}

}  // namespace

TEST_CASE("coded sound decodes as libspandsp decodes it, at every rate, packing and width") {
  Random random(checkasm::seed());
  const std::vector<int16_t> pcm = sound(random);
  for (int bits = 2; bits <= 5; ++bits) {
    for (const bool aal2 : {false, true}) {
      const std::vector<uint8_t> octets = encode(pcm, bits, aal2);
      const std::vector<int16_t> peer = decode_spandsp(octets, bits, aal2);
      CHECK(peer == decode_literal(octets, bits, aal2, false));
      for (const cr_isa isa : checkasm::available_isas()) {
        const std::vector<int16_t> ours = decode_ours(callreplay::g726_kernel(isa), octets, bits, aal2);
        REQUIRE(ours.size() == peer.size());
        size_t limited = 0;
        for (size_t i = 0; i < ours.size(); ++i) {
          const bool rail = ours[i] == 32764 || ours[i] == -32768;
          limited += rail;
          const bool same = ours[i] == peer[i] || rail;
          REQUIRE_MESSAGE(same, "bits ", bits, " sample ", i, ": ", ours[i], " and ", peer[i]);
        }
        CHECK(limited < ours.size() / 20);
      }
    }
  }
}

TEST_CASE("random payloads decode as libspandsp decodes them, but for the limit of Annex A") {
  Random random(checkasm::seed() + 1);
  for (int bits = 2; bits <= 5; ++bits) {
    std::vector<uint8_t> octets(40000);
    checkasm::fill(octets.data(), octets.size(), Pattern::kRandom, random);
    CHECK(decode_spandsp(octets, bits, false) == decode_literal(octets, bits, false, false));
    CHECK(decode_ours(callreplay::g726_kernel(cr_isa_active()), octets, bits, false) ==
          decode_literal(octets, bits, false, true));
  }
}
