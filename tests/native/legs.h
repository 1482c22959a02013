// Legs made in memory, for tests and the fuzzer: columns that own their bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "callreplay/conveyor.h"

namespace callreplay::test {

// splitmix64
struct Random {
  uint64_t state;
  uint64_t next() {
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  uint32_t below(uint32_t limit) { return static_cast<uint32_t>(next() % limit); }
};

struct MadeLeg {
  std::vector<uint8_t> data;
  std::vector<int64_t> offset, timestamp, sequence;
  std::vector<uint16_t> size;
  std::vector<uint8_t> flags;
  std::vector<cr_span> spans;
  std::vector<int32_t> gap_span;
  std::vector<int64_t> gap_start, gap_ticks;
  std::vector<uint8_t> gap_reason;

  void packet(int64_t tick, const std::vector<uint8_t> &payload, uint8_t flag = 0, int64_t number = -1) {
    offset.push_back(static_cast<int64_t>(data.size()));
    size.push_back(static_cast<uint16_t>(payload.size()));
    timestamp.push_back(tick);
    sequence.push_back(number >= 0 ? number : sequence.empty() ? 0 : sequence.back() + 1);
    flags.push_back(flag);
    data.insert(data.end(), payload.begin(), payload.end());
  }
  void gap(int32_t span, int64_t start, int64_t ticks, cr_gap_reason reason) {
    gap_span.push_back(span);
    gap_start.push_back(start);
    gap_ticks.push_back(ticks);
    gap_reason.push_back(static_cast<uint8_t>(reason));
  }
  // A span of all rows since the last span.
  cr_span &span(cr_codec codec, int32_t clock, int32_t rate, int64_t end_tick, int32_t mode = 0) {
    cr_span made{};
    made.codec = codec;
    made.clock_rate_hz = clock;
    made.sample_rate_hz = rate;
    made.mode = mode;
    made.first = spans.empty() ? 0 : spans.back().stop;
    made.stop = static_cast<int64_t>(offset.size());
    made.end_tick = end_tick;
    made.seed = spans.size() + 1;
    spans.push_back(made);
    return spans.back();
  }
  cr_leg view() const {
    cr_leg leg{};
    leg.data = data.data();
    leg.data_size = data.size();
    leg.rows = offset.size();
    leg.offset = offset.data();
    leg.size = size.data();
    leg.timestamp = timestamp.data();
    leg.sequence = sequence.data();
    leg.flags = flags.data();
    leg.span_count = spans.size();
    leg.spans = spans.data();
    leg.gap_count = gap_span.size();
    leg.gap_span = gap_span.data();
    leg.gap_start = gap_start.data();
    leg.gap_ticks = gap_ticks.data();
    leg.gap_reason = gap_reason.data();
    return leg;
  }
};

inline std::vector<uint8_t> noise_payload(Random &random, size_t size) {
  std::vector<uint8_t> payload(size);
  for (uint8_t &octet : payload) {
    octet = static_cast<uint8_t>(random.next());
  }
  return payload;
}

// A leg of one codec with everything that happens to legs: losses, overlaps, DTX, comfort noise, odd lengths.
inline MadeLeg eventful_leg(cr_codec codec, uint64_t seed, int packets) {
  Random random{seed};
  MadeLeg leg;
  int64_t tick = 0, number = 0;
  const int32_t rate = codec == CR_CODEC_G722 ? 16000 : 8000;
  const auto bits = static_cast<uint32_t>(2 + seed % 4);  // of G.726
  const int32_t mode = codec == CR_CODEC_L16    ? 1
                       : codec == CR_CODEC_G726 ? static_cast<int32_t>(bits | (seed & CR_G726_AAL2))
                                                : 0;
  for (int i = 0; i < packets; ++i, ++number) {
    const uint32_t dice = random.below(40);
    const uint32_t frames = 1 + random.below(4);
    const size_t octets = codec == CR_CODEC_G729   ? 10 * frames + (dice == 1   ? 2
                                                                    : dice == 2 ? 3
                                                                                : 0)
                          : codec == CR_CODEC_L16  ? 160 * frames
                          : codec == CR_CODEC_G726 ? 10 * bits * frames + (dice == 1 ? 7 : 0)
                                                   : 80 * frames + (dice == 1 ? 7 : 0);
    const int64_t ticks = codec == CR_CODEC_G729   ? static_cast<int64_t>(80 * (frames + (dice == 1)))
                          : codec == CR_CODEC_L16  ? static_cast<int64_t>(octets / 2)
                          : codec == CR_CODEC_G726 ? static_cast<int64_t>(8 * octets / bits)
                                                   : static_cast<int64_t>(octets);
    if (dice == 3 || dice == 4) {  // lost
      leg.gap(0, tick, ticks, CR_GAP_LOST);
      tick += ticks;
      continue;
    }
    if (dice == 5) {  // a sender's silence
      leg.gap(0, tick, 80 * 20, CR_GAP_SILENCE);
      tick += 80 * 20;
    }
    if (dice == 6) {  // late twin
      tick -= 40;
      tick = tick < 0 ? 0 : tick;
    }
    if (dice == 7 && codec != CR_CODEC_G729) {
      leg.packet(tick, {40, 100, 200, 127}, CR_PACKET_NOISE, number++);
      leg.gap(0, tick, 3000, CR_GAP_SILENCE);
      tick += 3000;
    }
    leg.packet(tick, noise_payload(random, octets), 0, number);
    tick += ticks;
  }
  leg.span(codec, 8000, rate, tick + 500, mode).seed = seed;
  return leg;
}

}  // namespace callreplay::test
