#include <memory>
#include <numeric>

#include "checkasm.h"
#include "encode/ogg/ogg.h"
#include "encode/speex/jobs.h"
#include "encode/speex/stream.h"

using callreplay::speex::Engine;
using callreplay::speex::Job;
using callreplay::speex::Packets;
using callreplay::speex::RateControl;
using callreplay::speex::RateOptions;
using checkasm::Pattern;
using checkasm::Random;

namespace {

constexpr cr_isa kSets[] = {CR_ISA_BASELINE, CR_ISA_NEON, CR_ISA_AVX2, CR_ISA_AVX512};

// Streams of different patterns and lengths, and their packets by one engine.
struct Calls {
  std::vector<std::vector<int16_t>> pcm;

  Calls(size_t count, size_t frames, Random &random) {
    for (size_t i = 0; i < count; ++i) {
      pcm.emplace_back((frames + i % 5) * callreplay::speex::kWidebandFrame);
      const Pattern pattern = checkasm::kPatterns[i % std::size(checkasm::kPatterns)];
      checkasm::fill(pcm.back().data(), pcm.back().size(), pattern, random);
      // Every other call at a telephone's level.
      if (i % 2 == 1) {
        for (int16_t &sample : pcm.back()) sample = static_cast<int16_t>(sample / 16);
      }
    }
  }

  // `together`: all in one run, in lanes; otherwise one run each.
  std::vector<std::vector<uint8_t>> code(cr_isa isa, const RateOptions &options, bool together) const {
    Engine engine(isa);
    return code(engine, options, together);
  }
  std::vector<std::vector<uint8_t>> code(Engine &engine, const RateOptions &options, bool together) const {
    std::vector<callreplay::speex::AlignedArray<float>> states;
    std::vector<RateControl> controls(pcm.size());
    std::vector<Packets> packets(pcm.size());
    std::vector<Job> jobs;
    const size_t frame =
        options.wideband ? callreplay::speex::kWidebandFrame : callreplay::speex::kNarrowbandFrame;
    for (size_t i = 0; i < pcm.size(); ++i) {
      states.push_back(callreplay::speex::make_aligned<float>(engine.state_floats()));
      engine.reset(states.back().get());
      jobs.push_back(
          {states.back().get(), &controls[i], pcm[i].data(), pcm[i].size() / frame, i % 3, &packets[i]});
      if (!together) {
        engine.run(options, jobs);
        jobs.clear();
      }
    }
    engine.run(options, jobs);
    std::vector<std::vector<uint8_t>> octets;
    for (const Packets &p : packets) octets.push_back(p.octets);
    return octets;
  }
};

}  // namespace

TEST_CASE("every lane of every set writes the scalar instance's octets, at every quality") {
  Random random(checkasm::seed());
  const Calls calls(checkasm::emulated()  ? 6
                    : checkasm::watched() ? 9
                                          : 19,
                    checkasm::emulated()  ? 2
                    : checkasm::watched() ? 3
                                          : 5,
                    random);
  for (const bool wideband : {false, true}) {
    const int step = checkasm::emulated() ? 3 : 1;
    for (int quality = 0; quality <= 10; quality += step) {
      const RateOptions options{wideband, quality, false, false, false};
      const auto law = calls.code(CR_ISA_SCALAR, options, false);
      CHECK(!law[0].empty());
      for (const cr_isa isa : kSets) {
        if (!cr_isa_available(isa)) continue;
        CAPTURE(quality);
        CAPTURE(cr_isa_name(isa));
        CHECK(calls.code(isa, options, true) == law);
        CHECK(calls.code(isa, options, false) == law);
      }
    }
  }
}

TEST_CASE("lanes that choose their sub-modes by themselves write the scalar instance's octets") {
  Random random(checkasm::seed());
  const Calls calls(checkasm::emulated()  ? 6
                    : checkasm::watched() ? 9
                                          : 19,
                    checkasm::emulated() ? 6 : 12, random);
  for (const bool wideband : {false, true}) {
    for (const RateOptions options :
         {RateOptions{wideband, 8, true, false, false}, RateOptions{wideband, 4, true, true, true},
          RateOptions{wideband, 6, false, true, true}}) {
      const auto law = calls.code(CR_ISA_SCALAR, options, false);
      for (const cr_isa isa : kSets) {
        if (!cr_isa_available(isa)) continue;
        CAPTURE(cr_isa_name(isa));
        CHECK(calls.code(isa, options, true) == law);
      }
    }
  }
}

