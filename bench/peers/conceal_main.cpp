// conceal_bench CODEC METHOD < frames > pcm
//
// CODEC: g711u, g722, g726 at 32 kbit/s (decoded by this project). METHOD: callreplay, spandsp (its plc),
// repeat (the last frame again), silence. g729: callreplay, bcg729 and libavcodec with the concealment of
// the codec itself, coded by bcg729. stdin: per 20 ms packet a little-endian uint16 of octets and the
// payload; 0 octets is a lost packet. conceal_bench CODEC encode < pcm > frames codes raw int16 speech (8
// kHz, g722: 16 kHz).
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "callreplay/conveyor.h"
#include "decode/g726/codes.h"
#include "decode/kernels.h"
#include "encode/g711/kernels.h"

extern "C" {
#ifdef HAVE_LIBAVCODEC
#include <libavcodec/avcodec.h>
#endif
#include <spandsp.h>
#ifdef HAVE_BCG729
#include <bcg729/decoder.h>
#include <bcg729/encoder.h>
#endif
}

namespace {

struct Codec {
  std::string name;
  size_t octets, samples;
};

Codec codec_of(const std::string &name) {
  return name == "g722"   ? Codec{name, 160, 320}
         : name == "g726" ? Codec{name, 80, 160}
                          : Codec{name, 160, 160};
}

std::vector<unsigned char> read_all() {
  std::vector<unsigned char> all;
  unsigned char block[65536];
  size_t got;
  while ((got = std::fread(block, 1, sizeof block, stdin)) != 0) all.insert(all.end(), block, block + got);
  return all;
}

void put_frame(const uint8_t *octets, size_t count) {
  const unsigned char head[2] = {static_cast<unsigned char>(count & 255),
                                 static_cast<unsigned char>(count >> 8)};
  std::fwrite(head, 1, 2, stdout);
  std::fwrite(octets, 1, count, stdout);
}

int encode(const Codec &codec) {
  const std::vector<unsigned char> raw = read_all();
  std::vector<int16_t> pcm(raw.size() / 2);
  std::memcpy(pcm.data(), raw.data(), pcm.size() * 2);
  pcm.resize(pcm.size() / codec.samples * codec.samples);
  std::vector<uint8_t> octets(pcm.size() / codec.samples * codec.octets);
  if (codec.name == "g726") {
    g726_state_t *state = g726_init(nullptr, 32000, G726_ENCODING_LINEAR, G726_PACKING_RIGHT);
    g726_encode(state, octets.data(), pcm.data(), static_cast<int>(pcm.size()));
    g726_free(state);
  } else if (codec.name == "g711u") {
    callreplay::g711_encoder_kernel(CR_ISA_SCALAR)->ulaw(pcm.data(), octets.data(), pcm.size());
  } else {
    g722_encode_state_t *state = g722_encode_init(nullptr, 64000, 0);
    g722_encode(state, octets.data(), pcm.data(), static_cast<int>(pcm.size()));
    g722_encode_free(state);
  }
  for (size_t at = 0; at < octets.size(); at += codec.octets) put_frame(&octets[at], codec.octets);
  return 0;
}

// Ours is the engine itself: packets in, chunks out.
int decode_ours(cr_codec codec, int rate_hz, size_t samples, int mode) {
  const std::vector<unsigned char> frames = read_all();
  std::vector<int64_t> offset, timestamp, sequence;
  std::vector<uint16_t> size;
  int64_t packets = 0;
  const auto ticks = static_cast<int64_t>(codec == CR_CODEC_G722 ? samples / 2 : samples);
  for (size_t at = 0; at + 2 <= frames.size(); ++packets) {
    const size_t count = frames[at] | static_cast<size_t>(frames[at + 1]) << 8;
    if (count > 0 && at + 2 + count <= frames.size()) {
      offset.push_back(static_cast<int64_t>(at + 2));
      size.push_back(static_cast<uint16_t>(count));
      timestamp.push_back(packets * ticks);
      sequence.push_back(packets);
    }
    at += 2 + count;
  }
  const std::vector<uint8_t> flags(offset.size());
  cr_span span{};
  span.codec = codec;
  span.clock_rate_hz = 8000;
  span.sample_rate_hz = rate_hz;
  span.mode = mode;
  span.stop = static_cast<int64_t>(offset.size());
  span.end_tick = packets * ticks;
  cr_leg leg{};
  leg.data = frames.data();
  leg.data_size = frames.size();
  leg.rows = offset.size();
  leg.offset = offset.data();
  leg.size = size.data();
  leg.timestamp = timestamp.data();
  leg.sequence = sequence.data();
  leg.flags = flags.data();
  leg.span_count = 1;
  leg.spans = &span;
  std::vector<int16_t> pcm(static_cast<size_t>(packets) * samples);
  cr_conveyor *conveyor = nullptr;
  if (cr_conveyor_create(1, 200, &conveyor) != CR_OK || cr_conveyor_add(conveyor, &leg) != CR_OK) return 1;
  const cr_chunk *chunks;
  for (size_t count = 1; count > 0;) {
    if (cr_conveyor_step(conveyor, &chunks, &count) != CR_OK) return 1;
    for (size_t i = 0; i < count; ++i) {
      std::memcpy(&pcm[static_cast<size_t>(chunks[i].first_sample)], chunks[i].pcm, chunks[i].count * 2);
    }
  }
  cr_conveyor_destroy(conveyor);
  std::fwrite(pcm.data(), 2, pcm.size(), stdout);
  return 0;
}

// The payloads of one stream, one after the other.
class Decoder {
 public:
  explicit Decoder(const std::string &name) : name_(name) {
    g722_->reset(state_, 0);
    if (name_ == "g726") g726_->reset(state_, 0);
  }
  void decode(const uint8_t *payload, size_t count, int16_t *pcm) {
    if (name_ == "g711u") {
      callreplay::g711_kernel(CR_ISA_SCALAR)->decode_ulaw(payload, pcm, count);
    } else if (name_ == "g722") {
      g722_->decode(state_, 0, &payload, &pcm, static_cast<int>(count));
    } else {
      std::vector<uint8_t> codes(2 * count);
      callreplay::unpack_g726(payload, 0, codes.size(), 4, false, codes.data());
      const uint8_t *from = codes.data();
      g726_->decode(state_, 4, &from, &pcm, static_cast<int>(codes.size()));
    }
  }

