#include <new>
#include <vector>

#include "callreplay/raster.h"
#include "raster/extremes.h"

namespace callreplay {

namespace baseline {
void extremes(Extremes *, const int16_t *, size_t, int);
}
#ifdef CR_X86
namespace avx2 {
void extremes(Extremes *, const int16_t *, size_t, int);
}
namespace avx512 {
void extremes(Extremes *, const int16_t *, size_t, int);
}
#endif
#ifdef CR_AARCH64
namespace neon {
void extremes(Extremes *, const int16_t *, size_t, int);
}
#endif

ExtremesKernel extremes_kernel(cr_isa isa) {
  switch (isa) {
#ifdef CR_X86
    case CR_ISA_AVX2:
      return avx2::extremes;
    case CR_ISA_AVX512:
      return avx512::extremes;
#endif
#ifdef CR_AARCH64
    case CR_ISA_NEON:
      return neon::extremes;
#endif
    default:
      return baseline::extremes;
  }
}

}  // namespace callreplay

using callreplay::Extremes;

struct cr_peaks {
  int channels;
  uint64_t frames_per_bucket;  // 0: fit total_frames into `buckets`
  uint64_t total_frames;
  uint64_t buckets;
  uint64_t position = 0;  // frames taken so far
  uint64_t bucket = 0;    // the one being filled
  uint64_t boundary = 0;  // first frame of the next one
  callreplay::ExtremesKernel kernel = nullptr;
  std::vector<cr_peak> data;

  uint64_t start_of(uint64_t index) const {
    if (frames_per_bucket != 0) {
      return index * frames_per_bucket;
    }
    // index <= 2^24 and total_frames <= 2^39 (checked at creation): the product stays below 2^64.
    return index * total_frames / buckets;
  }

  void open_bucket() { data.resize(data.size() + channels, cr_peak{INT16_MAX, INT16_MIN, 0, 0, 0}); }

  // Move to the bucket that holds frame `position`, leaving those that hold none empty.
  void advance() {
    while (position >= boundary && (frames_per_bucket != 0 || bucket + 1 < buckets)) {
      ++bucket;
      boundary = start_of(bucket + 1);
      if (data.size() <= bucket * channels) {
        open_bucket();
      }
    }
  }
};

namespace {

constexpr uint64_t kMaxTotalFrames = uint64_t{1} << 39;
constexpr uint32_t kMaxBuckets = uint32_t{1} << 24;

cr_status create(uint32_t channels, uint64_t per_bucket, uint64_t total, uint64_t buckets, cr_peaks **out) {
  auto *peaks = new (std::nothrow)
      cr_peaks{static_cast<int>(channels), per_bucket, total, buckets, 0, 0, 0, nullptr, {}};
  if (peaks == nullptr) {
    return CR_MEMORY;
  }
  peaks->boundary = peaks->start_of(1);
  peaks->kernel = callreplay::extremes_kernel(cr_isa_active());
  try {
    // A picture has all its columns, whatever comes.
    peaks->data.resize(static_cast<size_t>(buckets) * channels, cr_peak{INT16_MAX, INT16_MIN, 0, 0, 0});
  } catch (const std::bad_alloc &) {
    delete peaks;
    return CR_MEMORY;
  }
  *out = peaks;
  return CR_OK;
}

}  // namespace

extern "C" {

cr_status cr_peaks_create(uint32_t channels, uint64_t frames_per_bucket, cr_peaks **out) {
  if (out == nullptr || channels == 0 || channels > callreplay::kMaxChannels || frames_per_bucket == 0 ||
      frames_per_bucket > (uint64_t{1} << 32)) {
    return CR_ARGUMENT;
  }
  *out = nullptr;
  return create(channels, frames_per_bucket, 0, 0, out);
}

cr_status cr_peaks_create_fit(uint32_t channels, uint64_t total_frames, uint32_t buckets, cr_peaks **out) {
  if (out == nullptr || channels == 0 || channels > callreplay::kMaxChannels || buckets == 0 ||
      buckets > kMaxBuckets || total_frames > kMaxTotalFrames) {
    return CR_ARGUMENT;
  }
  *out = nullptr;
  return create(channels, 0, total_frames, buckets, out);
}

void cr_peaks_destroy(cr_peaks *peaks) {
  delete peaks;
}

cr_status cr_peaks_write(cr_peaks *peaks, const int16_t *pcm, size_t frames) {
  if (peaks == nullptr || (pcm == nullptr && frames != 0)) {
    return CR_ARGUMENT;
  }
  try {
    while (frames != 0) {
      if (peaks->data.empty()) {
        peaks->open_bucket();
      }
      peaks->advance();
      const bool last = peaks->frames_per_bucket == 0 && peaks->bucket + 1 == peaks->buckets;
      const uint64_t room = last ? frames : peaks->boundary - peaks->position;
      const size_t take = room < frames ? static_cast<size_t>(room) : frames;
      Extremes run;
      for (int c = 0; c < peaks->channels; ++c) {
        run.low[c] = INT16_MAX;
        run.high[c] = INT16_MIN;
        run.energy[c] = 0;
      }
      peaks->kernel(&run, pcm, take, peaks->channels);
      cr_peak *into = peaks->data.data() + peaks->bucket * peaks->channels;
      for (int c = 0; c < peaks->channels; ++c) {
        into[c].low = run.low[c] < into[c].low ? run.low[c] : into[c].low;
        into[c].high = run.high[c] > into[c].high ? run.high[c] : into[c].high;
        into[c].energy += run.energy[c];
        into[c].count += take;
      }
      peaks->position += take;
      pcm += take * peaks->channels;
      frames -= take;
    }
  } catch (const std::bad_alloc &) {
    return CR_MEMORY;
  }
  return CR_OK;
}

size_t cr_peaks_count(const cr_peaks *peaks) {
  return peaks == nullptr ? 0 : peaks->data.size() / static_cast<size_t>(peaks->channels);
}

const cr_peak *cr_peaks_data(const cr_peaks *peaks) {
  return peaks == nullptr ? nullptr : peaks->data.data();
}

}  // extern "C"
