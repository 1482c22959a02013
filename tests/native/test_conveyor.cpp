#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <string>

#include "callreplay/isa.h"
#include "checkasm.h"
#include "conveyor/choice.h"
#include "conveyor/conveyor.h"
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
  for (uint64_t seed = 1; seed <= (checkasm::emulated() ? 15u : 40u); ++seed) {
    const cr_codec codec = seed % 5 == 0   ? CR_CODEC_ULAW
                           : seed % 5 == 1 ? CR_CODEC_G722
                           : seed % 5 == 2 ? CR_CODEC_L16
                           : seed % 5 == 3 ? CR_CODEC_G726
                                           : CR_CODEC_G729;
    legs.push_back(test::eventful_leg(codec, seed, 10 + static_cast<int>(seed) * 3));
  }
  cr_occupancy alone, all;
  std::vector<Sound> one_by_one;
  for (const MadeLeg &leg : legs) {
    one_by_one.push_back(decode({leg}, 1, 500, &alone)[0]);
  }
  for (const uint32_t width : {2u, 7u, 64u}) {
    const auto together = decode(legs, width, 120, &all);
    for (size_t i = 0; i < legs.size(); ++i) {
      CAPTURE(i);
      CHECK((together[i] == one_by_one[i]));
    }
  }
  // Where no registers are known, baseline is the law in arrays, and one stream alone may be the cheaper; so may it be
  // where an emulator makes the costs that are measured.
  if (cr_isa_active() > CR_ISA_BASELINE && !checkasm::emulated()) {
    CHECK(all.lane_used > 0);
    CHECK(all.lane_used <= all.lane_slots);
  }
}

TEST_CASE("several spans of several codecs in one leg come one after the other") {
  MadeLeg leg;
  test::Random random{3};
  for (const cr_codec codec : {CR_CODEC_ULAW, CR_CODEC_G722, CR_CODEC_G729, CR_CODEC_G726, CR_CODEC_ULAW}) {
    for (int i = 0; i < 30; ++i) {
      leg.packet(i * 160, test::noise_payload(random, codec == CR_CODEC_G729   ? 20
                                                      : codec == CR_CODEC_G726 ? 80
                                                                               : 160));
    }
    leg.span(codec, 8000, codec == CR_CODEC_G722 ? 16000 : 8000, 30 * 160, codec == CR_CODEC_G726 ? 4 : 0);
  }
  cr_occupancy occupancy;
  const Sound sound = decode({leg}, 4, 120, &occupancy)[0];
  std::map<uint32_t, size_t> samples;
  for (const auto &[where, value] : sound) {
    ++samples[where.first];
  }
  CHECK(samples == std::map<uint32_t, size_t>{{0, 4800}, {1, 9600}, {2, 4800}, {3, 4800}, {4, 4800}});
}

