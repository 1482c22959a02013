// What one *_bench.cpp hands to codec_bench: contenders that decode the same streams in rounds of one packet.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "callreplay/isa.h"

namespace bench {

struct Context {
  std::vector<int16_t> speech8, speech16;  // the same speech at 8 and 16 kHz
  int streams;
};

struct Contender {
  std::string name;     // "avx2", "spandsp"
  std::string kind;     // "ours", "peer" or "reference"
  std::string setting;  // "batch": one packet of every stream a round; "alone": one stream
  double samples;       // decoded by one round
  std::function<void()> round;
};

struct Codec {
  const char *name;
  std::vector<Contender> (*contenders)(const Context &context);
};

std::vector<Codec> &codecs();

struct Registered {
  explicit Registered(Codec codec) { codecs().push_back(codec); }
};

// 20 ms packets of many streams, each in a place of its own, and where their PCM goes.
struct Packets {
  // `stream` is a long coded stream; the streams start at different places of it.
  Packets(const std::vector<uint8_t> &coded, int streams, size_t octets, size_t samples)
      : octets(octets), samples(samples), count(static_cast<size_t>(streams)) {
    payload.resize(count * kPackets * octets);
    pcm.resize(count * samples);
    for (size_t stream = 0; stream < count; ++stream) {
      size_t from = stream * 7919 * octets % coded.size();
      for (size_t i = 0; i < kPackets * octets; ++i) {
        payload[stream * kPackets * octets + i] = coded[from];
        from = from + 1 == coded.size() ? 0 : from + 1;
      }
    }
  }
  const uint8_t *packet(size_t stream) const { return &payload[(stream * kPackets + turn) * octets]; }
  int16_t *out(size_t stream) { return &pcm[stream * samples]; }
  void next() { turn = (turn + 1) % kPackets; }

  static constexpr size_t kPackets = 10;
  size_t octets, samples, count, turn = 0;
  std::vector<uint8_t> payload;
  std::vector<int16_t> pcm;
};

}  // namespace bench
