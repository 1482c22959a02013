#include "encode/speex/stream.h"

#include <algorithm>
#include <cstring>

namespace callreplay::speex {

namespace {

constexpr std::string_view kVendor = "callreplay";
constexpr int kBitstreamVersion = 4;
constexpr size_t kHeaderSize = 80;
constexpr int kPacketsPerPage = 50;  // one second

// Segments. A chunk of a minute is cut into 16, whatever the lanes, so that the octets do not depend on
// them. A segment is warmed up with the frames before it: LSPs and gains are then what a continuous encoder
// has, and since the first frame that counts predicts nothing from before it, its excitation is what the
// decoder has too.
constexpr size_t kSegments = 16;
constexpr size_t kChunkFrames = 3000;
constexpr size_t kHeldFrames = 1000;  // the last chunk of a call has so many, or more
constexpr size_t kWarmUpFrames = 8;

void put_u32(uint32_t value, std::vector<uint8_t> &out) {
  for (int i = 0; i < 4; ++i) {
    out.push_back(static_cast<uint8_t>(value >> (8 * i)));
  }
}

void put_text(std::string_view text, std::vector<uint8_t> &out) {
  put_u32(static_cast<uint32_t>(text.size()), out);
  out.insert(out.end(), text.begin(), text.end());
}

RateOptions rate_options(const cr_speex_options &options) {
  return {options.rate_hz == 16000, options.quality, options.vbr != 0, options.vad != 0 || options.dtx != 0,
          options.dtx != 0};
}

}  // namespace

Stream::Stream(const cr_speex_options &options, uint32_t serial,
               const std::vector<std::string_view> &comments)
    : rate_(rate_options(options)),
      segmented_(options.segments == CR_SPEEX_SEGMENTS_LONG && rate_.constant()),
      frame_(rate_.wideband ? kWidebandFrame : kNarrowbandFrame),
      look_ahead_(rate_.wideband ? 143 : 40),
      decoder_delay_(rate_.wideband ? 80 : 40),
      ogg_(serial) {
  write_headers(comments);
}

void Stream::write_headers(const std::vector<std::string_view> &comments) {
  std::vector<uint8_t> packet;
  char name[28] = "Speex   ";  // and the version text, padded with NULs
  kVendor.copy(name + 8, 20);
  packet.insert(packet.end(), std::begin(name), std::end(name));
  const auto frame = static_cast<uint32_t>(frame_);
  const uint32_t fields[] = {1,
                             kHeaderSize,
                             rate_.wideband ? 16000u : 8000u,
                             rate_.wideband ? 1u : 0u,
                             kBitstreamVersion,
                             1,            // channels
                             0xffffffffu,  // bit rate: not stated
                             frame,
                             rate_.vbr ? 1u : 0u,
                             1,  // frames per packet
                             0,  // extra headers
                             0,
                             0};
  for (const uint32_t field : fields) {
    put_u32(field, packet);
  }
  ogg_.write_header(packet.data(), packet.size(), out);
  packet.clear();
  put_text(kVendor, packet);
  put_u32(static_cast<uint32_t>(comments.size()), packet);
  for (const std::string_view comment : comments) {
    put_text(comment, packet);
  }
  ogg_.write_header(packet.data(), packet.size(), out);
}

void Stream::push(const int16_t *pcm, size_t count) {
  pcm_.insert(pcm_.end(), pcm, pcm + count);
  total_ += static_cast<int64_t>(count);
}

// Zeros until the delays of encoder and decoder have let the last sample out. There are two frames at least:
// readers trim the start only when the first audio page is not the last.
void Stream::pad() {
  if (padded_) {
    return;
  }
  padded_ = true;
  const int64_t frame = static_cast<int64_t>(frame_);
  const int64_t frames = std::max<int64_t>(2, (total_ + look_ahead_ + decoder_delay_ + frame - 1) / frame);
  pcm_.resize(consumed_ + static_cast<size_t>((frames - coded_) * frame));
}

// The frame around `nominal` with the least energy in it and in the frame before.
size_t Stream::quietest(size_t nominal, size_t reach) const {
  const auto energy = [&](size_t index) {
    const int16_t *x = pcm_.data() + consumed_ + index * frame_;
    int64_t sum = 0;
    for (size_t n = 0; n < frame_; ++n) {
      sum += int64_t{x[n]} * x[n];
    }
    return sum;
  };
  size_t best = nominal - reach;
  int64_t least = INT64_MAX;
  int64_t before = energy(nominal - reach - 1);
  for (size_t index = nominal - reach; index <= nominal + reach; ++index) {
    const int64_t now = energy(index);
    if (before + now < least) {
      least = before + now;
      best = index;
    }
    before = now;
  }
  return best;
}

void Stream::plan_segments(const Engine &engine, size_t frames, std::vector<Job> &jobs) {
  segments_.resize(kSegments);
  const size_t length = frames / kSegments;
  const size_t reach = length * 2 / 5;
  size_t start = 0;
  for (size_t i = 0; i < kSegments; ++i) {
    const size_t stop = i + 1 == kSegments ? frames : quietest((i + 1) * frames / kSegments, reach);
    Segment &segment = segments_[i];
    segment.packets.clear();
    segment.state.resize(engine.state_floats());
    const size_t skip = i == 0 ? 0 : kWarmUpFrames;
    if (i == 0) {
      std::memcpy(segment.state.data(), state_.get(), engine.state_floats() * sizeof(float));
    } else {
      engine.reset(segment.state.data());
    }
    const int16_t *pcm = pcm_.data() + consumed_ + (start - skip) * frame_;
    jobs.push_back({segment.state.data(), &control_, pcm, stop - start + skip, skip, &segment.packets});
    start = stop;
  }
}

bool Stream::plan(const Engine &engine, std::vector<Job> &jobs) {
  if (state_ == nullptr) {
    state_ = make_aligned<float>(engine.state_floats());
    engine.reset(state_.get());
  }
  if (ended_) {
    pad();
  }
  planned_ = frames_ready();
  packets_.clear();
  if (segmented_ && !ended_) {
    if (planned_ < kChunkFrames + kHeldFrames) {
      planned_ = 0;
    } else {
      cutting_ = true;
      planned_ = kChunkFrames;
    }
  } else if (segmented_ && !cutting_) {
    cutting_ = planned_ >= kChunkFrames;
  }
  if (cutting_ && planned_ >= kChunkFrames + kHeldFrames) {
    planned_ = kChunkFrames;
  }
  if (planned_ == 0) {
    return false;
  }
  if (cutting_) {
    plan_segments(engine, planned_, jobs);
  } else {
    jobs.push_back({state_.get(), &control_, pcm_.data() + consumed_, planned_, 0, &packets_});
  }
  return true;
}

void Stream::write_packets(const Packets &packets) {
  const uint8_t *octets = packets.octets.data();
  for (const uint8_t size : packets.sizes) {
    ++coded_;
    const int64_t granule = coded_ * static_cast<int64_t>(frame_) - look_ahead_;
    // Readers take a page's missing samples off its start, unless it is the last page: frames beyond the end
    // must all be on that one, however many it holds.
    const int room = granule > total_ ? OggWriter::kMaxPackets : kPacketsPerPage;
    ogg_.add(octets, size, std::min(granule, total_), room, out);
    if (coded_ == 1) {
      ogg_.flush(false, out);
    }
    octets += size;
  }
}

void Stream::collect(const Engine &engine) {
  if (planned_ > 0) {
    if (cutting_) {
      for (const Segment &segment : segments_) {
        write_packets(segment.packets);
      }
      std::memcpy(state_.get(), segments_.back().state.data(), engine.state_floats() * sizeof(float));
    } else {
      write_packets(packets_);
    }
    consumed_ += planned_ * frame_;
    planned_ = 0;
    pcm_.erase(pcm_.begin(), pcm_.begin() + static_cast<std::ptrdiff_t>(consumed_));
    consumed_ = 0;
  }
  if (padded_ && !closed_ && frames_ready() == 0) {
    closed_ = true;
    ogg_.flush(true, out);
  }
}

}  // namespace callreplay::speex