TEST_CASE("a slot that held another codec leaves nothing behind") {
  // One slot serves all in turn; L16 and G.711 bring a concealer that G.729, with losses of its own,
  // must not meet.
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

namespace {

// Whole legs of one codec without losses, `streams` of them with `seconds` each.
std::vector<MadeLeg> plain_legs(cr_codec codec, size_t streams, int seconds) {
  std::vector<MadeLeg> legs;
  test::Random random{streams};
  for (size_t i = 0; i < streams; ++i) {
    MadeLeg leg;
    const size_t octets = codec == CR_CODEC_G729 ? 20 : codec == CR_CODEC_G726 ? 80 : 160;
    for (int packet = 0; packet < 50 * seconds; ++packet) {
      leg.packet(160 * packet, test::noise_payload(random, octets));
    }
    leg.span(codec, 8000, codec == CR_CODEC_G722 ? 16000 : 8000, 8000 * seconds,
             codec == CR_CODEC_G726 ? 4 : 0);
    legs.push_back(std::move(leg));
  }
  return legs;
}

// All samples of the legs, decoded together in rounds of `block_ms`; the legs start `apart` rounds
// after one another.
std::vector<std::vector<int16_t>> decode_with(Conveyor &conveyor, const std::vector<MadeLeg> &legs,
                                              uint32_t block_ms, size_t apart) {
  std::vector<std::vector<int16_t>> pcm(legs.size());
  std::vector<cr_leg> views;
  for (const MadeLeg &leg : legs) {
    views.push_back(leg.view());
  }
  std::vector<std::pair<size_t, uint32_t>> running;  // leg, slot
  size_t next = 0;
  for (size_t round = 0; next < legs.size() || !running.empty(); ++round) {
    while (next < legs.size() && next * apart <= round) {
      const cr_span &span = legs[next].spans[0];
      const auto budget = static_cast<uint32_t>(span.sample_rate_hz / 1000) * block_ms;
      running.emplace_back(next, conveyor.open(views[next], 0, budget, 0, int64_t{1} << 60));
      ++next;
    }
    for (const auto &[leg, slot] : running) {
      conveyor.want(slot);
    }
    conveyor.step();
    std::erase_if(running, [&](const auto &current) {
      SpanCursor &cursor = conveyor.cursor(current.second);
      for (const Segment &segment : cursor.segments()) {
        const int16_t *from = cursor.samples() + segment.pcm;
        pcm[current.first].insert(pcm[current.first].end(), from, from + segment.count);
      }
      const bool done = cursor.done();
      if (done) {
        conveyor.close(current.second);
      }
      return done;
    });
  }
  return pcm;
}

template <class Kernel>
Choice<Kernel> only(const Kernel *kernel) {
  return {{kernel}, LanePlan({{static_cast<size_t>(kernel->lanes), 1.0, 1.0}}), 0.0};
}

// A choice whose costs are made up: streams move from kernel to kernel whenever one ends or begins.
template <class Kernel>
Choice<Kernel> restless(std::vector<const Kernel *> kernels) {
  std::vector<LanePlan::Width> widths;
  for (const Kernel *kernel : kernels) {
    const double cost = 0.9 + 0.1 * kernel->lanes;
    widths.push_back({static_cast<size_t>(kernel->lanes), cost, cost});
  }
  return {std::move(kernels), LanePlan(std::move(widths)), 0.0};
}

}  // namespace

TEST_CASE("a plan takes the cheapest calls") {
  const LanePlan plan({{1, 3.0, 3.0}, {4, 6.0, 6.5}, {8, 8.0, 8.0}, {16, 10.0, 10.5}});
  for (size_t n = 0; n < 200; ++n) {
    CAPTURE(n);
    double cost = 0.0;
    for (size_t left = n; left > 0;) {
      const LanePlan::Width &width = plan.widths()[plan.first(left)];
      cost += width.cost(left);
      left -= std::min(left, width.lanes);
    }
    CHECK(cost == doctest::Approx(plan.cost(n)));
    const size_t full = n / 16, rest = n % 16;
    const double costs[] = {0.0, 3.0, 6.0, 6.5, 6.0, 8.0, 8.0, 8.0, 8.0};
    const double best = rest <= 8 ? costs[rest] : 10.5;
    CHECK(plan.cost(n) == doctest::Approx(10.0 * static_cast<double>(full) + best));
  }
}

TEST_CASE("streams that move between kernels sound as those that stay") {
  const auto g722_law = only(g722_kernel(CR_ISA_SCALAR));
  const auto g726_law = only(g726_kernel(CR_ISA_SCALAR));
  const auto g729_law = only(g729_kernel(CR_ISA_SCALAR));
  const auto g722_moving = restless(kernels_at_hand(g722_kernel));
  const auto g726_moving = restless(kernels_at_hand(g726_kernel));
  const auto g729_moving = restless(kernels_at_hand(g729_kernel));
  std::vector<MadeLeg> legs;
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    const cr_codec codec = seed % 3 == 0 ? CR_CODEC_G722 : seed % 3 == 1 ? CR_CODEC_G726 : CR_CODEC_G729;
    legs.push_back(test::eventful_leg(codec, seed, 20 + static_cast<int>(seed * 37 % 90)));
    if (codec == CR_CODEC_G722) {
      legs.back().spans[0].mode = static_cast<int32_t>(seed / 3 % 3);
    }
  }
  Conveyor law(g722_law, g726_law, g729_law);
  const auto expected = decode_with(law, legs, 120, 0);
  CHECK(law.occupancy().rounds == 0);
  for (const size_t apart : {0u, 1u, 3u}) {
    CAPTURE(apart);
    Conveyor moving(g722_moving, g726_moving, g729_moving);
    CHECK((decode_with(moving, legs, 120, apart) == expected));
    Conveyor usual;
    CHECK((decode_with(usual, legs, 120, apart) == expected));
  }
}

