#include "checkasm.h"
#include "decode/kernels.h"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavutil/opt.h>
}

using callreplay::G722Kernel;
using checkasm::Pattern;
using checkasm::Random;

namespace {

std::vector<int16_t> decode_libavcodec(const std::vector<uint8_t> &octets, int mode) {
  std::vector<int16_t> pcm;
  AVCodecContext *context = avcodec_alloc_context3(avcodec_find_decoder(AV_CODEC_ID_ADPCM_G722));
  context->sample_rate = 16000;
  context->ch_layout = AV_CHANNEL_LAYOUT_MONO;
  REQUIRE(av_opt_set_int(context->priv_data, "bits_per_codeword", 8 - mode, 0) >= 0);
  REQUIRE(avcodec_open2(context, context->codec, nullptr) >= 0);
  AVPacket *packet = av_packet_alloc();
  AVFrame *frame = av_frame_alloc();
  for (size_t at = 0; at < octets.size(); at += 160) {
    const size_t count = std::min<size_t>(160, octets.size() - at);
    REQUIRE(av_new_packet(packet, static_cast<int>(count)) >= 0);
    std::memcpy(packet->data, octets.data() + at, count);
    REQUIRE(avcodec_send_packet(context, packet) >= 0);
    av_packet_unref(packet);
    while (avcodec_receive_frame(context, frame) >= 0) {
      const auto *samples = reinterpret_cast<const int16_t *>(frame->data[0]);
      pcm.insert(pcm.end(), samples, samples + frame->nb_samples);
    }
  }
  av_frame_free(&frame);
  av_packet_free(&packet);
  avcodec_free_context(&context);
  return pcm;
}

}  // namespace

TEST_CASE("random payloads decode as libavcodec decodes them, at every rate and width") {
  Random random(checkasm::seed());
  constexpr size_t kOctets = 80000;  // ten seconds
  for (int mode = 0; mode < 3; ++mode) {
    std::vector<uint8_t> octets(kOctets);
    checkasm::fill(octets.data(), octets.size(), Pattern::kRandom, random);
    const std::vector<int16_t> expected = decode_libavcodec(octets, mode);
    REQUIRE(expected.size() == 2 * kOctets);
    for (const cr_isa isa : checkasm::available_isas()) {
      const G722Kernel *kernel = callreplay::g722_kernel(isa);
      checkasm::State state(kernel->state_bytes);
      const auto lanes = static_cast<size_t>(kernel->lanes);
      for (size_t lane = 0; lane < lanes; ++lane) kernel->reset(state.data(), static_cast<int>(lane));
      std::vector<std::vector<int16_t>> pcm(lanes, std::vector<int16_t>(2 * kOctets));
      std::vector<const uint8_t *> from(lanes, octets.data());
      std::vector<int16_t *> to;
      for (auto &one : pcm) to.push_back(one.data());
      kernel->decode(state.data(), mode, from.data(), to.data(), static_cast<int>(kOctets));
      for (size_t lane = 0; lane < lanes; ++lane) {
        CHECK_MESSAGE(pcm[lane] == expected, cr_isa_name(isa), " mode ", mode, " lane ", lane);
      }
    }
  }
}
