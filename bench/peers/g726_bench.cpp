#include <cstdlib>
#include <cstring>

#include "bench.h"
#include "decode/g726/codes.h"
#include "decode/kernels.h"
#include "libavcodec_peer.h"

#ifdef HAVE_SPANDSP
extern "C" {
#include <spandsp.h>
}
#endif

namespace {

using bench::Contender;
using bench::Packets;
using callreplay::G726Kernel;

constexpr int kBits = 4;
constexpr size_t kSamples = 160, kOctets = kSamples * kBits / 8;

// G.726 of the speech at 32 kbit/s. Without spandsp's encoder: octets of every value.
std::vector<uint8_t> code(const std::vector<int16_t> &speech8) {
  std::vector<uint8_t> octets(speech8.size() / 2);
#ifdef HAVE_SPANDSP
  g726_state_t *encoder = g726_init(nullptr, 32000, G726_ENCODING_LINEAR, G726_PACKING_RIGHT);
  const int count =
      g726_encode(encoder, octets.data(), speech8.data(), static_cast<int>(speech8.size() & ~size_t{1}));
  octets.resize(static_cast<size_t>(count));
  g726_free(encoder);
#else
  uint32_t x = 1;
  for (uint8_t &octet : octets) octet = static_cast<uint8_t>((x = x * 1664525 + 1013904223) >> 24);
#endif
  return octets;
}

// From payloads, as the peers: codes are unpacked as the engine does it.
void add_ours(std::vector<Contender> &all, const char *setting, const G726Kernel *kernel,
              const std::shared_ptr<Packets> &packets) {
  const auto lanes = static_cast<size_t>(kernel->lanes);
  const size_t groups = (packets->count + lanes - 1) / lanes;
  const size_t stride = (kernel->state_bytes + 63) / 64 * 64;
  std::shared_ptr<unsigned char> states(static_cast<unsigned char *>(std::aligned_alloc(64, groups * stride)),
                                        std::free);
  for (size_t i = 0; i < groups * lanes; ++i) {
    kernel->reset(states.get() + i / lanes * stride, static_cast<int>(i % lanes));
  }
  all.push_back(
      {cr_isa_name(kernel->isa), "ours", setting, static_cast<double>(packets->count * kSamples), [=] {
         uint8_t codes[64][kSamples];
         const uint8_t *from[64] = {};
         int16_t *pcm[64] = {};
         for (size_t group = 0; group < groups; ++group) {
           for (size_t lane = 0; lane < lanes; ++lane) {
             const size_t stream = group * lanes + lane;
             from[lane] = nullptr;
             if (stream < packets->count) {
               callreplay::unpack_g726(packets->packet(stream), 0, kSamples, kBits, false, codes[lane]);
               from[lane] = codes[lane];
               pcm[lane] = packets->out(stream);
             }
           }
           kernel->decode(states.get() + group * stride, kBits, from, pcm, kSamples);
         }
         packets->next();
       }});
}

#ifdef HAVE_SPANDSP
void add_spandsp(std::vector<Contender> &all, const char *setting, const std::shared_ptr<Packets> &packets) {
  std::vector<std::shared_ptr<g726_state_t>> states;
  for (size_t i = 0; i < packets->count; ++i) {
    states.emplace_back(g726_init(nullptr, 32000, G726_ENCODING_LINEAR, G726_PACKING_RIGHT), g726_free);
  }
  all.push_back({"spandsp", "peer", setting, static_cast<double>(packets->count * kSamples), [=] {
                   for (size_t i = 0; i < packets->count; ++i) {
                     g726_decode(states[i].get(), packets->out(i), packets->packet(i),
                                 static_cast<int>(kOctets));
                   }
                   packets->next();
                 }});
}
#endif

std::vector<Contender> contenders(const bench::Context &context) {
  std::vector<Contender> all;
  const std::vector<uint8_t> coded = code(context.speech8);
  for (const char *setting : {"batch", "alone"}) {
    const bool batch = std::strcmp(setting, "batch") == 0;
    const auto packets = std::make_shared<Packets>(coded, batch ? context.streams : 1, kOctets, kSamples);
    for (const cr_isa isa : {CR_ISA_SCALAR, CR_ISA_BASELINE, CR_ISA_NEON, CR_ISA_AVX2, CR_ISA_AVX512}) {
      const G726Kernel *kernel = callreplay::g726_kernel(isa);
      if (kernel != nullptr && (batch || isa == CR_ISA_SCALAR)) add_ours(all, setting, kernel, packets);
    }
#ifdef HAVE_SPANDSP
    add_spandsp(all, setting, packets);
#endif
#ifdef HAVE_LIBAVCODEC
    bench::add_libavcodec(all, setting, AV_CODEC_ID_ADPCM_G726LE, 8000, packets, kBits);
#endif
  }
  return all;
}

const bench::Registered registered({"g726", contenders});

}  // namespace
