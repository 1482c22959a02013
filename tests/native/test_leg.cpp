#include <doctest/doctest.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <memory>

#include "decode/g726/codes.h"
#include "decode/kernels.h"
#include "encode/g711/kernels.h"
#include "g726_literal.h"
#include "g729_literal.h"
#include "legs.h"

using namespace callreplay;
using callreplay::test::MadeLeg;

namespace {

struct Piece {
  int64_t first;
  uint8_t kind;
  std::vector<int16_t> pcm;
};

std::vector<Piece> decode(const cr_leg &leg, cr_leg_counts *counts = nullptr, uint32_t block_ms = 200) {
  cr_conveyor *conveyor = nullptr;
  REQUIRE(cr_conveyor_create(1, block_ms, &conveyor) == CR_OK);
  REQUIRE(cr_conveyor_add(conveyor, &leg) == CR_OK);
  std::vector<Piece> pieces;
  for (;;) {
    const cr_chunk *chunks = nullptr;
    size_t count = 0;
    REQUIRE(cr_conveyor_step(conveyor, &chunks, &count) == CR_OK);
    if (count == 0) {
      break;
    }
    for (size_t i = 0; i < count; ++i) {
      pieces.push_back(
          {chunks[i].first_sample, chunks[i].kind, {chunks[i].pcm, chunks[i].pcm + chunks[i].count}});
    }
  }
  if (counts != nullptr) {
    REQUIRE(cr_conveyor_counts(conveyor, 0, counts) == CR_OK);
  }
  cr_conveyor_destroy(conveyor);
  return pieces;
}

std::vector<uint8_t> tone(int64_t tick, size_t size) {
  std::vector<int16_t> pcm(size);
  for (size_t n = 0; n < size; ++n) {
    pcm[n] = static_cast<int16_t>(8000 * std::sin(0.3 * static_cast<double>(tick + static_cast<int64_t>(n))));
  }
  std::vector<uint8_t> octets(size);
  g711_encoder_kernel(CR_ISA_SCALAR)->ulaw(pcm.data(), octets.data(), size);
  return octets;
}

int64_t samples_of(const std::vector<Piece> &pieces, uint8_t kind) {
  int64_t sum = 0;
  for (const Piece &piece : pieces) {
    sum += piece.kind == kind ? static_cast<int64_t>(piece.pcm.size()) : 0;
  }
  return sum;
}

}  // namespace

TEST_CASE("a whole span is decoded sample for sample") {
  MadeLeg leg;
  std::vector<int16_t> expected;
  for (int i = 0; i < 50; ++i) {
    const auto octets = tone(i * 160, 160);
    leg.packet(i * 160, octets);
    std::vector<int16_t> pcm(160);
    g711_kernel(CR_ISA_SCALAR)->decode_ulaw(octets.data(), pcm.data(), 160);
    expected.insert(expected.end(), pcm.begin(), pcm.end());
  }
  leg.span(CR_CODEC_ULAW, 8000, 8000, 8000);
  std::vector<int16_t> got;
  for (const Piece &piece : decode(leg.view())) {
    CHECK(piece.first == static_cast<int64_t>(got.size()));
    got.insert(got.end(), piece.pcm.begin(), piece.pcm.end());
  }
  CHECK(got == expected);
}

TEST_CASE("a long loss fades out and in within 60 ms, a sender's silence is silent") {
  for (const auto &[reason, concealed] :
       {std::pair{CR_GAP_LOST, 960}, {CR_GAP_CAPTURE, 960}, {CR_GAP_HOLD, 0}, {CR_GAP_SILENCE, 0}}) {
    MadeLeg leg;
    for (int i = 0; i < 10; ++i) {
      leg.packet(i * 160, tone(i * 160, 160));
    }
    leg.gap(0, 1600, 1600, reason);
    leg.packet(3200, tone(3200, 160));
    leg.span(CR_CODEC_ULAW, 8000, 8000, 3360);
    cr_leg_counts counts;
    const auto pieces = decode(leg.view(), &counts);
    CHECK(samples_of(pieces, CR_CHUNK_CONCEALED) == concealed);
    CHECK(counts.concealed_samples == static_cast<uint64_t>(concealed));
    CHECK(counts.decoded_samples == 11 * 160);
    CHECK(pieces.back().first == 3200);
  }
}

