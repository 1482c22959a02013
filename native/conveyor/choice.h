// The kernels of one codec that are at hand, what they cost here, and so which of them to take.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <vector>

#include "decode/kernels.h"
#include "lanes/plan.h"

namespace callreplay {

// Zeroed memory aligned to 64 octets.
class AlignedState {
 public:
  explicit AlignedState(size_t bytes);
  void *get() const { return memory_.get(); }

 private:
  struct Free {
    void operator()(void *memory) const { ::operator delete (memory, std::align_val_t{64}); }
  };
  std::unique_ptr<void, Free> memory_;
};

template <class Kernel>
struct Choice {
  std::vector<const Kernel *> kernels;  // as the widths of the plan
  LanePlan plan;   // costs in ns of a call: a frame of G.729, kG722Octets of G.722, kG726Codes of G.726
  double move_ns;  // from a lane to another
};

// Of one lane's state on its way from lane to lane.
template <class Kernel>
size_t state_words(const Kernel &kernel) {
  return (kernel.stream_bytes + 7) / 8;
}

// A choice at hand, or one to be measured when it is first asked for: a call of one codec waits for no other's.
template <class Kernel>
class ChoiceOf {
 public:
  using Measured = const Choice<Kernel> &();
  ChoiceOf(const Choice<Kernel> &choice) : choice_(&choice) {}
  ChoiceOf(Measured &measured) : measured_(&measured) {}
  const Choice<Kernel> &operator*() const { return choice_ != nullptr ? *choice_ : measured_(); }
  const Choice<Kernel> *operator->() const { return &**this; }

 private:
  const Choice<Kernel> *choice_ = nullptr;
  Measured *measured_ = nullptr;
};

inline constexpr int kG722Octets = 160;
inline constexpr int kG726Codes = 160;
inline constexpr int kMaxLanes = 128;

// What these kernels cost on this machine. Takes about a quarter of a millisecond a kernel.
Choice<G722Kernel> measured(std::vector<const G722Kernel *> kernels);
Choice<G726Kernel> measured(std::vector<const G726Kernel *> kernels);
Choice<G729Kernel> measured(std::vector<const G729Kernel *> kernels);

// Those of the process, of every instruction set up to cr_isa_active(); measured at the first call.
const Choice<G722Kernel> &g722_choice();
const Choice<G726Kernel> &g726_choice();
const Choice<G729Kernel> &g729_choice();

}  // namespace callreplay
