#include <pybind11/stl.h>

#include <algorithm>
#include <optional>

#include "held.h"
#include "native_leg.h"

namespace {

// The arguments of both renderers, in C's shape. Rows as in _core.pyi.
struct CallRows {
  CallRows(const py::tuple &row, const py::list &leg_rows, const py::list &event_rows) {
    timeline.rate_hz = row[0].cast<int32_t>();
    timeline.channels = row[1].cast<int32_t>();
    timeline.origin_ns = row[2].cast<int64_t>();
    timeline.frames = row[3].cast<int64_t>();
    timeline.block_ms = row[4].cast<int32_t>();
    timeline.ignore_drift = row[5].cast<bool>() ? 1 : 0;
    for (const py::handle &item : leg_rows) {
      const auto leg = item.cast<py::tuple>();
      const py::object native = leg[0];
      legs.push_back(
          {native.is_none() ? nullptr : native.cast<const NativeLeg &>().view(), leg[1].cast<int32_t>()});
      held.push_back(native);
    }
    for (const py::handle &item : event_rows) {
      const auto event = item.cast<py::tuple>();
      events.push_back({event[0].cast<uint32_t>(), event[1].cast<int32_t>(), event[2].cast<int64_t>(),
                        event[3].cast<int64_t>(), event[4].cast<int32_t>()});
    }
  }

  cr_timeline timeline{};
  std::vector<cr_render_leg> legs;
  std::vector<cr_event> events;
  std::vector<py::object> held;
};

class NativeRenderer {
 public:
  NativeRenderer(const py::tuple &timeline, const py::list &legs, const py::list &events) {
    CallRows rows(timeline, legs, events);
    raise_on_error(cr_renderer_create(&rows.timeline, rows.legs.data(), rows.legs.size(), rows.events.data(),
                                      rows.events.size(), renderer_.out()),
                   "a renderer");
    held_ = std::move(rows.held);
    channels_ = static_cast<size_t>(rows.timeline.channels);
  }

  // Fills `out`, interleaved, and returns how many frames there were.
  size_t read(py::array_t<int16_t, py::array::c_style> out) { return read_with(cr_renderer_read, out); }

  size_t read_f32(py::array_t<float, py::array::c_style> out) { return read_with(cr_renderer_read_f32, out); }

  void seek(int64_t frame) {
    const auto claim = renderer_.claim();
    renderer_.run([&](cr_renderer *renderer) { return cr_renderer_seek(renderer, frame); },
                  "the frame lies outside the call");
  }

  int64_t position() const { return cr_renderer_position(renderer_.get()); }

  py::tuple counts(uint32_t leg) const {
    const auto claim = renderer_.claim();
    cr_leg_counts counts;
    raise_on_error(cr_renderer_counts(renderer_.get(), leg, &counts), "leg");
    return counts_tuple(counts);
  }

 private:
  template <class Sample>
  size_t read_with(cr_status (*read)(cr_renderer *, Sample *, size_t, size_t *),
                   py::array_t<Sample, py::array::c_style> &out) {
    const auto claim = renderer_.claim();
    Sample *pcm = out.mutable_data();
    const size_t room = static_cast<size_t>(out.size()) / channels_;
    size_t frames = 0;
    renderer_.run([&](cr_renderer *renderer) { return read(renderer, pcm, room, &frames); });
    return frames;
  }

  // Declared first, so that the legs outlive the renderer.
  std::vector<py::object> held_;
  size_t channels_ = 1;
  Held<cr_renderer, cr_renderer_destroy> renderer_;
};

class NativeRendererGroup {
 public:
  explicit NativeRendererGroup(uint32_t gather_ms) {
    raise_on_error(cr_renderer_group_create(gather_ms, group_.out()), "gather_ms");
  }

  uint32_t add(const py::tuple &timeline, const py::list &legs, const py::list &events) {
    CallRows rows(timeline, legs, events);
    const auto claim = group_.claim();
    held_.reserve(held_.size() + 1);  // a new number is the next one
    uint32_t call = 0;
    raise_on_error(cr_renderer_group_add(group_.get(), &rows.timeline, rows.legs.data(), rows.legs.size(),
                                         rows.events.data(), rows.events.size(), &call),
                   "a call");
    held_.resize(std::max<size_t>(held_.size(), size_t{call} + 1));
    held_[call] = std::move(rows.held);
    return call;
  }