 private:
  std::string name_;
  const callreplay::G722Kernel *g722_ = callreplay::g722_kernel(CR_ISA_SCALAR);
  const callreplay::G726Kernel *g726_ = callreplay::g726_kernel(CR_ISA_SCALAR);
  alignas(64) unsigned char state_[4096];
};

int decode(const Codec &codec, const std::string &method) {
  const std::vector<unsigned char> frames = read_all();
  Decoder decoder(codec.name);
  plc_state_t *plc = plc_init(nullptr);
  std::vector<int16_t> pcm(codec.samples), last(codec.samples);
  for (size_t at = 0; at + 2 <= frames.size();) {
    const size_t count = frames[at] | static_cast<size_t>(frames[at + 1]) << 8;
    const uint8_t *payload = &frames[at] + 2;
    at += 2 + count;
    if (count == codec.octets && at <= frames.size()) {
      int16_t *to = pcm.data();
      decoder.decode(payload, count, to);
      if (method == "spandsp") plc_rx(plc, to, static_cast<int>(pcm.size()));
      last = pcm;
    } else if (method == "spandsp") {
      plc_fillin(plc, pcm.data(), static_cast<int>(pcm.size()));
    } else if (method == "repeat") {
      pcm = last;
    } else {
      std::memset(pcm.data(), 0, pcm.size() * 2);
    }
    std::fwrite(pcm.data(), 2, pcm.size(), stdout);
  }
  plc_free(plc);
  return 0;
}

#ifdef HAVE_BCG729
constexpr size_t kFrame = 80, kOctets = 10, kFrames = 2;

int encode_g729() {
  const std::vector<unsigned char> raw = read_all();
  std::vector<int16_t> pcm(raw.size() / 2 / (kFrame * kFrames) * (kFrame * kFrames));
  std::memcpy(pcm.data(), raw.data(), pcm.size() * 2);
  bcg729EncoderChannelContextStruct *encoder = initBcg729EncoderChannel(0);
  for (size_t at = 0; at < pcm.size(); at += kFrame * kFrames) {
    uint8_t octets[kOctets * kFrames];
    for (size_t i = 0; i < kFrames; ++i) {
      uint8_t length = 0;
      bcg729Encoder(encoder, &pcm[at + i * kFrame], octets + i * kOctets, &length);
    }
    put_frame(octets, sizeof octets);
  }
  closeBcg729EncoderChannel(encoder);
  return 0;
}

int decode_g729() {
  const std::vector<unsigned char> frames = read_all();
  bcg729DecoderChannelContextStruct *peer = initBcg729DecoderChannel();
  for (size_t at = 0; at + 2 <= frames.size();) {
    const size_t count = frames[at] | static_cast<size_t>(frames[at + 1]) << 8;
    const uint8_t *payload = &frames[at] + 2;
    at += 2 + count;
    for (size_t i = 0; i < kFrames; ++i) {
      const bool lost = count != kOctets * kFrames;
      int16_t pcm[kFrame];
      const uint8_t *octets = lost ? nullptr : payload + i * kOctets;
      const uint8_t nothing[kOctets] = {};
      bcg729Decoder(peer, lost ? nothing : octets, lost ? 0 : kOctets, lost, 0, 0, pcm);
      std::fwrite(pcm, 2, kFrame, stdout);
    }
  }
  closeBcg729DecoderChannel(peer);
  return 0;
}

#ifdef HAVE_LIBAVCODEC
// libavcodec takes octets that are all zero for a lost frame.
int decode_g729_libavcodec() {
  const std::vector<unsigned char> frames = read_all();
  AVCodecContext *context = avcodec_alloc_context3(avcodec_find_decoder(AV_CODEC_ID_G729));
  context->sample_rate = 8000;
  context->ch_layout = AV_CHANNEL_LAYOUT_MONO;
  if (avcodec_open2(context, nullptr, nullptr) < 0) return 1;
  AVPacket *packet = av_packet_alloc();
  AVFrame *frame = av_frame_alloc();
  for (size_t at = 0; at + 2 <= frames.size();) {
    const size_t count = frames[at] | static_cast<size_t>(frames[at + 1]) << 8;
    const uint8_t *payload = &frames[at] + 2;
    at += 2 + count;
    for (size_t i = 0; i < kFrames; ++i) {
      uint8_t octets[kOctets + AV_INPUT_BUFFER_PADDING_SIZE] = {};
      if (count == kOctets * kFrames) std::memcpy(octets, payload + i * kOctets, kOctets);
      packet->data = octets;
      packet->size = kOctets;
      if (avcodec_send_packet(context, packet) < 0 || avcodec_receive_frame(context, frame) < 0) return 1;
      std::fwrite(frame->data[0], 2, static_cast<size_t>(frame->nb_samples), stdout);
    }
  }
  av_frame_free(&frame);
  av_packet_free(&packet);
  avcodec_free_context(&context);
  return 0;
}
#endif
#endif

}  // namespace

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  const std::string name = argv[1], method = argv[2];
#ifdef HAVE_BCG729
#ifdef HAVE_LIBAVCODEC
  if (name == "g729" && method == "libavcodec") return decode_g729_libavcodec();
#endif
  if (name == "g729" && method == "bcg729") return decode_g729();
  if (name == "g729" && method == "encode") return encode_g729();
#endif
  if (method == "best") return decode_ours(CR_CODEC_G729, 8000, 160, CR_G729_BRIDGED);
  if (method == "callreplay") {
    if (name == "g729") return decode_ours(CR_CODEC_G729, 8000, 160, CR_G729_EXACT);
    if (name == "g726") return decode_ours(CR_CODEC_G726, 8000, 160, 4);
    if (name == "g722") return decode_ours(CR_CODEC_G722, 16000, 320, 0);
    return decode_ours(CR_CODEC_ULAW, 8000, 160, 0);
  }
  const Codec codec = codec_of(name);
  return method == "encode" ? encode(codec) : decode(codec, method);
}
