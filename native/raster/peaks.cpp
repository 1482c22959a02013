#include <vector>

#include "callreplay/raster.h"
#include "handle.h"
#include "lanes/kernels.h"
#include "raster/extremes.h"

namespace callreplay {

CR_KERNELS(RasterKernel, raster)

}  // namespace callreplay

using callreplay::Extremes;

constexpr cr_peak kEmpty{INT16_MAX, INT16_MIN, 0, 0, 0};

struct cr_peaks : callreplay::Handle {
  cr_peaks(uint32_t channels_, uint64_t per_bucket, uint64_t total, uint64_t buckets_)
      : channels(channels_),
        frames_per_bucket(per_bucket),
        total_frames(total),
        buckets(buckets_),
        boundary(start_of(1)),
        // A picture has all its columns, whatever comes.
        data(static_cast<size_t>(buckets_) * channels_, kEmpty) {}

  const size_t channels;
  const uint64_t frames_per_bucket;  // 0: fit total_frames into `buckets`
  const uint64_t total_frames;
  const uint64_t buckets;
  uint64_t position = 0;  // frames taken so far
  uint64_t bucket = 0;    // the one being filled
  uint64_t boundary;      // first frame of the next one
  const callreplay::RasterKernel *const kernel = callreplay::raster_kernel(cr_isa_active());
  std::vector<cr_peak> data;

  uint64_t start_of(uint64_t index) const {
    if (frames_per_bucket != 0) {
      return index * frames_per_bucket;
    }
    // index <= 2^24 and total_frames <= 2^39 (checked at creation): the product stays below 2^64.
    return index * total_frames / buckets;
  }

  void open_bucket() { data.resize(data.size() + channels, kEmpty); }

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

  void write(const int16_t *pcm, size_t frames) {
    while (frames != 0) {
      if (data.empty()) {
        open_bucket();
      }
      advance();
      const bool last = frames_per_bucket == 0 && bucket + 1 == buckets;
      const uint64_t room = last ? frames : boundary - position;
      const size_t take = room < frames ? static_cast<size_t>(room) : frames;
      Extremes run;
      for (size_t c = 0; c < channels; ++c) {
        run.low[c] = INT16_MAX;
        run.high[c] = INT16_MIN;
        run.energy[c] = 0;
      }
      kernel->extremes(&run, pcm, take, static_cast<int>(channels));
      cr_peak *into = data.data() + bucket * channels;
      for (size_t c = 0; c < channels; ++c) {
        into[c].low = run.low[c] < into[c].low ? run.low[c] : into[c].low;
        into[c].high = run.high[c] > into[c].high ? run.high[c] : into[c].high;
        into[c].energy += run.energy[c];
        into[c].count += take;
      }
      position += take;
      pcm += take * channels;
      frames -= take;
    }
  }
};

namespace {

constexpr uint64_t kMaxTotalFrames = uint64_t{1} << 39;
constexpr uint32_t kMaxBuckets = uint32_t{1} << 24;

// Any number of samples and channels, one by one.
void pixel(int8_t *out, const int16_t *pcm, size_t frames, uint32_t channels) {
  for (uint32_t c = 0; c < channels; ++c) {
    int16_t low = INT16_MAX;
    int16_t high = INT16_MIN;
    for (size_t i = 0; i < frames; ++i) {
      const int16_t x = pcm[i * channels + c];
      low = x < low ? x : low;
      high = x > high ? x : high;
    }
    *out++ = static_cast<int8_t>(low / 256);
    *out++ = static_cast<int8_t>(high / 256);
  }
}

}  // namespace

extern "C" {

cr_status cr_peaks8(const int16_t *pcm, size_t frames, uint32_t channels, uint32_t frames_per_pixel,
                    int8_t *out) {
  if ((pcm == nullptr || out == nullptr) && frames != 0) {
    return CR_ARGUMENT;
  }
  if (channels == 0 || channels > callreplay::kMaxChannels || frames_per_pixel == 0) {
    return CR_ARGUMENT;
  }
  const size_t samples = size_t{frames_per_pixel} * channels;
  const size_t whole = frames / frames_per_pixel;
  size_t done = 0;
  if (channels <= 2 && samples % callreplay::kPixelBlock == 0) {
    callreplay::raster_kernel(cr_isa_active())->pixels(out, pcm, whole, samples, static_cast<int>(channels));
    done = whole;
  }
  for (; done * frames_per_pixel < frames; ++done) {
    const size_t left = frames - done * frames_per_pixel;
    pixel(out + 2 * channels * done, pcm + samples * done, left < frames_per_pixel ? left : frames_per_pixel,
          channels);
  }
  return CR_OK;
}

cr_status cr_peaks_create(uint32_t channels, uint64_t frames_per_bucket, cr_peaks **out) {
  if (out == nullptr || channels == 0 || channels > callreplay::kMaxChannels || frames_per_bucket == 0 ||
      frames_per_bucket > (uint64_t{1} << 32)) {
    return CR_ARGUMENT;
  }
  *out = nullptr;
  return callreplay::create(out, channels, frames_per_bucket, uint64_t{0}, uint64_t{0});
}

cr_status cr_peaks_create_fit(uint32_t channels, uint64_t total_frames, uint32_t buckets, cr_peaks **out) {
  if (out == nullptr || channels == 0 || channels > callreplay::kMaxChannels || buckets == 0 ||
      buckets > kMaxBuckets || total_frames > kMaxTotalFrames) {
    return CR_ARGUMENT;
  }
  *out = nullptr;
  return callreplay::create(out, channels, uint64_t{0}, total_frames, uint64_t{buckets});
}

void cr_peaks_destroy(cr_peaks *peaks) {
  delete peaks;
}

cr_status cr_peaks_write(cr_peaks *peaks, const int16_t *pcm, size_t frames) {
  if (pcm == nullptr && frames != 0) {
    return CR_ARGUMENT;
  }
  return callreplay::use(peaks, [&](cr_peaks &held) {
    held.write(pcm, frames);
    return CR_OK;
  });
}

size_t cr_peaks_count(const cr_peaks *peaks) {
  size_t count = 0;
  callreplay::use(peaks, [&](const cr_peaks &held) {
    count = held.data.size() / held.channels;
    return CR_OK;
  });
  return count;
}

const cr_peak *cr_peaks_data(const cr_peaks *peaks) {
  const cr_peak *data = nullptr;
  callreplay::use(peaks, [&](const cr_peaks &held) {
    data = held.data.data();
    return CR_OK;
  });
  return data;
}

}  // extern "C"