  py::tuple read(py::array_t<int16_t, py::array::c_style> out) {
    std::vector<py::object> ended;  // let go of after the claim: it may run code of others
    const auto claim = group_.claim();
    int16_t *pcm = out.mutable_data();
    const auto capacity = static_cast<size_t>(out.size());
    uint32_t call = 0;
    size_t frames = 0;
    int last = 0;
    group_.run([&](cr_renderer_group *group) {
      return cr_renderer_group_read(group, pcm, capacity, &call, &frames, &last);
    });
    if (last != 0) {
      ended.swap(held_[call]);
    }
    return py::make_tuple(call, frames, last != 0);
  }

  py::tuple counts(uint32_t call, uint32_t leg) const {
    const auto claim = group_.claim();
    cr_leg_counts counts;
    raise_on_error(cr_renderer_group_counts(group_.get(), call, leg, &counts), "call or leg");
    return counts_tuple(counts);
  }

  size_t waiting() const {
    const auto claim = group_.claim();
    size_t calls = 0;
    raise_on_error(cr_renderer_group_waiting(group_.get(), &calls));
    return calls;
  }

  py::dict occupancy() const {
    const auto claim = group_.claim();
    cr_occupancy occupancy;
    raise_on_error(cr_renderer_group_occupancy(group_.get(), &occupancy));
    return occupancy_dict(occupancy);
  }

 private:
  std::vector<std::vector<py::object>> held_;  // by call, until it has ended
  Held<cr_renderer_group, cr_renderer_group_destroy> group_;
};

void bind_wav(py::module_ &m) {
  m.def("wav_header", [](int encoding, uint32_t rate_hz, uint32_t channels, std::optional<uint64_t> frames) {
    uint8_t header[CR_WAV_HEADER_MAX];
    size_t size = 0;
    raise_on_error(cr_wav_header(static_cast<cr_wav_encoding>(encoding), rate_hz, channels,
                                 frames.value_or(CR_WAV_UNKNOWN), header, &size),
                   "a WAV header");
    return py::bytes(reinterpret_cast<const char *>(header), size);
  });
  m.def(
      "wav_encode",
      [](int encoding, const Column<int16_t> &pcm, Column<uint8_t> out) {
        const auto count = static_cast<size_t>(pcm.size());
        const auto room = static_cast<size_t>(out.size());
        raise_on_error(room >= count * (encoding == CR_WAV_S16 ? 2 : 1) ? CR_OK : CR_ARGUMENT,
                       "out is too short");
        const int16_t *from = pcm.data();
        uint8_t *to = out.mutable_data();
        cr_status status;
        {
          py::gil_scoped_release release;
          status = cr_wav_encode(static_cast<cr_wav_encoding>(encoding), from, count, to);
        }
        raise_on_error(status, "encoding");
      },
      py::arg(), py::arg().noconvert(), py::arg().noconvert());
}

}  // namespace

void bind_mix(py::module_ &m) {
  bind_wav(m);
  py::class_<NativeRenderer>(m, "Renderer")
      .def(py::init<const py::tuple &, const py::list &, const py::list &>())
      .def("read", &NativeRenderer::read, py::arg().noconvert())
      .def("read_f32", &NativeRenderer::read_f32, py::arg().noconvert())
      .def("seek", &NativeRenderer::seek)
      .def("position", &NativeRenderer::position)
      .def("counts", &NativeRenderer::counts);
  py::class_<NativeRendererGroup>(m, "RendererGroup")
      .def(py::init<uint32_t>())
      .def("add", &NativeRendererGroup::add)
      .def("read", &NativeRendererGroup::read, py::arg().noconvert())
      .def("counts", &NativeRendererGroup::counts)
      .def("waiting", &NativeRendererGroup::waiting)
      .def("occupancy", &NativeRendererGroup::occupancy);
}
