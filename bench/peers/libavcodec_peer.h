// A libavcodec decoder as its users run it: packet in, frame out, one context per stream.
#pragma once

#ifdef HAVE_LIBAVCODEC

#include <cstring>
#include <memory>
#include <vector>

#include "bench.h"

extern "C" {
#include <libavcodec/avcodec.h>
}

namespace bench {

class LibavcodecStreams {
 public:
  // `bits` of a sample, for the codecs that have several.
  LibavcodecStreams(AVCodecID id, int sample_rate_hz, size_t streams, int bits) {
    const AVCodec *codec = avcodec_find_decoder(id);
    packet_ = av_packet_alloc();
    frame_ = av_frame_alloc();
    for (size_t i = 0; codec != nullptr && i < streams; ++i) {
      AVCodecContext *context = avcodec_alloc_context3(codec);
      context->sample_rate = sample_rate_hz;
      context->ch_layout = AV_CHANNEL_LAYOUT_MONO;
      context->thread_count = 1;
      context->bits_per_coded_sample = bits;
      if (avcodec_open2(context, codec, nullptr) < 0) {
        avcodec_free_context(&context);
        break;
      }
      contexts_.push_back(context);
    }
  }
  LibavcodecStreams(const LibavcodecStreams &) = delete;
  LibavcodecStreams &operator=(const LibavcodecStreams &) = delete;
  ~LibavcodecStreams() {
    for (AVCodecContext *context : contexts_) avcodec_free_context(&context);
    av_frame_free(&frame_);
    av_packet_free(&packet_);
  }
  bool usable(size_t streams) const { return contexts_.size() == streams; }

  // Decodes in place: neither the payload nor the PCM is copied, which is the best case of this API.
  void decode(size_t stream, const uint8_t *payload, size_t octets) {
    packet_->data = const_cast<uint8_t *>(payload);
    packet_->size = static_cast<int>(octets);
    if (avcodec_send_packet(contexts_[stream], packet_) < 0) return;
    while (avcodec_receive_frame(contexts_[stream], frame_) >= 0)
      samples_ += static_cast<size_t>(frame_->nb_samples);
  }

 private:
  std::vector<AVCodecContext *> contexts_;
  AVPacket *packet_;
  AVFrame *frame_;
  size_t samples_ = 0;
};

inline void add_libavcodec(std::vector<Contender> &all, const char *setting, AVCodecID id, int sample_rate_hz,
                           const std::shared_ptr<Packets> &packets, int bits = 0) {
  auto streams = std::make_shared<LibavcodecStreams>(id, sample_rate_hz, packets->count, bits);
  if (!streams->usable(packets->count)) return;
  all.push_back({"libavcodec", "peer", setting, static_cast<double>(packets->count * packets->samples), [=] {
                   for (size_t i = 0; i < packets->count; ++i)
                     streams->decode(i, packets->packet(i), packets->octets);
                   packets->next();
                 }});
}

}  // namespace bench

#endif
