// Runs of frames that lanes take one after the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <vector>

#include "encode/speex/kernel.h"
#include "encode/speex/vbr.h"
#include "lanes/plan.h"

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

// The kernels at hand: the first codes a stream alone, the others one a lane.
using Kernels = std::vector<const SpeexKernel *>;

// The plan of this process for the kernels of every instruction set up to cr_isa_active(), measured at
// the first call.
const LanePlan &measured_plan();

// Kernels with the memory they work in. The jobs of a run go through those that cost least for as many as are
// left, and move to others when some have ended.
class Engine {
 public:
  // All kernels, by the measured plan.
  Engine();
  // Those of one instruction set, two jobs or more in lanes. For tests.
  explicit Engine(cr_isa isa);
  // `plan` has the kernels' lanes as its widths.
  Engine(Kernels kernels, std::optional<LanePlan> plan);

  // Codes all jobs, which share the options. May reorder the list.
  void run(const RateOptions &options, std::vector<Job> &jobs);

  size_t state_floats() const { return kernels_[0]->state_floats; }
  void reset(float *state) const { kernels_[0]->reset(state, 0); }

 private:
  struct Lane {
    Job *job = nullptr;
    size_t frame = 0;
    const int16_t *pcm = nullptr;
  };

  void run_single(const RateOptions &options, const Lane &from);
  void run_lanes(const RateOptions &options, std::vector<Job> &jobs);
  void seat(const SpeexKernel &kernel);
  void unseat(const SpeexKernel &kernel);
  void code_round(const SpeexKernel &kernel, const RateOptions &options, float *state,
                  const std::vector<Lane> &lanes);
  void pack(int lanes, int lane, const Job &job, size_t frame);

  Kernels kernels_;
  std::optional<LanePlan> plan_;  // none: the measured one
  AlignedArray<float> group_;
  AlignedArray<char> scratch_;
  AlignedArray<int32_t> values_;
  FrameFields fields_;
  std::vector<uint8_t> active_;
  std::vector<FrameMode> modes_;
  std::vector<const int16_t *> pointers_;
  std::vector<Lane> lanes_;
  std::vector<Lane> queue_;  // jobs without a lane, the next to be seated last
};

}  // namespace callreplay::speex
