// callreplay._core.Leg: a checked cr_leg and the arrays that it looks at.
#pragma once

#include <string>
#include <vector>

#include "bind.h"

template <class T>
using Column = py::array_t<T, py::array::c_style>;

// The arrays live exactly as long as native code may look at them: handles hold on to their Legs.
class NativeLeg {
 public:
  // A row per span: codec, clock rate, sample rate, mode, first, stop, end tick, anchor, drift in
  // ppb, seed, PCM.
  NativeLeg(const Column<uint8_t> &data, const Column<uint8_t> &spill, const Column<int64_t> &offset,
            const Column<uint16_t> &size, const Column<int64_t> &timestamp, const Column<int64_t> &sequence,
            const Column<uint8_t> &flags, const py::list &spans, const Column<int32_t> &gap_span,
            const Column<int64_t> &gap_start, const Column<int64_t> &gap_ticks,
            const Column<uint8_t> &gap_reason);

  const cr_leg *view() const { return &view_; }

 private:
  std::vector<py::object> held_;
  std::vector<cr_span> spans_;
  cr_leg view_{};
};

py::tuple counts_tuple(const cr_leg_counts &counts);
py::dict occupancy_dict(const cr_occupancy &occupancy);