TEST_CASE("received samples are not touched by a loss beside them, whatever its length") {
  for (const int64_t lost : {1, 40, 160, 480, 960, 961, 5000}) {
    MadeLeg leg;
    for (int i = 0; i < 10; ++i) {
      leg.packet(i * 160, tone(i * 160, 160));
    }
    leg.gap(0, 1600, lost, CR_GAP_LOST);
    for (int i = 0; i < 5; ++i) {
      leg.packet(1600 + lost + i * 160, tone(1600 + lost + i * 160, 160), 0, 50 + i);
    }
    leg.span(CR_CODEC_ULAW, 8000, 8000, 2400 + lost);
    const auto pieces = decode(leg.view());
    for (const Piece &piece : pieces) {
      if (piece.kind == CR_CHUNK_DECODED) {
        const auto octets = tone(piece.first, piece.pcm.size());
        std::vector<int16_t> pcm(octets.size());
        g711_kernel(CR_ISA_SCALAR)->decode_ulaw(octets.data(), pcm.data(), pcm.size());
        CHECK(piece.pcm == pcm);
      }
    }
    CHECK(samples_of(pieces, CR_CHUNK_DECODED) == 2400);
    CHECK(samples_of(pieces, CR_CHUNK_CONCEALED) == std::min<int64_t>(lost, 960));
  }
}

TEST_CASE("a pause behind a loss is noise where noise was told before") {
  for (const bool told : {true, false}) {
    MadeLeg leg;
    int64_t tick = 0;
    if (told) {
      leg.packet(0, tone(0, 160));
      leg.packet(160, {40, 100, 200}, CR_PACKET_NOISE);
      leg.gap(0, 160, 1440, CR_GAP_SILENCE);
      tick = 1600;
    }
    leg.packet(tick, tone(tick, 160));
    leg.gap(0, tick + 160, 160, CR_GAP_LOST);  // the comfort noise packet
    leg.gap(0, tick + 320, 1600, CR_GAP_SILENCE);
    leg.packet(tick + 1920, tone(tick, 160), 0, 20);
    leg.span(CR_CODEC_ULAW, 8000, 8000, tick + 2080);
    const auto pieces = decode(leg.view());
    CHECK(samples_of(pieces, CR_CHUNK_NOISE) == (told ? 1440 + 1600 : 0));
    CHECK(samples_of(pieces, CR_CHUNK_CONCEALED) == 160);
  }
}

TEST_CASE("without a gap row, sequence numbers tell a loss from silence") {
  for (const int step : {1, 3}) {
    MadeLeg leg;
    leg.packet(0, tone(0, 320), 0, 10);
    leg.packet(640, tone(640, 160), 0, 10 + step);
    leg.span(CR_CODEC_ULAW, 8000, 8000, 800);
    CHECK(samples_of(decode(leg.view()), CR_CHUNK_CONCEALED) == (step == 1 ? 0 : 320));
  }
}

TEST_CASE("what overlaps is trimmed, and time never runs back") {
  MadeLeg leg;
  leg.packet(0, tone(0, 160));
  leg.packet(100, tone(100, 160));
  leg.packet(100, tone(100, 160));
  leg.span(CR_CODEC_ULAW, 8000, 8000, 260);
  cr_leg_counts counts;
  const auto pieces = decode(leg.view(), &counts);
  CHECK(samples_of(pieces, CR_CHUNK_DECODED) == 260);
  CHECK(counts.trimmed_packets == 2);
}