namespace {

// G.729 for a minute: what forgets, and what does not. Frames that are all the same may keep a state for ever.
std::vector<MadeLeg> long_legs() {
  const int share = checkasm::emulated() ? 3 : 1;
  std::vector<MadeLeg> legs;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    legs.push_back(test::eventful_leg(CR_CODEC_G729, seed, 1000 / share));
  }
  legs.push_back(plain_legs(CR_CODEC_G729, 1, 60 / share)[0]);
  test::Random random{7};
  for (int kind = 0; kind < 4; ++kind) {
    MadeLeg leg;
    std::vector<uint8_t> first = test::noise_payload(random, 10);
    for (int packet = 0; packet < 3000 / share; ++packet) {
      const bool changes = kind > 0 && packet % (300 * kind) == 0;
      first = changes ? test::noise_payload(random, 10) : first;
      std::vector<uint8_t> payload = first;
      payload.insert(payload.end(), first.begin(), first.end());
      leg.packet(160 * packet, payload);
    }
    leg.span(CR_CODEC_G729, 8000, 8000, 480000 / share);
    legs.push_back(std::move(leg));
  }
  return legs;
}

}  // namespace

TEST_CASE("G.729 ahead of time sounds as in one lane, and leaves the same state") {
  const G729Kernel &law = *g729_kernel(CR_ISA_SCALAR);
  const size_t words = (law.stream_bytes + 7) / 8;
  const std::vector<MadeLeg> legs = long_legs();
  std::vector<cr_leg> views;
  for (const MadeLeg &leg : legs) {
    views.push_back(leg.view());
  }
  size_t again[2] = {}, pieces[2] = {};  // of legs that forget, of those that do not
  const auto decoded = [&](size_t leg, Ahead *ahead, std::vector<uint64_t> &state) {
    SpanCursor cursor;
    cursor.open(views[leg], 0, 480000, *g711_kernel(CR_ISA_SCALAR), 0, int64_t{1} << 60);
    REQUIRE(cursor.plan());
    AlignedState group(law.state_bytes);
    law.reset(group.get(), 0);
    law.save(group.get(), 0, state.data());
    if (ahead != nullptr) {
      REQUIRE(ahead->pays(1, cursor.frames().size()));
      std::vector<AheadStream> streams{{&cursor, state.data(), kErasureSeed}};
      pieces[leg >= 4] += ahead->decode(streams).pieces;
      again[leg >= 4] += streams[0].again;
    } else {
      for (const FramePlan &plan : cursor.frames()) {
        int16_t pcm[80];
        int16_t *to = pcm;
        law.decode(group.get(), &plan.frame, &to);
        std::copy_n(pcm + plan.skip, plan.keep, cursor.samples() + plan.pcm);
      }
      law.save(group.get(), 0, state.data());
    }
    return std::vector<int16_t>(cursor.samples(), cursor.samples() + 480000);
  };
  std::vector<std::vector<int16_t>> expected;
  std::vector<std::vector<uint64_t>> states;
  for (size_t leg = 0; leg < legs.size(); ++leg) {
    states.emplace_back(words);
    expected.push_back(decoded(leg, nullptr, states.back()));
  }
  for (int isa = CR_ISA_BASELINE; isa <= cr_isa_active(); ++isa) {
    const G729Kernel *kernel = g729_kernel(static_cast<cr_isa>(isa));
    if (kernel == nullptr || kernel->lanes == 1) {
      continue;
    }
    const auto choice = only(kernel);
    Ahead ahead(choice);
    for (size_t leg = 0; leg < legs.size(); ++leg) {
      CAPTURE(isa);
      CAPTURE(leg);
      std::vector<uint64_t> state(words);
      CHECK((decoded(leg, &ahead, state) == expected[leg]));
      CHECK((state == states[leg]));
    }
  }
  CHECK(again[0] <= pieces[0] / 4);
  CHECK((again[1] > 0) == (pieces[1] > 0));
}

