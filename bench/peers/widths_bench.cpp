// 1 to 32 streams through each set alone and through what the engine chooses for so many: the choice must be about as
// quick as the best of them.
#include <string>

#include "bench.h"
#include "conveyor/conveyor.h"
#include "encode/speex/jobs.h"
#include "legs.h"

namespace {

using namespace callreplay;
using bench::Contender;
using callreplay::test::MadeLeg;

constexpr size_t kStreams[] = {1, 2, 3, 4, 8, 16, 24, 32};
constexpr int kPackets = 50;

std::vector<MadeLeg> legs_of(cr_codec codec, size_t streams) {
  std::vector<MadeLeg> legs(streams);
  test::Random random{streams};
  for (MadeLeg &leg : legs) {
    const size_t octets = codec == CR_CODEC_G729 ? 20 : codec == CR_CODEC_G726 ? 80 : 160;
    for (int packet = 0; packet < kPackets; ++packet) {
      leg.packet(160 * packet, test::noise_payload(random, octets));
    }
    leg.span(codec, 8000, codec == CR_CODEC_G722 ? 16000 : 8000, 160 * kPackets,
             codec == CR_CODEC_G726 ? 4 : 0);
  }
  return legs;
}

void decode(Conveyor &conveyor, const std::vector<MadeLeg> &legs) {
  std::vector<cr_leg> views;
  for (const MadeLeg &leg : legs) views.push_back(leg.view());
  std::vector<uint32_t> running;
  for (const cr_leg &view : views) {
    const auto budget = static_cast<uint32_t>(view.spans[0].sample_rate_hz / 5);
    running.push_back(conveyor.open(view, 0, budget, 0, int64_t{1} << 60));
  }
  while (!running.empty()) {
    for (const uint32_t slot : running) conveyor.want(slot);
    conveyor.step();
    std::erase_if(running, [&](uint32_t slot) {
      const bool done = conveyor.cursor(slot).done();
      if (done) conveyor.close(slot);
      return done;
    });
  }
}

template <class Kernel>
Choice<Kernel> only(const Kernel *kernel) {
  return {{kernel}, LanePlan({{static_cast<size_t>(kernel->lanes), 1.0, 1.0}}), 0.0};
}

// Of kernels that another codec does not use, any will do: a conveyor of this set alone, or of all.
template <cr_codec kCodec>
std::vector<Contender> decoders(const bench::Context &) {
  std::vector<Contender> all;
  for (const size_t streams : kStreams) {
    const auto legs = std::make_shared<std::vector<MadeLeg>>(legs_of(kCodec, streams));
    const double samples = static_cast<double>(streams) * kPackets * (kCodec == CR_CODEC_G722 ? 320 : 160);
    const std::string setting = std::to_string(streams) + " streams";
    for (int isa = CR_ISA_SCALAR; isa <= cr_isa_active(); ++isa) {
      const auto set = static_cast<cr_isa>(isa);
      if (!cr_isa_available(set)) continue;
      const auto g722 = std::make_shared<Choice<G722Kernel>>(only(g722_kernel(set)));
      const auto g726 = std::make_shared<Choice<G726Kernel>>(only(g726_kernel(set)));
      const auto g729 = std::make_shared<Choice<G729Kernel>>(only(g729_kernel(set)));
      all.push_back({cr_isa_name(set), "ours", setting, samples, [=] {
                       Conveyor conveyor(*g722, *g726, *g729);
                       decode(conveyor, *legs);
                     }});
    }
    all.push_back({"chosen", "ours", setting, samples, [=] {
                     Conveyor conveyor;
                     decode(conveyor, *legs);
                   }});
  }
  return all;
}

template <bool kWideband>
std::vector<Contender> speex_encoders(const bench::Context &context) {
  constexpr size_t kFrame = kWideband ? speex::kWidebandFrame : speex::kNarrowbandFrame;
  constexpr size_t kFrames = 25;
  const std::vector<int16_t> &speech = kWideband ? context.speech16 : context.speech8;
  const auto encode = [speech](speex::Engine &engine, size_t streams) {
    std::vector<speex::AlignedArray<float>> states;
    std::vector<speex::RateControl> controls(streams);
    std::vector<speex::Packets> packets(streams);
    std::vector<speex::Job> jobs;
    for (size_t i = 0; i < streams; ++i) {
      states.push_back(speex::make_aligned<float>(engine.state_floats()));
      engine.reset(states.back().get());
      const size_t from = i * 997 % (speech.size() - kFrames * kFrame);
      jobs.push_back({states.back().get(), &controls[i], speech.data() + from, kFrames, 0, &packets[i]});
    }
    engine.run(speex::RateOptions{kWideband, 8, false, false, false}, jobs);
  };
  std::vector<Contender> all;
  for (const size_t streams : kStreams) {
    const double samples = static_cast<double>(streams * kFrames * kFrame);
    const std::string setting = std::to_string(streams) + " streams";
    for (int isa = CR_ISA_SCALAR; isa <= cr_isa_active(); ++isa) {
      const auto set = static_cast<cr_isa>(isa);
      if (!cr_isa_available(set)) continue;
      const auto engine = std::make_shared<speex::Engine>(set);
      all.push_back({cr_isa_name(set), "ours", setting, samples, [=] { encode(*engine, streams); }});
    }
    const auto engine = std::make_shared<speex::Engine>();
    all.push_back({"chosen", "ours", setting, samples, [=] { encode(*engine, streams); }});
  }
  return all;
}

const bench::Registered registered[] = {
    bench::Registered({"g722 widths", decoders<CR_CODEC_G722>}),
    bench::Registered({"g726 widths", decoders<CR_CODEC_G726>}),
    bench::Registered({"g729 widths", decoders<CR_CODEC_G729>}),
    bench::Registered({"speex nb widths", speex_encoders<false>}),
    bench::Registered({"speex wb widths", speex_encoders<true>}),
};

}  // namespace
