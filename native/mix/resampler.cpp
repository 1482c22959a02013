#include "mix/resampler.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace callreplay {
namespace {

constexpr size_t kPad = 64;  // MixKernel.fir works in blocks of 64
constexpr double kQ48 = 1.0 / static_cast<double>(int64_t{1} << 48);

size_t padded(size_t count) {
  return (count + kPad - 1) / kPad * kPad;
}

}  // namespace

Resampler::Resampler(const MixKernel &kernel, const Placement &placement, int32_t from_hz, int32_t to_hz,
                     size_t capacity)
    : kernel_(kernel),
      placement_(placement),
      taps_(filter_taps(from_hz, to_hz)),
      capacity_(capacity + 2 * taps_),
      input_(capacity_ + 2 * kPad),
      output_(kBlock + kPad) {
  const int64_t divisor = std::gcd(from_hz, to_hz);
  stride_ = from_hz / divisor;
  filters_ = to_hz / divisor;
  exact_ = placement.recurs(filters_, stride_) && stride_ <= Placement::kMaxStride &&
           filters_ <= Placement::kMaxFilters;
  if (!exact_) {
    bank_ = filter_bank(from_hz, to_hz);
    return;
  }
  const auto stride = static_cast<size_t>(stride_);
  const size_t part = taps_ / stride + 1;
  phases_.assign(static_cast<size_t>(filters_) * stride * part, 0.0f);
  std::vector<float> taps(taps_);
  for (int64_t n = 0; n < filters_; ++n) {
    make_filter(from_hz, to_hz, static_cast<double>(placement.at(n).fraction_q48) * kQ48, taps.data());
    for (size_t t = 0; t < taps_; ++t) {
      phases_[(static_cast<size_t>(n) * stride + t % stride) * part + t / stride] = taps[t];
    }
  }
  parts_.resize(static_cast<size_t>(filters_) * stride);
  for (size_t p = 0; p < parts_.size(); ++p) {
    const float *from = phases_.data() + p * part, *to = from + part;
    const auto heard = [](float tap) { return tap != 0.0f; };
    const float *first = std::find_if(from, to, heard);
    while (to > first && !heard(to[-1])) {
      --to;
    }
    parts_[p] = {static_cast<size_t>(first - from), static_cast<size_t>(to - from)};
  }
  split_.resize(stride * (padded(capacity_ / stride + 1) + part + 2 * kPad));
  partial_.resize(2 * kPartial);
}

void Resampler::begin(int64_t sample) {
  running_ = true;
  ended_ = false;
  frame_ = placement_.frame_from(sample);
  zeros_ = 0;
  // The filter of an output reaches taps / 2 - 1 samples back, where there is silence before the run; one
  // more, for by_position() may come out a hair before the sample.
  held_ = taps_ / 2;
  first_ = sample - static_cast<int64_t>(held_);
  std::fill_n(input_.begin(), held_, 0.0f);
}

size_t Resampler::room() const {
  return capacity_ - taps_ - std::min(held_, capacity_ - taps_);
}

void Resampler::push(const int16_t *pcm, size_t count) {
  kernel_.widen(input_.data() + held_, pcm, count);
  held_ += count;
}

void Resampler::end() {
  if (!running_ || ended_) {
    return;
  }
  ended_ = true;
  last_frame_ = placement_.frame_from(next_sample());
  zeros_ = static_cast<int64_t>(taps_ / 2 + 1);
  std::fill_n(input_.begin() + static_cast<ptrdiff_t>(held_), zeros_, 0.0f);
  held_ += static_cast<size_t>(zeros_);
}

// How many of the next `wanted` frames the input reaches. x(n) grows with n, so a bisection on it is exact.
size_t Resampler::ready(size_t wanted) const {
  const int64_t reach = first_ + static_cast<int64_t>(held_) - static_cast<int64_t>(taps_ / 2);
  int64_t stop = frame_ + static_cast<int64_t>(wanted);
  if (ended_) {
    stop = std::min(stop, last_frame_);
  } else if (stop > frame_ && placement_.at(stop - 1).sample >= reach) {
    stop = std::min(stop, placement_.frame_from(reach));
  }
  return static_cast<size_t>(std::max<int64_t>(stop - frame_, 0));
}

size_t Resampler::pull(int16_t *pcm, size_t count) {
  size_t done = 0;
  while (running_ && done < count) {
    const size_t block = ready(std::min(count - done, kBlock));
    if (block > 0) {
      if (exact_) {
        by_phase(block);
      } else {
        by_position(block);
      }
      kernel_.round(pcm + done, output_.data(), block);
      frame_ += static_cast<int64_t>(block);
      done += block;
    }
    if (ended_ && frame_ >= last_frame_) {
      running_ = false;
    } else if (block == 0) {
      break;
    }
  }
  if (running_) {
    forget();
  }
  return done;
}