TEST_CASE("comfort noise holds until speech, for a minute at most") {
  for (const int64_t silence : {8000, 100 * 8000}) {
    MadeLeg leg;
    leg.packet(0, tone(0, 160));
    leg.packet(160, {30}, CR_PACKET_NOISE);
    leg.packet(160 + silence, tone(0, 160));
    leg.span(CR_CODEC_ULAW, 8000, 8000, 320 + silence);
    const auto pieces = decode(leg.view());
    CHECK(samples_of(pieces, CR_CHUNK_NOISE) == std::min<int64_t>(silence, 60 * 8000));
    CHECK(pieces.back().first == 160 + silence);
  }
}

TEST_CASE("G.722 ticks at 8000 or at 16000, and sounds the same") {
  test::Random random{5};
  std::vector<std::vector<uint8_t>> payloads;
  for (int i = 0; i < 20; ++i) {
    payloads.push_back(test::noise_payload(random, 160));
  }
  std::vector<int16_t> sound[2];
  for (const int fast : {0, 1}) {
    MadeLeg leg;
    for (int i = 0; i < 20; ++i) {
      leg.packet(i * 160 * (1 + fast), payloads[static_cast<size_t>(i)]);
    }
    leg.span(CR_CODEC_G722, fast ? 16000 : 8000, 16000, 3200 * (1 + fast));
    for (const Piece &piece : decode(leg.view())) {
      sound[fast].insert(sound[fast].end(), piece.pcm.begin(), piece.pcm.end());
    }
  }
  CHECK(sound[0].size() == 6400);
  CHECK(sound[0] == sound[1]);
}

TEST_CASE("G.729 payloads of any number of frames, with and without a SID, give the frames' sound") {
  test::Random random{6};
  std::vector<uint8_t> frames = test::noise_payload(random, 120);
  const auto as_packets = [&](std::vector<size_t> groups) {
    MadeLeg leg;
    size_t at = 0;
    for (const size_t group : groups) {
      leg.packet(static_cast<int64_t>(at) * 80, {frames.begin() + static_cast<ptrdiff_t>(10 * at),
                                                 frames.begin() + static_cast<ptrdiff_t>(10 * (at + group))});
      at += group;
    }
    leg.span(CR_CODEC_G729, 8000, 8000, 960);
    std::vector<int16_t> sound;
    for (const Piece &piece : decode(leg.view())) {
      sound.insert(sound.end(), piece.pcm.begin(), piece.pcm.end());
    }
    return sound;
  };
  const auto expected = as_packets({2, 2, 2, 2, 2, 2});
  CHECK(expected.size() == 960);
  CHECK(as_packets({1, 3, 4, 4}) == expected);
  CHECK(as_packets({12}) == expected);
}

TEST_CASE("a G.729 SID starts noise that lasts through the silence, and odd lengths are counted") {
  test::Random random{7};
  MadeLeg leg;
  auto with_sid = test::noise_payload(random, 22);
  leg.packet(0, with_sid);  // 2 speech, 1 SID
  leg.packet(240 + 800, test::noise_payload(random, 20));
  leg.packet(240 + 960, test::noise_payload(random, 13));  // 1 frame and 3 octets that are nothing
  leg.packet(240 + 1040, test::noise_payload(random, 2));  // a SID alone
  leg.span(CR_CODEC_G729, 8000, 8000, 240 + 1040 + 160);
  cr_leg_counts counts;
  const auto pieces = decode(leg.view(), &counts);
  CHECK(samples_of(pieces, CR_CHUNK_DECODED) == 5 * 80);
  CHECK(samples_of(pieces, CR_CHUNK_NOISE) == 80 + 800 + 160);
  CHECK(counts.malformed_packets == 1);
}

