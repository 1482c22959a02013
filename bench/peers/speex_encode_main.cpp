// speex_encode RATE QUALITY COMPLEXITY FILE: codes raw int16 PCM by libspeex; prints the CPU seconds of the
// best of three runs. The peer of bench/encode.py, never linked into the product.
#include <speex/speex.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

namespace {

double cpu_s() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  const bool wideband = std::atoi(argv[1]) == 16000;
  int quality = std::atoi(argv[2]), complexity = std::atoi(argv[3]);
  std::vector<int16_t> pcm;
  std::FILE *file = std::fopen(argv[4], "rb");
  if (file == nullptr) return 1;
  int16_t block[4096];
  for (size_t n; (n = std::fread(block, 2, 4096, file)) > 0;) pcm.insert(pcm.end(), block, block + n);
  std::fclose(file);
  const size_t frame = wideband ? 320 : 160;
  double best = 1e9;
  size_t octets = 0;
  for (int run = 0; run < 3; ++run) {
    void *encoder = speex_encoder_init(speex_lib_get_mode(wideband ? SPEEX_MODEID_WB : SPEEX_MODEID_NB));
    speex_encoder_ctl(encoder, SPEEX_SET_QUALITY, &quality);
    speex_encoder_ctl(encoder, SPEEX_SET_COMPLEXITY, &complexity);
    SpeexBits bits;
    speex_bits_init(&bits);
    const double begin = cpu_s();
    for (size_t at = 0; at + frame <= pcm.size(); at += frame) {
      int16_t samples[320];
      std::copy_n(pcm.data() + at, frame, samples);
      char packet[256];
      speex_bits_reset(&bits);
      speex_encode_int(encoder, samples, &bits);
      octets += static_cast<size_t>(speex_bits_write(&bits, packet, sizeof packet));
    }
    best = std::min(best, cpu_s() - begin);
    speex_bits_destroy(&bits);
    speex_encoder_destroy(encoder);
  }
  std::printf("%.6f\n", best);
  return octets > 0 ? 0 : 1;
}