namespace {

struct Asked {
  static inline bool g722, g726, g729;
};

const Choice<G722Kernel> &asked_g722() {
  Asked::g722 = true;
  return g722_choice();
}

const Choice<G726Kernel> &asked_g726() {
  Asked::g726 = true;
  return g726_choice();
}

const Choice<G729Kernel> &asked_g729() {
  Asked::g729 = true;
  return g729_choice();
}

}  // namespace

TEST_CASE("kernels are measured for streams of their codec alone") {
  for (const cr_codec codec : {CR_CODEC_ULAW, CR_CODEC_G722, CR_CODEC_G726, CR_CODEC_G729}) {
    CAPTURE(codec);
    const LanedStreams streams = {codec == CR_CODEC_G722 ? 2u : 0u, codec == CR_CODEC_G726 ? 2u : 0u,
                                  codec == CR_CODEC_G729 ? 2u : 0u};
    Asked::g722 = Asked::g726 = Asked::g729 = false;
    Conveyor conveyor(asked_g722, asked_g726, asked_g729);
    conveyor.full(streams);
    decode_with(conveyor, plain_legs(codec, 2, 1), 120, 0);
    CHECK(Asked::g722 == (codec == CR_CODEC_G722));
    CHECK(Asked::g726 == (codec == CR_CODEC_G726));
    CHECK(Asked::g729 == (codec == CR_CODEC_G729));
  }
}

TEST_CASE("long rounds sound as short ones") {
  const std::vector<MadeLeg> legs = long_legs();
  Conveyor usual;
  const auto expected = decode_with(usual, legs, 120, 0);
  const auto choice = only(g729_kernel(cr_isa_active()) != nullptr ? g729_kernel(cr_isa_active())
                                                                   : g729_kernel(CR_ISA_SCALAR));
  for (const size_t together : {1u, 2u, 5u}) {
    for (size_t first = 0; first < legs.size(); first += together) {
      const std::vector<MadeLeg> some(
          legs.begin() + static_cast<ptrdiff_t>(first),
          legs.begin() + static_cast<ptrdiff_t>(std::min(first + together, legs.size())));
      Conveyor conveyor(g722_choice(), g726_choice(), choice);
      const auto pcm = decode_with(conveyor, some, 9000, 0);
      for (size_t i = 0; i < some.size(); ++i) {
        CAPTURE(first + i);
        CHECK((pcm[i] == expected[first + i]));
      }
    }
  }
}

// Each number of streams in a conveyor of one width alone, and in one that chooses; with CALLREPLAY_SIMD that
// chooses among what such a processor has. Items are samples.
CHECKASM_BENCH("conveyor: 1 to 64 streams of G.722, G.726 and G.729") {
  for (const cr_codec codec : {CR_CODEC_G722, CR_CODEC_G726, CR_CODEC_G729}) {
    for (const size_t streams : {1u, 2u, 3u, 4u, 5u, 8u, 12u, 16u, 24u, 32u, 64u}) {
      const std::vector<MadeLeg> legs = plain_legs(codec, streams, 4);
      const double samples = static_cast<double>(streams) * (codec == CR_CODEC_G722 ? 64000.0 : 32000.0);
      const auto run = [&](const char *name, const Choice<G722Kernel> &g722, const Choice<G726Kernel> &g726,
                           const Choice<G729Kernel> &g729) {
        const char *codec_name = codec == CR_CODEC_G722   ? "G.722 "
                                 : codec == CR_CODEC_G726 ? "G.726 "
                                                          : "G.729 ";
        const std::string row = codec_name + std::to_string(streams) + " " + name;
        checkasm::report(row.c_str(), samples, [&] {
          Conveyor conveyor(g722, g726, g729);
          decode_with(conveyor, legs, 200, 0);
        });
      };
      for (int isa = CR_ISA_SCALAR; isa <= cr_isa_active(); ++isa) {
        const auto *g722 = g722_kernel(static_cast<cr_isa>(isa));
        const auto *g726 = g726_kernel(static_cast<cr_isa>(isa));
        const auto *g729 = g729_kernel(static_cast<cr_isa>(isa));
        if (g722 != nullptr && g726 != nullptr && g729 != nullptr) {
          run(cr_isa_name(static_cast<cr_isa>(isa)), only(g722), only(g726), only(g729));
        }
      }
      run("chosen", g722_choice(), g726_choice(), g729_choice());
    }
  }
}
