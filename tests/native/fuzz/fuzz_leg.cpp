// Legs of any columns, spans and gaps over any bytes: what cr_leg_check() lets through must decode and
// render without a crash, in bounded time. Input: a head, then rows, spans and gaps; the whole input is
// also the capture.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "callreplay/callreplay.h"

namespace {

// The renderer keeps its filters in a std::map, whose nodes are linked inside libstdc++: no sanitizer of
// uninitialised memory sees that without a libstdc++ of its own.
#if __has_feature(memory_sanitizer)
constexpr bool kRenders = false;
#else
constexpr bool kRenders = true;
#endif

// Octets to numbers; zeros when the input is at its end.
class Reader {
 public:
  Reader(const uint8_t *data, size_t size) : data_(data), size_(size) {}
  uint64_t take(int octets) {
    uint64_t value = 0;
    for (int i = 0; i < octets; ++i) {
      value = value << 8 | (at_ < size_ ? data_[at_] : 0);
      at_ += at_ < size_ ? 1 : 0;
    }
    return value;
  }
  // Mostly small steps, which get deep; sometimes any value at all, for the check.
  int64_t number(int64_t near) {
    const uint64_t kind = take(1);
    return kind == 255 ? static_cast<int64_t>(take(8)) : near + static_cast<int64_t>(kind) * 8;
  }

 private:
  const uint8_t *data_;
  size_t size_, at_ = 0;
};

struct Columns {
  std::vector<int64_t> offset, timestamp, sequence, gap_start, gap_ticks;
  std::vector<uint16_t> size;
  std::vector<uint8_t> flags, gap_reason;
  std::vector<int32_t> gap_span;
  std::vector<cr_span> spans;
};

Columns read_columns(Reader &in) {
  static constexpr int32_t kRates[] = {8000, 16000, 11025, 48000};
  Columns made;
  const auto rows = static_cast<int64_t>(in.take(1) % 48);
  const uint64_t spans = in.take(1) % 4, gaps = in.take(1) % 16;
  int64_t tick = 0;
  for (int64_t i = 0; i < rows; ++i) {
    tick = in.number(tick);
    made.timestamp.push_back(tick);
    made.sequence.push_back(in.number(i));
    made.offset.push_back(in.number(0));
    made.size.push_back(static_cast<uint16_t>(in.take(1)));
    made.flags.push_back(static_cast<uint8_t>(in.take(1)));
  }
  int64_t first = 0;
  for (uint64_t i = 0; i < spans; ++i) {
    cr_span span{};
    span.codec = static_cast<int32_t>(in.take(1) % 8);
    span.clock_rate_hz = kRates[in.take(1) % 4];
    span.sample_rate_hz = span.codec == CR_CODEC_G722 ? 16000 : span.clock_rate_hz;
    span.mode = static_cast<int32_t>(in.take(1) % 14);
    span.first = first;
    first = span.stop =
        i + 1 == spans ? rows : std::min<int64_t>(rows, first + static_cast<int64_t>(in.take(1)));
    span.end_tick = in.number(tick);
    span.anchor_ns = in.number(0);
    span.drift_ppb = in.number(0);
    span.seed = i;
    made.spans.push_back(span);
  }
  int64_t start = 0;
  for (uint64_t i = 0; i < gaps; ++i) {
    start = in.number(start);
    made.gap_span.push_back(static_cast<int32_t>(in.take(1) % 4));
    made.gap_start.push_back(start);
    made.gap_ticks.push_back(in.number(0));
    made.gap_reason.push_back(static_cast<uint8_t>(in.take(1) % 8));
  }
  return made;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  Reader in(data, size);
  const auto width = static_cast<uint32_t>(1 + in.take(1) % 4),
             block_ms = static_cast<uint32_t>(20 + in.take(1));
  const Columns made = read_columns(in);
  cr_leg leg{};
  leg.data = leg.spill = data;
  leg.data_size = leg.spill_size = size;
  leg.rows = made.offset.size();
  leg.offset = made.offset.data();
  leg.size = made.size.data();
  leg.timestamp = made.timestamp.data();
  leg.sequence = made.sequence.data();
  leg.flags = made.flags.data();
  leg.span_count = made.spans.size();
  leg.spans = made.spans.data();
  leg.gap_count = made.gap_span.size();
  leg.gap_span = made.gap_span.data();
  leg.gap_start = made.gap_start.data();
  leg.gap_ticks = made.gap_ticks.data();
  leg.gap_reason = made.gap_reason.data();

  cr_conveyor *conveyor = nullptr;
  if (cr_conveyor_create(width, block_ms, &conveyor) != CR_OK) std::abort();
  const cr_status checked = cr_leg_check(&leg, nullptr);
  if (cr_conveyor_add(conveyor, &leg) != checked) std::abort();
  if (checked == CR_OK && cr_conveyor_add(conveyor, &leg) != CR_OK) std::abort();
  const cr_chunk *chunks = nullptr;
  size_t count = 0;
  // Concealment and noise are bounded in time, so steps are; a leg that never ends is the fuzzer's timeout.
  while (cr_conveyor_step(conveyor, &chunks, &count) == CR_OK && count != 0) {
    for (size_t i = 0; i < count; ++i) {
      if (chunks[i].first_sample < 0 || chunks[i].leg > 1 || chunks[i].span >= leg.span_count) std::abort();
      volatile int16_t last = chunks[i].count == 0 ? int16_t{0} : chunks[i].pcm[chunks[i].count - 1];
      static_cast<void>(last);
    }
  }
  cr_conveyor_destroy(conveyor);
  if (checked != CR_OK || !kRenders) return 0;

  const cr_timeline timeline{16000, 2, 0, 40000, 100, static_cast<int32_t>(width % 2)};
  const cr_render_leg legs[] = {{&leg, 0}, {&leg, 1}};
  cr_renderer *renderer = nullptr;
  if (cr_renderer_create(&timeline, legs, 2, nullptr, 0, &renderer) != CR_OK) return 0;
  std::vector<int16_t> pcm(2 * 5000);
  size_t frames = 0, total = 0;
  while (cr_renderer_read(renderer, pcm.data(), 5000, &frames) == CR_OK && frames != 0) total += frames;
  if (total != 40000) std::abort();
  cr_renderer_destroy(renderer);
  return 0;
}
