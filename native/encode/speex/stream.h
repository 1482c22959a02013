// One Ogg Speex file under way: samples that wait, the coder's state, pages that are ready.
#pragma once

#include <array>
#include <memory>
#include <string_view>
#include <vector>

#include "callreplay/speex.h"
#include "encode/ogg/ogg.h"
#include "encode/speex/jobs.h"

namespace callreplay::speex {

class Stream {
 public:
  Stream(const cr_speex_options &options, uint32_t serial, const std::vector<std::string_view> &comments);

  void push(const int16_t *pcm, size_t count);
  void end() { ended_ = true; }
  bool ended() const { return ended_; }

  const RateOptions &rate() const { return rate_; }

  // Lists what can be coded now, whole frames of this stream or segments of a long one; false when
  // there is nothing.
  bool plan(const Engine &engine, std::vector<Job> &jobs);
  // Takes the packets of a plan whose jobs have run.
  void collect(const Engine &engine);

  std::vector<uint8_t> out;
  size_t taken = 0;  // of out

 private:
  struct Segment {
    std::vector<float> state;
    Packets packets;
  };

  void write_headers(const std::vector<std::string_view> &comments);
  void pad();
  size_t frames_ready() const { return (pcm_.size() - consumed_) / frame_; }
  void plan_segments(const Engine &engine, size_t frames, std::vector<Job> &jobs);
  size_t quietest(size_t nominal, size_t reach) const;
  void write_packets(const Packets &packets);

  RateOptions rate_;
  bool segmented_;
  size_t frame_;        // samples
  int64_t look_ahead_;  // samples that the encoder's delay takes off a granule position
  int64_t decoder_delay_;
  OggWriter ogg_;
  RateControl control_;
  AlignedArray<float> state_;
  std::vector<Segment> segments_;
  Packets packets_;
  std::vector<int16_t> pcm_;
  size_t consumed_ = 0;   // samples of pcm_ that are coded
  int64_t total_ = 0;     // samples pushed
  int64_t coded_ = 0;     // frames
  size_t planned_ = 0;    // frames of the plan under way
  bool cutting_ = false;  // the call is long: it goes on in segments
  bool ended_ = false;
  bool padded_ = false;
  bool closed_ = false;
};

}  // namespace callreplay::speex