TEST_CASE("G.729 losses go through the codec's own concealment, a second of them") {
  test::Random random{8};
  MadeLeg leg;
  leg.packet(0, test::noise_payload(random, 20));
  leg.gap(0, 160, 16000, CR_GAP_LOST);
  leg.packet(16160, test::noise_payload(random, 20), 0, 101);
  leg.span(CR_CODEC_G729, 8000, 8000, 16320);
  cr_leg_counts counts;
  const auto pieces = decode(leg.view(), &counts);
  CHECK(counts.concealed_samples == 8000);
  CHECK(pieces.back().first == 16160);
}

// Speech (s), SID (i), lost speech (x) and untransmitted (.) frames, in every order of six, one a packet:
// what the leg decodes is what the literal decoder gives for the frames that a gateway with a perfect view
// would feed it.
TEST_CASE("every order of G.729 frame kinds, against the literal decoder") {
  constexpr char kKinds[] = "six.";
  for (int order = 0; order < 4096; ++order) {
    std::string kinds = "si.s";  // the span has told its noise
    for (int i = 0, rest = order; i < 6; ++i, rest /= 4) {
      kinds += kKinds[rest % 4];
    }
    kinds += 's';
    test::Random random{static_cast<uint64_t>(order)};
    MadeLeg leg;
    g729_literal::Decoder literal;
    std::vector<int16_t> expected, got;
    int64_t number = 0;
    bool silent = false, noise = false, erased = false;
    for (size_t i = 0; i < kinds.size(); ++i) {
      const auto tick = static_cast<int64_t>(i) * 80;
      const std::vector<uint8_t> octets = test::noise_payload(random, kinds[i] == 'i' ? 2 : 10);
      G729Frame frame{octets.data(), G729Frame::kSpeech, false};
      if (kinds[i] == 's' || kinds[i] == 'i') {
        leg.packet(tick, octets, 0, number++);
        frame.type = kinds[i] == 's' ? G729Frame::kSpeech : G729Frame::kSid;
        noise = kinds[i] == 'i';
        erased = silent = false;
      } else if (kinds[i] == 'x') {
        leg.gap(0, tick, 80, CR_GAP_LOST);
        ++number;
        frame = {nullptr, G729Frame::kSpeech, true};
        silent = false;
        erased = true;
      } else {
        leg.gap(0, tick, 80, CR_GAP_SILENCE);
        frame = {nullptr, G729Frame::kUntransmitted, false};
        silent = !noise && !erased;  // no SID, and none was lost: nothing was said of noise
        noise = noise || erased;
        erased = erased && silent;
      }
      int16_t pcm[80] = {};
      if (!silent) {
        literal.decode(frame, pcm);
      }
      expected.insert(expected.end(), pcm, pcm + 80);
    }
    leg.span(CR_CODEC_G729, 8000, 8000, static_cast<int64_t>(kinds.size()) * 80);
    got.assign(expected.size(), 0);
    for (const Piece &piece : decode(leg.view())) {
      std::copy(piece.pcm.begin(), piece.pcm.end(), got.begin() + static_cast<ptrdiff_t>(piece.first));
    }
    CAPTURE(kinds);
    CHECK(got == expected);
  }
}

TEST_CASE("L16 is big-endian; channels are averaged") {
  MadeLeg leg;
  leg.packet(0, {0x01, 0x00, 0x03, 0x00, 0xff, 0xfe, 0xff, 0xfc});
  leg.span(CR_CODEC_L16, 16000, 16000, 2, 2);
  const auto pieces = decode(leg.view());
  REQUIRE(pieces.size() == 1);
  CHECK(pieces[0].pcm == std::vector<int16_t>{512, -3});
}

