// The C face of the Speex encoder.
#include "callreplay/speex.h"

#include <algorithm>
#include <cstring>
#include <tuple>

#include "encode/speex/stream.h"
#include "handle.h"

namespace {

using callreplay::speex::Engine;
using callreplay::speex::Job;
using callreplay::speex::RateOptions;
using callreplay::speex::Stream;

constexpr size_t kMostCommentOctets = 60000;

bool is_flag(int32_t value) {
  return value == 0 || value == 1;
}

bool is_valid(const cr_speex_options &options) {
  return (options.rate_hz == 8000 || options.rate_hz == 16000) && options.quality >= 0 &&
         options.quality <= 10 && is_flag(options.vbr) && is_flag(options.vad) && is_flag(options.dtx) &&
         is_flag(options.segments);
}

auto order_of(const RateOptions &rate) {
  return std::make_tuple(rate.wideband, rate.quality, rate.vbr, rate.vad, rate.dtx);
}

}  // namespace

struct cr_speex_stream : callreplay::Handle {
  cr_speex_stream(const cr_speex_options &options, uint32_t serial,
                  const std::vector<std::string_view> &comments)
      : stream(options, serial, comments) {}

  Stream stream;
};

struct cr_speex_batch : callreplay::Handle {
  void encode();

  Engine engine;
  std::vector<Job> jobs;
  std::vector<Stream *> waiting;
};

// Everything that waits.
void cr_speex_batch::encode() {
  std::stable_sort(waiting.begin(), waiting.end(), [](const Stream *a, const Stream *b) {
    return order_of(a->rate()) < order_of(b->rate());
  });
  // A long stream has several plans to go through, a chunk at a time.
  while (!waiting.empty()) {
    for (auto first = waiting.begin(); first != waiting.end();) {
      const RateOptions rate = (*first)->rate();
      const auto last = std::find_if(first, waiting.end(),
                                     [&](const Stream *s) { return order_of(s->rate()) != order_of(rate); });
      jobs.clear();
      for (auto s = first; s != last; ++s) {
        (*s)->plan(engine, jobs);
      }
      const bool idle = jobs.empty();
      engine.run(rate, jobs);
      for (auto s = first; s != last; ++s) {
        (*s)->collect(engine);
      }
      first = idle ? waiting.erase(first, last) : last;
    }
  }
}

namespace {

// The streams of one call of cr_speex_encode(), claimed. What they have coded is lost with the batch.
class ClaimedStreams {
 public:
  // CR_STATE where one is in use, ran out of memory, or is there twice.
  cr_status take(cr_speex_stream *const *streams, size_t count) {
    streams_ = streams;
    claims_.reserve(count);
    for (size_t i = 0; i < count; ++i) {
      claims_.emplace_back(streams[i]->busy);
      if (!claims_.back() || streams[i]->broken) {
        return CR_STATE;
      }
    }
    return CR_OK;
  }
  void give_up() {
    for (size_t i = 0; i < claims_.size(); ++i) {
      streams_[i]->broken = true;
    }
  }

 private:
  cr_speex_stream *const *streams_ = nullptr;
  std::vector<callreplay::Claim> claims_;
};

}  // namespace

extern "C" {

cr_status cr_speex_stream_create(const cr_speex_options *options, uint32_t serial,
                                 const char *const *comments, size_t comment_count,
                                 cr_speex_stream **stream) {
  if (options == nullptr || stream == nullptr || !is_valid(*options) ||
      (comments == nullptr && comment_count > 0)) {
    return CR_ARGUMENT;
  }
  return callreplay::caught([&] {
    std::vector<std::string_view> texts;
    size_t octets = 0;
    for (size_t i = 0; i < comment_count; ++i) {
      if (comments[i] == nullptr || std::strchr(comments[i], '=') == nullptr) {
        return CR_ARGUMENT;
      }
      texts.emplace_back(comments[i]);
      octets += texts.back().size() + 4;
    }
    return octets > kMostCommentOctets ? CR_ARGUMENT : callreplay::create(stream, *options, serial, texts);
  });
}

void cr_speex_stream_destroy(cr_speex_stream *stream) {
  delete stream;
}

cr_status cr_speex_stream_push(cr_speex_stream *stream, const int16_t *pcm, size_t count) {
  if (pcm == nullptr && count > 0) {
    return CR_ARGUMENT;
  }
  return callreplay::use(stream, [&](cr_speex_stream &held) {
    if (held.stream.ended()) {
      return CR_STATE;
    }
    held.stream.push(pcm, count);
    return CR_OK;
  });
}

cr_status cr_speex_stream_end(cr_speex_stream *stream) {
  return callreplay::use(stream, [](cr_speex_stream &held) {
    held.stream.end();
    return CR_OK;
  });
}

const uint8_t *cr_speex_stream_octets(const cr_speex_stream *stream, size_t *size) {
  const uint8_t *octets = nullptr;
  *size = 0;
  callreplay::use(stream, [&](const cr_speex_stream &held) {
    octets = held.stream.out.data() + held.stream.taken;
    *size = held.stream.out.size() - held.stream.taken;
    return CR_OK;
  });
  return octets;
}

void cr_speex_stream_drop(cr_speex_stream *stream, size_t size) {
  callreplay::use(stream, [&](cr_speex_stream &held) {
    Stream &s = held.stream;
    s.taken += std::min(size, s.out.size() - s.taken);
    if (s.taken == s.out.size()) {
      s.out.clear();
      s.taken = 0;
    }
    return CR_OK;
  });
}

cr_status cr_speex_batch_create(cr_speex_batch **batch) {
  return batch == nullptr ? CR_ARGUMENT : callreplay::create(batch);
}

void cr_speex_batch_destroy(cr_speex_batch *batch) {
  delete batch;
}

cr_status cr_speex_encode(cr_speex_batch *batch, cr_speex_stream *const *streams, size_t count) {
  if ((streams == nullptr && count > 0) ||
      std::any_of(streams, streams + count, [](const cr_speex_stream *s) { return s == nullptr; })) {
    return CR_ARGUMENT;
  }
  return callreplay::use(batch, [&](cr_speex_batch &held) {
    ClaimedStreams claimed;
    const cr_status status = claimed.take(streams, count);
    if (status != CR_OK) {
      return status;
    }
    const cr_status coded = callreplay::caught([&] {
      held.waiting.clear();
      for (size_t i = 0; i < count; ++i) {
        held.waiting.push_back(&streams[i]->stream);
      }
      held.encode();
      return CR_OK;
    });
    if (coded != CR_OK) {
      claimed.give_up();
    }
    return coded;
  });
}

uint64_t cr_speex_estimate(const cr_speex_options *options, uint64_t samples) {
  if (options == nullptr || !is_valid(*options)) {
    return 0;
  }
  const RateOptions rate{options->rate_hz == 16000, options->quality, false, false, false};
  const auto mode = callreplay::speex::constant_mode(rate);
  const int bits = callreplay::speex::kNarrowband[mode.low].bits +
                   (rate.wideband ? callreplay::speex::kHighband[mode.high].bits : 0);
  const uint64_t packet = static_cast<uint64_t>(bits + 7) / 8 + 1;
  const uint64_t frame = rate.wideband ? 320 : 160;
  const uint64_t frames = samples / frame + 2;
  constexpr uint64_t kPageHeader = 27;
  constexpr uint64_t kHeaders = 200;
  return kHeaders + frames * packet + (frames / 50 + 2) * kPageHeader;
}

}  // extern "C"