TEST_CASE("streams that move between kernels write the scalar instance's octets") {
  Random random(checkasm::seed());
  const Calls calls(checkasm::emulated()  ? 7
                    : checkasm::watched() ? 11
                                          : 23,
                    checkasm::emulated() ? 4 : 9, random);
  using callreplay::LanePlan;
  using callreplay::speex_kernel;
  // Made-up costs: every number of lanes is the cheapest for as many streams.
  callreplay::speex::Kernels kernels{callreplay::speex_single_kernel(cr_isa_active())};
  std::vector<LanePlan::Width> widths{{1, 1.0, 1.0}};
  for (const auto *kernel : callreplay::kernels_at_hand(speex_kernel)) {
    if (kernel->lanes > 1) {
      kernels.push_back(kernel);
      const double cost = 0.9 + 0.1 * kernel->lanes;
      widths.push_back({static_cast<size_t>(kernel->lanes), cost, cost});
    }
  }
  for (const RateOptions options :
       {RateOptions{true, 8, false, false, false}, RateOptions{false, 4, true, true, true}}) {
    Engine moving(kernels, LanePlan(widths));
    Engine usual;
    const auto law = calls.code(CR_ISA_SCALAR, options, false);
    CHECK(calls.code(moving, options, true) == law);
    CHECK(calls.code(usual, options, true) == law);
  }
}

TEST_CASE("a frame has the bits of its sub-mode") {
  Random random(checkasm::seed());
  const Calls calls(1, 3, random);
  for (int quality = 0; quality <= 10; ++quality) {
    const RateOptions options{true, quality, false, false, false};
    const auto mode = callreplay::speex::constant_mode(options);
    const int bits =
        callreplay::speex::kNarrowband[mode.low].bits + callreplay::speex::kHighband[mode.high].bits;
    CHECK(calls.code(cr_isa_active(), options, false)[0].size() == 3 * static_cast<size_t>((bits + 7) / 8));
  }
}

TEST_CASE("the page checksum is that of RFC 3533") {
  // CRC-32/MPEG-2 without its start value: of "123456789" it is 0x89A1897F.
  const uint8_t digits[] = "123456789";
  CHECK(callreplay::ogg_crc(digits, 9) == 0x89A1897Fu);
}

TEST_CASE("the C face refuses what it cannot code") {
  const cr_speex_options good{8000, 8, 0, 0, 0, 0};
  cr_speex_stream *stream = nullptr;
  for (cr_speex_options bad :
       {cr_speex_options{44100, 8, 0, 0, 0, 0}, cr_speex_options{8000, 11, 0, 0, 0, 0},
        cr_speex_options{8000, -1, 0, 0, 0, 0}, cr_speex_options{8000, 8, 2, 0, 0, 0}}) {
    CHECK(cr_speex_stream_create(&bad, 1, nullptr, 0, &stream) == CR_ARGUMENT);
  }
  const char *nameless[] = {"no equals sign"};
  CHECK(cr_speex_stream_create(&good, 1, nameless, 1, &stream) == CR_ARGUMENT);
  REQUIRE(cr_speex_stream_create(&good, 1, nullptr, 0, &stream) == CR_OK);
  CHECK(cr_speex_stream_end(stream) == CR_OK);
  const int16_t sample = 0;
  CHECK(cr_speex_stream_push(stream, &sample, 1) == CR_STATE);
  cr_speex_stream_destroy(stream);
}

// As the bench of test_conveyor: streams in the lanes of one set alone, and as the plan has it.
// Items are frames.
CHECKASM_BENCH("speex: 1 to 32 streams, narrowband, quality 8") {
  Random random(checkasm::seed());
  const RateOptions options{false, 8, false, false, false};
  for (const size_t streams : {1u, 2u, 3u, 4u, 8u, 16u, 24u, 32u}) {
    const Calls calls(streams, 50, random);
    const auto run = [&](const char *name, Engine engine) {
      const std::string row = std::to_string(streams) + " " + name;
      checkasm::report(row.c_str(), static_cast<double>(streams) * 100.0,
                       [&] { calls.code(engine, options, true); });
    };
    for (int isa = CR_ISA_BASELINE; isa <= cr_isa_active(); ++isa) {
      if (callreplay::speex_kernel(static_cast<cr_isa>(isa)) != nullptr) {
        run(cr_isa_name(static_cast<cr_isa>(isa)), Engine(static_cast<cr_isa>(isa)));
      }
    }
    run("chosen", Engine());
  }
}

CHECKASM_BENCH("speex: one second of every lane, quality 8") {
  Random random(checkasm::seed());
  for (const bool wideband : {false, true}) {
    const RateOptions options{wideband, 8, false, false, false};
    const size_t samples = wideband ? callreplay::speex::kWidebandFrame : callreplay::speex::kNarrowbandFrame;
    std::printf(" %s\n", wideband ? "wideband" : "narrowband");
    for (const cr_isa isa : checkasm::available_isas()) {
      const auto lanes = static_cast<size_t>(callreplay::speex_kernel(isa)->lanes);
      const Calls calls(lanes, 48, random);
      Engine engine(isa);
      checkasm::report(cr_isa_name(isa), static_cast<double>(50 * samples * lanes),
                       [&] { calls.code(engine, options, true); });
    }
  }
}
