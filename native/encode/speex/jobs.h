// Runs of frames that lanes take one after the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "encode/speex/kernel.h"
#include "encode/speex/vbr.h"

namespace callreplay::speex {

struct AlignedFree {
  void operator()(void *p) const { ::operator delete[](p, std::align_val_t{64}); }
};
template <class T>
using AlignedArray = std::unique_ptr<T[], AlignedFree>;
template <class T>
AlignedArray<T> make_aligned(size_t count) {
  return AlignedArray<T>(static_cast<T *>(::operator new[](count * sizeof(T), std::align_val_t{64})));
}

// Coded frames, each padded to whole octets.
struct Packets {
  std::vector<uint8_t> octets;
  std::vector<uint8_t> sizes;

  void clear() {
    octets.clear();
    sizes.clear();
  }
};

// Some frames of one stream, to be coded in order. `skip` frames at the start only warm the state up: their
// packets are dropped, and the first one kept relies on no past excitation.
struct Job {
  float *state;  // state_floats of the stream, [float]
  RateControl *control;
  const int16_t *pcm;
  size_t frames;
  size_t skip;
  Packets *out;
};

// The lanes of one instruction set, with the memory they work in.
class Engine {
 public:
  explicit Engine(cr_isa isa);

  // Codes all jobs, which share the options. May reorder the list.
  void run(const RateOptions &options, std::vector<Job> &jobs);

  size_t state_floats() const { return wide_->state_floats; }
  void reset(float *state) const { single_->reset(state, 0); }

 private:
  struct Lane {
    Job *job = nullptr;
    size_t frame = 0;
    const int16_t *pcm = nullptr;
  };

  void run_single(const RateOptions &options, Job &job, size_t from);
  void run_lanes(const RateOptions &options, std::vector<Job> &jobs);
  void code_round(const SpeexKernel &kernel, const RateOptions &options, float *state,
                  const std::vector<Lane> &lanes);
  void pack(int lanes, int lane, const Job &job, size_t frame);
  void load(size_t lane, const float *state);
  void save(size_t lane, float *state) const;

  const SpeexKernel *wide_;
  const SpeexKernel *single_;
  AlignedArray<float> group_;
  AlignedArray<char> scratch_;
  AlignedArray<int32_t> values_;
  FrameFields fields_;
  std::vector<uint8_t> active_;
  std::vector<FrameMode> modes_;
  std::vector<const int16_t *> pointers_;
  std::vector<Lane> lanes_;
};

}  // namespace callreplay::speex
