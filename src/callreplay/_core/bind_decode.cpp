#include "held.h"
#include "native_leg.h"

namespace {

cr_span span_row(const py::tuple &row, std::vector<py::object> &held) {
  cr_span span{};
  span.codec = row[0].cast<int32_t>();
  span.clock_rate_hz = row[1].cast<int32_t>();
  span.sample_rate_hz = row[2].cast<int32_t>();
  span.mode = row[3].cast<int32_t>();
  span.first = row[4].cast<int64_t>();
  span.stop = row[5].cast<int64_t>();
  span.end_tick = row[6].cast<int64_t>();
  span.anchor_ns = row[7].cast<int64_t>();
  span.drift_ppb = row[8].cast<int64_t>();
  span.seed = row[9].cast<uint64_t>();
  if (!row[10].is_none()) {
    auto pcm = row[10].cast<Column<int16_t>>();
    span.pcm = pcm.data();
    span.pcm_count = pcm.size();
    held.push_back(std::move(pcm));
  }
  return span;
}

template <class T>
const T *hold(std::vector<py::object> &held, const Column<T> &column) {
  held.push_back(column);
  return column.data();
}

void check(const cr_leg &leg) {
  size_t bad = 0;
  cr_status status;
  {
    py::gil_scoped_release release;
    status = cr_leg_check(&leg, &bad);
  }
  raise_on_error(status, status == CR_BOUNDS ? "row " + std::to_string(bad)
                                             : "span, gap or row " + std::to_string(bad) + " of a leg");
}

class NativeConveyor {
 public:
  NativeConveyor(uint32_t width, uint32_t block_ms) {
    raise_on_error(cr_conveyor_create(width, block_ms, conveyor_.out()), "width or block_ms");
  }

  void add(py::object leg) {
    const auto claim = conveyor_.claim();
    legs_.reserve(legs_.size() + 1);
    raise_on_error(cr_conveyor_add(conveyor_.get(), leg.cast<const NativeLeg &>().view()));
    legs_.push_back(std::move(leg));
  }

  // All samples of the round in one array, and a row per chunk: leg, span, first sample, start in the
  // array, count, kind.
  py::tuple step() {
    const auto claim = conveyor_.claim();
    const cr_chunk *chunks = nullptr;
    size_t count = 0;
    conveyor_.run([&](cr_conveyor *conveyor) { return cr_conveyor_step(conveyor, &chunks, &count); });
    size_t samples = 0;
    for (size_t i = 0; i < count; ++i) {
      samples += chunks[i].count;
    }
    py::array_t<int16_t> pcm(static_cast<py::ssize_t>(samples));
    py::array_t<int64_t> table({static_cast<py::ssize_t>(count), py::ssize_t{6}});
    int16_t *to = pcm.mutable_data();
    int64_t *row = table.mutable_data();
    {
      py::gil_scoped_release release;
      int64_t start = 0;
      for (size_t i = 0; i < count; ++i, row += 6) {
        const cr_chunk &chunk = chunks[i];
        std::copy_n(chunk.pcm, chunk.count, to + start);
        const int64_t values[6] = {chunk.leg, chunk.span, chunk.first_sample, start, chunk.count, chunk.kind};
        std::copy_n(values, 6, row);
        start += chunk.count;
      }
    }
    return py::make_tuple(pcm, table);
  }

  py::tuple counts(uint32_t leg) const {
    const auto claim = conveyor_.claim();
    cr_leg_counts counts;
    raise_on_error(cr_conveyor_counts(conveyor_.get(), leg, &counts), "leg");
    return counts_tuple(counts);
  }

  py::dict occupancy() const {
    const auto claim = conveyor_.claim();
    cr_occupancy occupancy;
    raise_on_error(cr_conveyor_occupancy(conveyor_.get(), &occupancy));
    return occupancy_dict(occupancy);
  }

 private:
  // Declared first, so that the legs outlive the conveyor.
  std::vector<py::object> legs_;
  Held<cr_conveyor, cr_conveyor_destroy> conveyor_;
};

}  // namespace

NativeLeg::NativeLeg(const Column<uint8_t> &data, const Column<uint8_t> &spill, const Column<int64_t> &offset,
                     const Column<uint16_t> &size, const Column<int64_t> &timestamp,
                     const Column<int64_t> &sequence, const Column<uint8_t> &flags, const py::list &spans,
                     const Column<int32_t> &gap_span, const Column<int64_t> &gap_start,
                     const Column<int64_t> &gap_ticks, const Column<uint8_t> &gap_reason) {
  for (const py::handle &row : spans) {
    spans_.push_back(span_row(row.cast<py::tuple>(), held_));
  }
  view_.data_size = static_cast<size_t>(data.size());
  view_.spill_size = static_cast<size_t>(spill.size());
  view_.rows = static_cast<size_t>(offset.size());
  view_.gap_count = static_cast<size_t>(gap_span.size());
  const bool rows_match = size.size() == offset.size() && timestamp.size() == offset.size() &&
                          sequence.size() == offset.size() && flags.size() == offset.size();
  const bool gaps_match = gap_start.size() == gap_span.size() && gap_ticks.size() == gap_span.size() &&
                          gap_reason.size() == gap_span.size();
  raise_on_error(rows_match && gaps_match ? CR_OK : CR_ARGUMENT, "columns differ in length");
  view_.data = hold(held_, data);
  view_.spill = hold(held_, spill);
  view_.offset = hold(held_, offset);
  view_.size = hold(held_, size);
  view_.timestamp = hold(held_, timestamp);
  view_.sequence = hold(held_, sequence);
  view_.flags = hold(held_, flags);
  view_.gap_span = hold(held_, gap_span);
  view_.gap_start = hold(held_, gap_start);
  view_.gap_ticks = hold(held_, gap_ticks);
  view_.gap_reason = hold(held_, gap_reason);
  view_.spans = spans_.data();
  view_.span_count = spans_.size();
  check(view_);
}

py::tuple counts_tuple(const cr_leg_counts &counts) {
  return py::make_tuple(counts.decoded_samples, counts.concealed_samples, counts.noise_samples,
                        counts.trimmed_packets, counts.malformed_packets);
}

py::dict occupancy_dict(const cr_occupancy &occupancy) {
  py::dict result;
  result["rounds"] = occupancy.rounds;
  result["lane_slots"] = occupancy.lane_slots;
  result["lane_used"] = occupancy.lane_used;
  result["scalar_rounds"] = occupancy.scalar_rounds;
  return result;
}

void bind_decode(py::module_ &m) {
  py::class_<NativeLeg>(m, "Leg").def(
      py::init<Column<uint8_t>, Column<uint8_t>, Column<int64_t>, Column<uint16_t>, Column<int64_t>,
               Column<int64_t>, Column<uint8_t>, const py::list &, Column<int32_t>, Column<int64_t>,
               Column<int64_t>, Column<uint8_t>>());
  py::class_<NativeConveyor>(m, "Conveyor")
      .def(py::init<uint32_t, uint32_t>())
      .def("add", &NativeConveyor::add)
      .def("step", &NativeConveyor::step)
      .def("counts", &NativeConveyor::counts)
      .def("occupancy", &NativeConveyor::occupancy);
}
