// Which kernels a number of waiting streams goes through. Every instruction set up to the chosen one is at
// hand, each with its number of lanes; a call of a kernel costs much the same however many of them are used.
// So 16 streams go through 16 lanes, two through one lane twice or through four lanes, by what costs less.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <vector>

#include "callreplay/isa.h"

namespace callreplay {

class LanePlan {
 public:
  struct Width {
    size_t lanes;
    double full;     // what one call costs, in any unit
    double partial;  // and where some lanes idle, which keep their state
    double cost(size_t used) const { return used >= lanes ? full : partial; }
  };

  // At least one width.
  explicit LanePlan(std::vector<Width> widths);

  // Of the cheapest calls that take n streams, n >= 0.
  double cost(size_t n) const;
  // The width of one of them; the others take what it leaves.
  size_t first(size_t n) const;
  // Lanes of the width that costs least per lane: so many streams are taken for least.
  size_t bulk() const { return widths_[bulk_].lanes; }
  const std::vector<Width> &widths() const { return widths_; }

 private:
  struct Best {
    double cost;
    size_t first;
  };

  std::vector<Width> widths_;
  size_t bulk_ = 0;          // the width that costs least per lane
  std::vector<Best> table_;  // by streams, as far as anything but bulk_ may come first
};

// The kernels that take part: those of every instruction set up to cr_isa_active(), one of each width.
template <class Kernel>
std::vector<const Kernel *> kernels_at_hand(const Kernel *(*of)(cr_isa)) {
  std::vector<const Kernel *> kernels;
  for (int isa = CR_ISA_SCALAR; isa <= cr_isa_active(); ++isa) {
    const Kernel *kernel = of(static_cast<cr_isa>(isa));
    if (kernel == nullptr) {
      continue;
    }
    // A later set of the same width is the better one, but for the scalar law.
    if (kernels.size() > 1 && kernels.back()->lanes == kernel->lanes) {
      kernels.back() = kernel;
    } else if (kernels.empty() || kernel->lanes > 1) {
      kernels.push_back(kernel);
    }
  }
  return kernels;
}

// What each of `runs` takes on this machine in ns: the least of many calls, in turns, so that what disturbs
// one disturbs all; and after the processor has had time to raise the clock of its wide units.
std::vector<double> measured_ns(const std::vector<std::function<void()>> &runs, int rounds);

}  // namespace callreplay
