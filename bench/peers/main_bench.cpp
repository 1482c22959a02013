// codec_bench --speech16 FILE --speech8 FILE [--streams N] [--repeats N] [--codec NAME] Raw mono int16
// speech. Prints one JSON object; contenders of a codec take turns, the best of the repeats counts.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "bench.h"

namespace bench {

std::vector<Codec> &codecs() {
  static std::vector<Codec> all;
  return all;
}

}  // namespace bench

namespace {

double cpu_seconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Msamples/s of rounds that last at least 60 ms together.
double measure(const bench::Contender &contender) {
  double samples = 0, spent = 0;
  const double start = cpu_seconds();
  do {
    contender.round();
    samples += contender.samples;
    spent = cpu_seconds() - start;
  } while (spent < 0.06);
  return samples / spent * 1e-6;
}

bool read_samples(const char *path, std::vector<int16_t> &samples) {
  std::FILE *file = std::fopen(path, "rb");
  if (file == nullptr) return false;
  int16_t block[4096];
  size_t got;
  while ((got = std::fread(block, sizeof(int16_t), 4096, file)) != 0)
    samples.insert(samples.end(), block, block + got);
  std::fclose(file);
  return samples.size() > 48000;
}

}  // namespace

int main(int argc, char **argv) {
  bench::Context context{{}, {}, 4096};
  int repeats = 7;
  const char *only = nullptr;
  for (int i = 1; i + 1 < argc; i += 2) {
    const char *value = argv[i + 1];
    if (std::strcmp(argv[i], "--streams") == 0) context.streams = std::atoi(value);
    if (std::strcmp(argv[i], "--repeats") == 0) repeats = std::atoi(value);
    if (std::strcmp(argv[i], "--codec") == 0) only = value;
    if (std::strcmp(argv[i], "--speech8") == 0 && !read_samples(value, context.speech8)) return 2;
    if (std::strcmp(argv[i], "--speech16") == 0 && !read_samples(value, context.speech16)) return 2;
  }
  if (context.streams < 1 || repeats < 1 || context.speech8.empty() || context.speech16.empty()) {
    std::fprintf(
        stderr,
        "usage: codec_bench --speech16 FILE --speech8 FILE [--streams N] [--repeats N] [--codec NAME]\n");
    return 2;
  }

  std::printf("{\"streams\": %d, \"rows\": [", context.streams);
  const char *separator = "";
  for (const bench::Codec &codec : bench::codecs()) {
    if (only != nullptr && std::strcmp(only, codec.name) != 0) continue;
    const std::vector<bench::Contender> contenders = codec.contenders(context);
    std::vector<double> best(contenders.size());
    for (int repeat = 0; repeat < repeats; ++repeat) {
      for (size_t i = 0; i < contenders.size(); ++i) {
        const double speed = measure(contenders[i]);
        best[i] = speed > best[i] ? speed : best[i];
      }
    }
    for (size_t i = 0; i < contenders.size(); ++i) {
      const bench::Contender &c = contenders[i];
      std::printf(
          "%s\n{\"codec\": \"%s\", \"name\": \"%s\", \"kind\": \"%s\", \"setting\": \"%s\", "
          "\"msamples_per_s\": %.2f}",
          separator, codec.name, c.name.c_str(), c.kind.c_str(), c.setting.c_str(), best[i]);
      separator = ",";
    }
  }
  std::printf("\n]}\n");
  return 0;
}
