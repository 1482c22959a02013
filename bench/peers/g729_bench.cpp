// G.729 decoders on one core, CPU time, in one run: callreplay's kernels with many streams and with one, and
// bcg729.
//
//   g729_bench [--streams N] [--frames N] [--repeats N] [--only NAME] SERIAL.BIT...
//
// The streams are the ITU serial files given, each stream starting at another place; frames are handed over
// as packets of 20 ms (two frames of 10 octets from a packet buffer of its own), PCM is written to one buffer
// a stream, so all gathering and scattering of octets and samples is inside the measured time. Prints one
// JSON object.
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "decode/kernels.h"

extern "C" {
#include <bcg729/decoder.h>
}

namespace {

using callreplay::G729Frame;
using callreplay::G729Kernel;

struct Frame {
  uint8_t octets[10];
  G729Frame::Type type;
};

constexpr int kFrameSamples = 80, kFramesPerPacket = 2;

double cpu_seconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

std::vector<Frame> read_serial(const char *path) {
  std::vector<Frame> frames;
  std::FILE *file = std::fopen(path, "rb");
  if (file == nullptr) {
    std::fprintf(stderr, "g729_bench: cannot read %s\n", path);
    std::exit(2);
  }
  uint16_t head[2];
  while (std::fread(head, 2, 2, file) == 2) {
    std::vector<uint16_t> bits(head[1]);
    if (std::fread(bits.data(), 2, bits.size(), file) != bits.size()) {
      break;
    }
    Frame frame{};
    frame.type = bits.size() == 80   ? G729Frame::kSpeech
                 : bits.size() == 16 ? G729Frame::kSid
                                     : G729Frame::kUntransmitted;
    for (size_t i = 0; i < bits.size() && i < 80; ++i) {
      frame.octets[i / 8] =
          static_cast<uint8_t>(frame.octets[i / 8] | (bits[i] == 0x81 ? 0x80 >> (i % 8) : 0));
    }
    frames.push_back(frame);
  }
  std::fclose(file);
  return frames;
}

struct Job {
  std::vector<std::vector<Frame>> sources;
  int streams = 4096;
  int frames = 100;  // of each stream
  int repeats = 3;
  const char *only = nullptr;

  const Frame &frame(int stream, int f) const {
    const std::vector<Frame> &source = sources[static_cast<size_t>(stream) % sources.size()];
    const size_t start = static_cast<size_t>(stream) * 7919;
    return source[(start + static_cast<size_t>(f)) % source.size()];
  }
};

// What decoding needs, laid out before the clock starts: every stream's packets, and room for its PCM.
struct Material {
  explicit Material(const Job &job, int streams, int frames)
      : octets(static_cast<size_t>(streams) * frames),
        pcm(static_cast<size_t>(streams) * kFramesPerPacket * 80) {
    for (int s = 0; s < streams; ++s) {
      for (int f = 0; f < frames; ++f) {
        octets[static_cast<size_t>(s) * frames + f] = job.frame(s, f);
      }
    }
  }
  std::vector<Frame> octets;
  std::vector<int16_t> pcm;
};

struct AlignedFree {
  void operator()(void *p) const { std::free(p); }
};

// Nanoseconds a frame and stream.
double run_kernel(const G729Kernel &kernel, Material &material, int streams, int frames) {
  const int groups = (streams + kernel.lanes - 1) / kernel.lanes;
  const size_t stride = (kernel.state_bytes + 63) / 64 * 64;
  std::unique_ptr<uint8_t, AlignedFree> states(
      static_cast<uint8_t *>(std::aligned_alloc(64, stride * groups)));
  for (int g = 0; g < groups; ++g) {
    for (int lane = 0; lane < kernel.lanes; ++lane) {
      kernel.reset(states.get() + stride * g, lane);
    }
  }
  std::vector<G729Frame> views(kernel.lanes);
  std::vector<int16_t *> pcm(kernel.lanes);
  const double start = cpu_seconds();
  for (int f = 0; f < frames; f += kFramesPerPacket) {
    for (int g = 0; g < groups; ++g) {
      for (int part = 0; part < kFramesPerPacket; ++part) {
        for (int lane = 0; lane < kernel.lanes; ++lane) {
          const int s = g * kernel.lanes + lane;
          if (s >= streams) {
            views[lane] = {nullptr, G729Frame::kIdle, false};
            continue;
          }
          const Frame &frame = material.octets[static_cast<size_t>(s) * frames + f + part];
          views[lane] = {frame.octets, frame.type, false};
          pcm[lane] = &material.pcm[(static_cast<size_t>(s) * kFramesPerPacket + part) * kFrameSamples];
        }
        kernel.decode(states.get() + stride * g, views.data(), pcm.data());
      }
    }
  }
  return (cpu_seconds() - start) * 1e9 / (static_cast<double>(frames) * streams);
}

double run_bcg729(Material &material, int streams, int frames) {
  std::vector<bcg729DecoderChannelContextStruct *> decoders(streams);
  for (auto &decoder : decoders) {
    decoder = initBcg729DecoderChannel();
  }
  const double start = cpu_seconds();
  for (int f = 0; f < frames; f += kFramesPerPacket) {
    for (int s = 0; s < streams; ++s) {
      for (int part = 0; part < kFramesPerPacket; ++part) {
        const Frame &frame = material.octets[static_cast<size_t>(s) * frames + f + part];
        const bool speech = frame.type == G729Frame::kSpeech, sid = frame.type == G729Frame::kSid;
        int16_t *pcm = &material.pcm[(static_cast<size_t>(s) * kFramesPerPacket + part) * kFrameSamples];
        bcg729Decoder(decoders[s], frame.octets, speech ? 10 : sid ? 2 : 0, !speech && !sid, sid, 0, pcm);
      }
    }
  }
  const double spent = cpu_seconds() - start;
  for (auto *decoder : decoders) {
    closeBcg729DecoderChannel(decoder);
  }
  return spent * 1e9 / (static_cast<double>(frames) * streams);
}

struct Row {
  std::string name;
  const G729Kernel *kernel;  // null: bcg729
  int streams;
  double ns = 1e300;
};

int usage() {
  std::fprintf(stderr,
               "usage: g729_bench [--streams N] [--frames N] [--repeats N] [--only NAME] SERIAL.BIT...\n");
  return 2;
}

}  // namespace