// The ratio is filters_ : stride_, so every filters_-th frame uses the same taps on input stride_ further on:
// a plain filter over the input's residue classes.
void Resampler::by_phase(size_t count) {
  const auto stride = static_cast<size_t>(stride_);
  const auto filters = static_cast<size_t>(filters_);
  const size_t part = taps_ / stride + 1;
  const auto base =
      static_cast<size_t>(placement_.at(frame_).sample - static_cast<int64_t>(taps_ / 2 - 1) - first_);
  const size_t span = split_.size() / stride;
  const size_t needed = count * stride / filters + taps_ + 2 * stride;
  const size_t have = std::min(needed, held_ - base);
  for (size_t m = 0; stride > 1 && m < std::min(stride, have); ++m) {
    float *to = split_.data() + m * span;
    const float *from = input_.data() + base;
    if (stride == 2) {
      kernel_.every_second(to, from, m, (have - m + 1) / 2);
    } else {
      for (size_t i = m; i < have; i += stride) {
        *to++ = from[i];
      }
    }
  }
  for (size_t residue = 0; residue < std::min(filters, count); ++residue) {
    const int64_t frame = frame_ + static_cast<int64_t>(residue);
    const auto at =
        static_cast<size_t>(placement_.at(frame).sample - static_cast<int64_t>(taps_ / 2 - 1) - first_) -
        base;
    const size_t outputs = (count - residue + filters - 1) / filters;
    const auto phase = static_cast<size_t>(((frame % filters_) + filters_) % filters_);
    float *sums = filters == 1 ? output_.data() : partial_.data() + (filters == 2 ? residue * kPartial : 0);
    std::fill_n(sums, padded(outputs), 0.0f);
    for (size_t m = 0; m < stride; ++m) {
      // Tap t = u * stride + m meets input at + j * stride + t.
      const size_t where = at + m;
      const float *x =
          stride == 1 ? input_.data() + base + where : split_.data() + where % stride * span + where / stride;
      const size_t number = phase * stride + m;
      const Part taps = parts_[number];
      kernel_.fir(sums, x + taps.first, phases_.data() + number * part + taps.first, taps.stop - taps.first,
                  outputs);
    }
    for (size_t j = 0; filters > 2 && j < outputs; ++j) {
      output_[residue + j * filters] = sums[j];
    }
  }
  if (filters == 2) {
    kernel_.zip(output_.data(), partial_.data(), partial_.data() + kPartial, (count + 1) / 2);
  }
}

void Resampler::by_position(size_t count) {
  const int64_t back = static_cast<int64_t>(taps_ / 2 - 1) + first_;
  constexpr int64_t kGrid = 64;
  constexpr uint64_t kMask = (uint64_t{1} << 48) - 1;
  constexpr int kPhaseBits = 9;
  static_assert(FilterBank::kPhases == size_t{1} << kPhaseBits);
  const uint64_t step = placement_.step_q48();
  for (size_t n = 0; n < count;) {
    // Positions are exact on a grid of frames and stepped between, wherever a block begins: the error of 64
    // steps is below 2^-42 of a sample, and the same for every partition into blocks.
    const int64_t frame = frame_ + static_cast<int64_t>(n);
    const int64_t grid = frame - (((frame % kGrid) + kGrid) % kGrid);
    const Placement::Position origin = placement_.at(grid);
    const size_t stop = std::min(count, n + static_cast<size_t>(grid + kGrid - frame));
    uint64_t position = origin.fraction_q48 + step * static_cast<uint64_t>(frame - grid);
    for (; n < stop; ++n, position += step) {
      const int64_t at = origin.sample + static_cast<int64_t>(position >> 48) - back;
      const uint64_t fraction = position & kMask;
      const auto phase = static_cast<size_t>(fraction >> (48 - kPhaseBits));
      const auto rest = static_cast<float>(static_cast<double>((fraction << kPhaseBits) & kMask) * kQ48);
      output_[n] =
          kernel_.lerp_dot(input_.data() + at, bank_->phase(phase), bank_->phase(phase + 1), rest, taps_);
    }
  }
}

// Drop the input that no later frame needs.
void Resampler::forget() {
  const int64_t needed = placement_.at(frame_).sample - static_cast<int64_t>(taps_ / 2 - 1) - 1;
  const int64_t drop = std::clamp<int64_t>(needed - first_, 0, static_cast<int64_t>(held_));
  if (drop == 0) {
    return;
  }
  held_ -= static_cast<size_t>(drop);
  std::memmove(input_.data(), input_.data() + drop, held_ * sizeof(float));
  first_ += drop;
}

}  // namespace callreplay
