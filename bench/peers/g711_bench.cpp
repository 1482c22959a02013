#include <cstring>

#include "bench.h"
#include "decode/kernels.h"
#include "encode/g711/kernels.h"
#include "libavcodec_peer.h"

#ifdef HAVE_SPANDSP
extern "C" {
#include <spandsp.h>
}
#endif

namespace {

using bench::Contender;
using bench::Packets;
using callreplay::G711Kernel;

constexpr size_t kOctets = 160;

std::vector<Contender> contenders(const bench::Context &context, bool ulaw) {
  std::vector<uint8_t> coded(context.speech8.size());
  const callreplay::G711Encoder *scalar = callreplay::g711_encoder_kernel(CR_ISA_SCALAR);
  (ulaw ? scalar->ulaw : scalar->alaw)(context.speech8.data(), coded.data(), coded.size());
  const auto packets = std::make_shared<Packets>(coded, context.streams, kOctets, kOctets);
  const auto samples = static_cast<double>(packets->count * kOctets);

  std::vector<Contender> all;
  for (const cr_isa isa : {CR_ISA_SCALAR, CR_ISA_BASELINE, CR_ISA_NEON, CR_ISA_AVX2, CR_ISA_AVX512}) {
    const G711Kernel *kernel = callreplay::g711_kernel(isa);
    if (kernel == nullptr) continue;
    const auto decode = ulaw ? kernel->decode_ulaw : kernel->decode_alaw;
    all.push_back({cr_isa_name(isa), "ours", "batch", samples, [=] {
                     for (size_t i = 0; i < packets->count; ++i)
                       decode(packets->packet(i), packets->out(i), kOctets);
                     packets->next();
                   }});
  }
  // Memory speed: the payload is read and as many octets as the PCM has are written, with nothing between.
  all.push_back({"copy", "reference", "batch", samples, [=] {
                   for (size_t i = 0; i < packets->count; ++i) {
                     auto *to = reinterpret_cast<unsigned char *>(packets->out(i));
                     std::memcpy(to, packets->packet(i), kOctets);
                     std::memcpy(to + kOctets, packets->packet(i), kOctets);
                   }
                   packets->next();
                 }});
#ifdef HAVE_SPANDSP
  std::shared_ptr<g711_state_t> state(g711_init(nullptr, ulaw ? G711_ULAW : G711_ALAW), g711_free);
  all.push_back({"spandsp", "peer", "batch", samples, [=] {
                   for (size_t i = 0; i < packets->count; ++i) {
                     g711_decode(state.get(), packets->out(i), packets->packet(i), static_cast<int>(kOctets));
                   }
                   packets->next();
                 }});
#endif
#ifdef HAVE_LIBAVCODEC
  bench::add_libavcodec(all, "batch", ulaw ? AV_CODEC_ID_PCM_MULAW : AV_CODEC_ID_PCM_ALAW, 8000, packets);
#endif
  return all;
}

std::vector<Contender> ulaw(const bench::Context &context) {
  return contenders(context, true);
}
std::vector<Contender> alaw(const bench::Context &context) {
  return contenders(context, false);
}

const bench::Registered registered_ulaw({"g711u", ulaw});
const bench::Registered registered_alaw({"g711a", alaw});

}  // namespace