int main(int argc, char **argv) {
  Job job;
  for (int i = 1; i < argc; ++i) {
    int *option = std::strcmp(argv[i], "--streams") == 0   ? &job.streams
                  : std::strcmp(argv[i], "--frames") == 0  ? &job.frames
                  : std::strcmp(argv[i], "--repeats") == 0 ? &job.repeats
                                                           : nullptr;
    if (std::strcmp(argv[i], "--only") == 0 && i + 1 < argc) {
      job.only = argv[++i];
    } else if (option != nullptr) {
      if (++i == argc || (*option = std::atoi(argv[i])) <= 0) {
        return usage();
      }
    } else {
      job.sources.push_back(read_serial(argv[i]));
      if (job.sources.back().empty()) {
        job.sources.pop_back();
      }
    }
  }
  if (job.sources.empty()) {
    return usage();
  }
  job.frames = (job.frames + kFramesPerPacket - 1) / kFramesPerPacket * kFramesPerPacket;

  std::vector<Row> rows;
  rows.push_back({"bcg729", nullptr, job.streams});
  rows.push_back({"bcg729", nullptr, 1});
  rows.push_back({"scalar", callreplay::g729_kernel(CR_ISA_SCALAR), 1});
  for (cr_isa isa : {CR_ISA_SCALAR, CR_ISA_BASELINE, CR_ISA_NEON, CR_ISA_AVX2, CR_ISA_AVX512}) {
    if (const G729Kernel *kernel = callreplay::g729_kernel(isa); kernel != nullptr) {
      rows.push_back({cr_isa_name(isa), kernel, job.streams});
    }
  }
  if (job.only != nullptr) {
    std::erase_if(rows, [&job](const Row &row) { return row.name != job.only; });
  }
  const int one_frames = job.frames * std::max(1, std::min(job.streams, 64));
  Material many(job, job.streams, job.frames), one(job, 1, one_frames);
  for (int repeat = 0; repeat < job.repeats; ++repeat) {
    for (Row &row : rows) {
      Material &material = row.streams == 1 ? one : many;
      const int frames = row.streams == 1 ? one_frames : job.frames;
      row.ns = std::min(row.ns, row.kernel != nullptr ? run_kernel(*row.kernel, material, row.streams, frames)
                                                      : run_bcg729(material, row.streams, frames));
    }
  }

  std::printf("{\"codec\": \"g729\", \"streams\": %d, \"frames\": %d, \"repeats\": %d, \"rows\": [\n",
              job.streams, job.frames, job.repeats);
  for (size_t i = 0; i < rows.size(); ++i) {
    const Row &row = rows[i];
    const auto peer = std::find_if(rows.begin(), rows.end(), [&row](const Row &other) {
      return other.kernel == nullptr && other.streams == row.streams;
    });
    const double ratio = peer == rows.end() ? 0 : peer->ns / row.ns;
    std::printf(
        "  {\"decoder\": \"%s\", \"streams\": %d, \"lanes\": %d, \"ns_per_frame\": %.1f, \"times_bcg729\": "
        "%.2f}%s\n",
        row.name.c_str(), row.streams, row.kernel != nullptr ? row.kernel->lanes : 1, row.ns, ratio,
        i + 1 < rows.size() ? "," : "");
  }
  std::printf("]}\n");
  return 0;
}