namespace {

// G.726 at 2 to 5 bits in payloads of these octets, one after the other; the codes in either order of bits.
std::vector<int16_t> g726_sound(const std::vector<uint8_t> &octets, const std::vector<size_t> &sizes,
                                int bits, bool aal2, cr_leg_counts *counts = nullptr) {
  MadeLeg leg;
  size_t at = 0;
  int64_t tick = 0;
  for (const size_t size : sizes) {
    leg.packet(tick, {octets.begin() + static_cast<ptrdiff_t>(at),
                      octets.begin() + static_cast<ptrdiff_t>(at + size)});
    at += size;
    tick += static_cast<int64_t>(8 * size / static_cast<size_t>(bits));
  }
  leg.span(CR_CODEC_G726, 8000, 8000, tick, bits | (aal2 ? CR_G726_AAL2 : 0));
  std::vector<int16_t> sound;
  for (const Piece &piece : decode(leg.view(), counts)) {
    CHECK(piece.first == static_cast<int64_t>(sound.size()));
    sound.insert(sound.end(), piece.pcm.begin(), piece.pcm.end());
  }
  return sound;
}

}  // namespace

TEST_CASE("G.726 payloads of any number of octets give the codes they hold whole") {
  test::Random random{8};
  const std::vector<size_t> sizes = {60, 1, 7, 0, 15, 40, 3, 100, 33, 61};
  for (int bits = 2; bits <= 5; ++bits) {
    for (const bool aal2 : {false, true}) {
      const std::vector<uint8_t> octets = test::noise_payload(random, 320);
      literal726::Decoder law(bits);
      std::vector<int16_t> expected;
      uint64_t left_over = 0;
      size_t at = 0;
      for (const size_t size : sizes) {
        std::vector<uint8_t> codes(8 * size / static_cast<size_t>(bits));
        unpack_g726(octets.data() + at, 0, codes.size(), bits, aal2, codes.data());
        for (const uint8_t code : codes) expected.push_back(law.linear(code));
        left_over += 8 * size % static_cast<size_t>(bits) != 0;
        at += size;
      }
      cr_leg_counts counts{};
      CHECK(g726_sound(octets, sizes, bits, aal2, &counts) == expected);
      CHECK(counts.malformed_packets == left_over);
      CHECK(counts.decoded_samples == expected.size());
      // Packets of whole groups of eight codes may be cut anywhere.
      const size_t eight = static_cast<size_t>(bits);
      CHECK(g726_sound(octets, {eight * 40}, bits, aal2) ==
            g726_sound(octets, {eight, eight * 9, eight * 3, eight * 27}, bits, aal2));
    }
  }
}

TEST_CASE("a packet of G.726 that comes twice in part is cut at a code, and what is lost is bridged") {
  test::Random random{9};
  for (int bits = 2; bits <= 5; ++bits) {
    MadeLeg leg;
    const auto size = static_cast<size_t>(20 * bits);
    for (int i = 0; i < 20; ++i) {
      if (i == 11) {
        leg.gap(0, 160 * i - 37, 160, CR_GAP_LOST);
        continue;
      }
      leg.packet(i < 5 ? 160 * i : 160 * i - 37, test::noise_payload(random, size), 0, i);
    }
    leg.span(CR_CODEC_G726, 8000, 8000, 3200, bits);
    cr_leg_counts counts{};
    std::vector<int16_t> sound;
    bool bridged = false;
    for (const Piece &piece : decode(leg.view(), &counts)) {
      CHECK(piece.first == static_cast<int64_t>(sound.size()));
      bridged |= piece.kind == CR_CHUNK_CONCEALED &&
                 std::any_of(piece.pcm.begin(), piece.pcm.end(), [](int16_t x) { return x != 0; });
      sound.insert(sound.end(), piece.pcm.begin(), piece.pcm.end());
    }
    CHECK(sound.size() == 3200 - 37);
    CHECK(bridged);
    CHECK(counts.trimmed_packets == 1);
    CHECK(counts.decoded_samples == 19 * 160 - 37);
    CHECK(counts.malformed_packets == 0);
  }
}

