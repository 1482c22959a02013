#include <cstdlib>
#include <cstring>

#include "bench.h"
#include "decode/kernels.h"

// The speech is coded by bcg729, so without it there is nothing to measure.
#ifdef HAVE_BCG729

extern "C" {
#include <bcg729/decoder.h>
#include <bcg729/encoder.h>
}

namespace {

using bench::Contender;
using bench::Packets;
using callreplay::G729Frame;
using callreplay::G729Kernel;

// 20 ms packets of two frames.
constexpr size_t kFrameOctets = 10, kFrameSamples = 80, kFrames = 2;
constexpr size_t kOctets = kFrames * kFrameOctets, kSamples = kFrames * kFrameSamples;

std::vector<uint8_t> code(const std::vector<int16_t> &speech8) {
  const size_t frames = speech8.size() / kFrameSamples;
  std::vector<uint8_t> octets(frames * kFrameOctets);
  bcg729EncoderChannelContextStruct *encoder = initBcg729EncoderChannel(0);
  for (size_t i = 0; i < frames; ++i) {
    int16_t frame[kFrameSamples];
    uint8_t coded[15], length = 0;
    std::memcpy(frame, &speech8[i * kFrameSamples], sizeof frame);
    bcg729Encoder(encoder, frame, coded, &length);
    std::memcpy(&octets[i * kFrameOctets], coded, kFrameOctets);
  }
  closeBcg729EncoderChannel(encoder);
  return octets;
}

void add_ours(std::vector<Contender> &all, const char *setting, const G729Kernel *kernel,
              const std::shared_ptr<Packets> &packets) {
  const auto lanes = static_cast<size_t>(kernel->lanes);
  const size_t groups = (packets->count + lanes - 1) / lanes;
  const size_t stride = (kernel->state_bytes + 63) / 64 * 64;
  std::shared_ptr<unsigned char> states(static_cast<unsigned char *>(std::aligned_alloc(64, groups * stride)),
                                        std::free);
  std::memset(states.get(), 0, groups * stride);
  for (size_t i = 0; i < groups * lanes; ++i) {
    kernel->reset(states.get() + i / lanes * stride, static_cast<int>(i % lanes));
  }
  const auto samples = static_cast<double>(packets->count * kSamples);
  all.push_back(
      {cr_isa_name(kernel->isa), "ours", setting, samples, [=] {
         G729Frame frames[64];
         int16_t *pcm[64] = {};
         for (size_t group = 0; group < groups; ++group) {
           for (size_t part = 0; part < kFrames; ++part) {
             for (size_t lane = 0; lane < lanes; ++lane) {
               const size_t stream = group * lanes + lane;
               if (stream >= packets->count) {
                 frames[lane] = {nullptr, G729Frame::kIdle, false};
                 continue;
               }
               frames[lane] = {packets->packet(stream) + part * kFrameOctets, G729Frame::kSpeech, false};
               pcm[lane] = packets->out(stream) + part * kFrameSamples;
             }
             kernel->decode(states.get() + group * stride, frames, pcm);
           }
         }
         packets->next();
       }});
}

void add_bcg729(std::vector<Contender> &all, const char *setting, const std::shared_ptr<Packets> &packets) {
  std::vector<std::shared_ptr<bcg729DecoderChannelContextStruct>> states;
  for (size_t i = 0; i < packets->count; ++i) {
    states.emplace_back(initBcg729DecoderChannel(), closeBcg729DecoderChannel);
  }
  const auto samples = static_cast<double>(packets->count * kSamples);
  all.push_back({"bcg729", "peer", setting, samples, [=] {
                   for (size_t i = 0; i < packets->count; ++i) {
                     for (size_t part = 0; part < kFrames; ++part) {
                       bcg729Decoder(states[i].get(), packets->packet(i) + part * kFrameOctets, kFrameOctets,
                                     0, 0, 0, packets->out(i) + part * kFrameSamples);
                     }
                   }
                   packets->next();
                 }});
}

std::vector<Contender> contenders(const bench::Context &context) {
  std::vector<Contender> all;
  const std::vector<uint8_t> coded = code(context.speech8);
  for (const char *setting : {"batch", "alone"}) {
    const bool batch = std::strcmp(setting, "batch") == 0;
    const auto packets = std::make_shared<Packets>(coded, batch ? context.streams : 1, kOctets, kSamples);
    for (const cr_isa isa : {CR_ISA_SCALAR, CR_ISA_BASELINE, CR_ISA_NEON, CR_ISA_AVX2, CR_ISA_AVX512}) {
      const G729Kernel *kernel = callreplay::g729_kernel(isa);
      if (kernel != nullptr && (batch || isa == CR_ISA_SCALAR)) add_ours(all, setting, kernel, packets);
    }
    add_bcg729(all, setting, packets);
  }
  return all;
}

const bench::Registered registered({"g729", contenders});

}  // namespace

#endif
