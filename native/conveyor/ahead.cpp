#include "conveyor/ahead.h"

#include <algorithm>
#include <cstring>

namespace callreplay {
namespace {

constexpr int kFrameSamples = 80;
constexpr size_t kWarmFrames = 200;  // as many as the start of a window gets: 2 s
constexpr double kWorth = 0.75;      // of what it costs otherwise, or less
// Of what fewer lanes cost, or less: more of them have frames and samples in more places than the costs were measured with.
constexpr double kWiden = 0.93;

std::unique_ptr<AlignedState> fresh_group(const G729Kernel &kernel) {
  auto group = std::make_unique<AlignedState>(kernel.state_bytes);
  for (int lane = 0; lane < kernel.lanes; ++lane) {
    kernel.reset(group->get(), lane);
  }
  return group;
}

// What the lanes decode in one call.
struct Lanes {
  G729Frame frames[kMaxLanes];
  int16_t *pcm[kMaxLanes];
  int16_t partial[kMaxLanes][kFrameSamples];

  Lanes() {
    for (int lane = 0; lane < kMaxLanes; ++lane) {
      frames[lane] = {nullptr, G729Frame::kIdle, false};
      pcm[lane] = partial[lane];
    }
  }
  void take(size_t lane, SpanCursor &cursor, const FramePlan &plan, bool heard) {
    frames[lane] = plan.frame;
    pcm[lane] = heard && plan.keep == kFrameSamples ? cursor.samples() + plan.pcm : partial[lane];
  }
  void put(size_t lane, SpanCursor &cursor, const FramePlan &plan) {
    if (pcm[lane] == partial[lane]) {
      std::copy_n(partial[lane] + plan.skip, plan.keep, cursor.samples() + plan.pcm);
    }
  }
};

}  // namespace

uint16_t seed_behind(const std::vector<FramePlan> &frames, size_t from, size_t to, uint16_t seed) {
  for (size_t i = from; i < to; ++i) {
    for (int call = 0; call < kErasureCalls && frames[i].erased_speech; ++call) {
      seed = next_erasure_seed(seed);
    }
  }
  return seed;
}

// The width whose lanes take the streams for least, kNone where nothing is gained.
size_t Ahead::best(size_t streams, size_t frames) const {
  const LanePlan &plan = choice_->plan;
  if (streams == 0 || frames < 2 * kWarmFrames) {
    return kNone;
  }
  size_t found = kNone;
  double least = kWorth * plan.cost(streams) * static_cast<double>(frames);
  for (size_t width = 0; width < plan.widths().size(); ++width) {
    const size_t count = plan.widths()[width].lanes / streams;
    if (count < 2) {
      continue;
    }
    const size_t rounds = (frames - kWarmFrames) / count + kWarmFrames + count;
    const double cost = plan.widths()[width].cost(count * streams) * static_cast<double>(rounds);
    if (cost < (found == kNone ? least : kWiden * least)) {
      least = cost;
      found = width;
    }
  }
  return found;
}

// All pieces but the first have a warm-up, which makes that one longer.
void Ahead::cut(const std::vector<AheadStream> &streams, size_t count) {
  pieces_.clear();
  for (size_t stream = 0; stream < streams.size(); ++stream) {
    const size_t frames = streams[stream].cursor->frames().size();
    const size_t warm = std::min(kWarmFrames, frames);
    const size_t length = (frames - warm) / count;
    for (size_t i = 0; i < count; ++i) {
      const size_t begin = i == 0 ? 0 : warm + i * length;
      const size_t end = i + 1 == count ? frames : warm + (i + 1) * length;
      pieces_.push_back({stream, i * length, begin, end});
    }
  }
}

// Returns how many times the kernel was called.
size_t Ahead::run(const G729Kernel &kernel, std::vector<AheadStream> &streams) {
  Lanes lanes;
  for (size_t round = 0;; ++round) {
    bool any = false;
    for (size_t lane = 0; lane < pieces_.size(); ++lane) {
      const Piece &piece = pieces_[lane];
      SpanCursor &cursor = *streams[piece.stream].cursor;
      const size_t at = piece.from + round;
      if (at == piece.begin) {
        kernel.save(group_->get(), static_cast<int>(lane), begun(lane));
      }
      if (at >= piece.end) {
        lanes.frames[lane] = {nullptr, G729Frame::kIdle, false};
        continue;
      }
      lanes.take(lane, cursor, cursor.frames()[at], at >= piece.begin);
      any = true;
    }
    if (!any) {
      return round;
    }
    kernel.decode(group_->get(), lanes.frames, lanes.pcm);
    for (size_t lane = 0; lane < pieces_.size(); ++lane) {
      const Piece &piece = pieces_[lane];
      const size_t at = piece.from + round;
      if (at >= piece.begin && at < piece.end) {
        SpanCursor &cursor = *streams[piece.stream].cursor;
        lanes.put(lane, cursor, cursor.frames()[at]);
      }
    }
  }
}

// From the state of the stream, which it leaves behind the piece.
void Ahead::decode_again(const Piece &piece, AheadStream &stream) {
  const G729Kernel &kernel = *choice_->kernels[0];
  if (single_ == nullptr) {
    single_ = fresh_group(kernel);
  }
  kernel.load(single_->get(), 0, stream.state);
  Lanes lanes;
  for (size_t at = piece.begin; at < piece.end; ++at) {
    const FramePlan &plan = stream.cursor->frames()[at];
    lanes.take(0, *stream.cursor, plan, true);
    kernel.decode(single_->get(), lanes.frames, lanes.pcm);
    lanes.put(0, *stream.cursor, plan);
  }
  kernel.save(single_->get(), 0, stream.state);
  ++stream.again;
}

void Ahead::verify(const G729Kernel &kernel, std::vector<AheadStream> &streams, size_t count) {
  for (size_t lane = 0; lane < pieces_.size(); ++lane) {
    const Piece &piece = pieces_[lane];
    AheadStream &stream = streams[piece.stream];
    if (lane % count == 0 || std::memcmp(stream.state, begun(lane), kernel.stream_bytes) == 0) {
      kernel.save(group_->get(), static_cast<int>(lane), ended_.data());
      std::copy_n(ended_.data(), words(), stream.state);
    } else {
      decode_again(piece, stream);
    }
  }
}

Ahead::Done Ahead::decode(std::vector<AheadStream> &streams) {
  const G729Kernel &kernel = *choice_->kernels[best_];
  if (width_ != best_) {
    group_ = fresh_group(kernel);
    width_ = best_;
  }
  const size_t count = static_cast<size_t>(kernel.lanes) / streams.size();
  cut(streams, count);
  begun_.assign(pieces_.size() * words(), 0);
  ended_.assign(words(), 0);
  uint16_t seed = 0;
  for (size_t lane = 0; lane < pieces_.size(); ++lane) {
    const Piece &piece = pieces_[lane];
    const AheadStream &stream = streams[piece.stream];
    kernel.load(group_->get(), static_cast<int>(lane), stream.state);
    if (piece.from == 0) {
      seed = stream.seed;
    } else {
      seed = seed_behind(stream.cursor->frames(), pieces_[lane - 1].from, piece.from, seed);
      kernel.seed(group_->get(), static_cast<int>(lane), seed);
    }
  }
  const size_t rounds = run(kernel, streams);
  verify(kernel, streams, count);
  return {kernel.lanes, static_cast<int>(pieces_.size()), rounds, count};
}

}  // namespace callreplay