TEST_CASE("the samples do not depend on the length of a round") {
  for (const auto &[codec, seed] : {std::pair{CR_CODEC_ULAW, 77},
                                    {CR_CODEC_ALAW, 77},
                                    {CR_CODEC_L16, 77},
                                    {CR_CODEC_G722, 77},
                                    {CR_CODEC_G729, 77},
                                    {CR_CODEC_G726, 77},     // 24 kbit/s, AAL2
                                    {CR_CODEC_G726, 67}}) {  // 40 kbit/s
    const MadeLeg leg = test::eventful_leg(codec, static_cast<uint64_t>(seed), 600);
    std::vector<int16_t> first;
    for (const uint32_t block_ms : {120u, 200u, 333u, 5000u}) {
      std::vector<int16_t> sound;
      for (const Piece &piece : decode(leg.view(), nullptr, block_ms)) {
        sound.resize(static_cast<size_t>(piece.first), 0);
        sound.insert(sound.end(), piece.pcm.begin(), piece.pcm.end());
      }
      if (first.empty()) {
        first = sound;
      }
      CHECK(sound == first);
    }
  }
}

TEST_CASE("a leg that points outside its bytes, or out of its ranges, is refused") {
  MadeLeg leg;
  leg.packet(0, tone(0, 160));
  leg.span(CR_CODEC_ULAW, 8000, 8000, 160);
  size_t bad = 99;
  CHECK(cr_leg_check(nullptr, nullptr) == CR_ARGUMENT);
  cr_leg view = leg.view();
  CHECK(cr_leg_check(&view, nullptr) == CR_OK);
  const auto refuse = [&](auto change, cr_status status) {
    MadeLeg broken = leg;
    change(broken);
    const cr_leg broken_view = broken.view();
    CHECK(cr_leg_check(&broken_view, &bad) == status);
  };
  refuse([](MadeLeg &l) { l.offset[0] = 1; }, CR_BOUNDS);
  refuse([](MadeLeg &l) { l.offset[0] = -1; }, CR_BOUNDS);
  refuse([](MadeLeg &l) { l.offset[0] = INT64_MAX; }, CR_BOUNDS);
  refuse([](MadeLeg &l) { l.flags[0] = CR_PACKET_SPILL; }, CR_BOUNDS);
  refuse([](MadeLeg &l) { l.timestamp[0] = -1; }, CR_ARGUMENT);
  refuse([](MadeLeg &l) { l.timestamp[0] = INT64_MAX; }, CR_ARGUMENT);
  refuse([](MadeLeg &l) { l.spans[0].stop = 2; }, CR_ARGUMENT);
  refuse([](MadeLeg &l) { l.spans[0].first = -1; }, CR_ARGUMENT);
  refuse([](MadeLeg &l) { l.spans[0].codec = 17; }, CR_UNSUPPORTED);
  refuse([](MadeLeg &l) { l.spans[0].codec = CR_CODEC_G726 + 1; }, CR_UNSUPPORTED);
  for (const int32_t mode : {0, 1, 6, 8, 9, 14, 16 + 4, -4}) {
    refuse([mode](MadeLeg &l) { l.spans[0].codec = CR_CODEC_G726, l.spans[0].mode = mode; }, CR_ARGUMENT);
  }
  refuse([](MadeLeg &l) { l.spans[0].sample_rate_hz = 16000; }, CR_ARGUMENT);
  refuse([](MadeLeg &l) { l.spans[0].clock_rate_hz = 0; }, CR_ARGUMENT);
  refuse([](MadeLeg &l) { l.spans[0].end_tick = -1; }, CR_ARGUMENT);
  refuse([](MadeLeg &l) { l.spans[0].drift_ppb = INT64_MIN; }, CR_ARGUMENT);
  refuse([](MadeLeg &l) { l.gap(0, 0, -1, CR_GAP_LOST); }, CR_ARGUMENT);
  refuse([](MadeLeg &l) { l.gap(0, 5, 1, CR_GAP_LOST), l.gap(0, 4, 1, CR_GAP_LOST); }, CR_ARGUMENT);
}
