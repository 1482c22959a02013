#include <limits>
#include <memory>

#include "held.h"

namespace {

using Pcm = py::array_t<int16_t, py::array::c_style>;

class Peaks {
 public:
  Peaks(uint32_t channels, uint64_t frames_per_bucket, uint64_t total_frames, uint32_t buckets)
      : channels_(channels), fit_(buckets != 0) {
    raise_on_error(buckets != 0 ? cr_peaks_create_fit(channels, total_frames, buckets, peaks_.out())
                                : cr_peaks_create(channels, frames_per_bucket, peaks_.out()));
  }

  void write(const Pcm &pcm) {
    const auto claim = peaks_.claim();
    const auto size = static_cast<size_t>(pcm.size());
    if (size % channels_ != 0) {
      raise_on_error(CR_ARGUMENT,
                     "the samples are not whole frames of " + std::to_string(channels_) + " channels");
    }
    const int16_t *data = pcm.data();
    peaks_.run([&](cr_peaks *peaks) { return cr_peaks_write(peaks, data, size / channels_); });
  }

  // (buckets, channels) structured like cr_peak. Where all buckets are there from the start (`fit`) nothing is copied:
  // they stay where they are as long as `self` lives.
  static py::array_t<cr_peak> data(const py::object &self) {
    const auto &peaks = self.cast<const Peaks &>();
    const auto claim = peaks.peaks_.claim();
    const cr_peak *data = cr_peaks_data(peaks.peaks_.get());
    raise_on_error(data != nullptr || cr_peaks_count(peaks.peaks_.get()) == 0 ? CR_OK : CR_STATE);
    const auto count = static_cast<py::ssize_t>(cr_peaks_count(peaks.peaks_.get()));
    const py::array::ShapeContainer shape{count, static_cast<py::ssize_t>(peaks.channels_)};
    if (!peaks.fit_) {
      return py::array_t<cr_peak>(shape, data);
    }
    py::array_t<cr_peak> view(shape, data, self);
    view.attr("flags").attr("writeable") = false;
    return view;
  }

 private:
  uint32_t channels_;
  bool fit_;
  Held<cr_peaks, cr_peaks_destroy> peaks_;
};

// (pixels, channels, 2): lowest and highest.
py::array_t<int8_t> peaks8(const Pcm &pcm, uint32_t frames_per_pixel) {
  const uint32_t channels = pcm.ndim() == 2 ? static_cast<uint32_t>(pcm.shape(1)) : 1;
  const size_t frames = channels == 0 ? 0 : static_cast<size_t>(pcm.size()) / channels;
  raise_on_error(frames_per_pixel == 0 || channels == 0 ? CR_ARGUMENT : CR_OK);
  const size_t pixels = frames / frames_per_pixel + (frames % frames_per_pixel != 0);
  py::array_t<int8_t> out(
      {static_cast<py::ssize_t>(pixels), static_cast<py::ssize_t>(channels), py::ssize_t{2}});
  int8_t *into = out.mutable_data();
  const int16_t *data = pcm.data();
  cr_status status;
  {
    py::gil_scoped_release release;
    status = cr_peaks8(data, frames, channels, frames_per_pixel, into);
  }
  raise_on_error(status);
  return out;
}

void draw_band(py::array_t<uint8_t, py::array::c_style> image,
               const py::array_t<cr_peak, py::array::c_style> &peaks, uint32_t channel, uint32_t left,
               uint32_t top, uint32_t width, uint32_t height, uint32_t columns_per_pixel, uint32_t levels,
               uint8_t peak_base, uint8_t rms_base, double scale) {
  if (image.ndim() != 2 || peaks.ndim() != 2 || static_cast<py::ssize_t>(channel) >= peaks.shape(1) ||
      static_cast<uint64_t>(top) + height > static_cast<uint64_t>(image.shape(0)) ||
      static_cast<uint64_t>(width) * columns_per_pixel > static_cast<uint64_t>(peaks.shape(0))) {
    raise_on_error(CR_ARGUMENT, "the band lies outside the image or needs more peaks than there are");
  }
  const cr_band band{image.mutable_data(),
                     static_cast<size_t>(image.shape(1)),
                     left,
                     top,
                     width,
                     height,
                     levels,
                     peak_base,
                     rms_base,
                     scale};
  const cr_peak *first = peaks.data() + channel;
  const auto step = static_cast<size_t>(peaks.shape(1));
  cr_status status;
  {
    py::gil_scoped_release release;
    status = cr_draw_band(&band, first, step, columns_per_pixel);
  }
  raise_on_error(status);
}

using Places = py::array_t<double, py::array::c_style>;

void draw_marks(py::array_t<uint8_t, py::array::c_style> image, const Places &start, const Places &stop,
                const py::array_t<bool, py::array::c_style> &loss, uint32_t top, uint32_t height,
                uint8_t loss_colour, uint8_t tint, uint8_t silence) {
  if (image.ndim() != 2 || static_cast<uint64_t>(top) + height > static_cast<uint64_t>(image.shape(0)) ||
      start.ndim() != 1 || stop.ndim() != 1 || loss.ndim() != 1 || stop.size() != start.size() ||
      loss.size() != start.size()) {
    raise_on_error(CR_ARGUMENT,
                   "the band lies outside the image, or the columns of the marks differ in length");
  }
  const auto width = static_cast<size_t>(image.shape(1));
  const cr_band band{image.mutable_data(), width, 0, top, static_cast<uint32_t>(width), height, 0, 0, 0, 0.0};
  static_assert(sizeof(bool) == 1);
  const cr_marks marks{start.data(),
                       stop.data(),
                       reinterpret_cast<const uint8_t *>(loss.data()),
                       static_cast<size_t>(start.size()),
                       loss_colour,
                       tint,
                       silence};
  cr_status status;
  {
    py::gil_scoped_release release;
    status = cr_draw_marks(&band, &marks);
  }
  raise_on_error(status);
}

// The data of IDAT for an image of indices.
py::bytes png_pack(const py::array_t<uint8_t, py::array::c_style> &image) {
  constexpr py::ssize_t kMost = std::numeric_limits<int32_t>::max();
  if (image.ndim() != 2 || image.shape(0) > kMost || image.shape(1) > kMost) {
    raise_on_error(CR_ARGUMENT, "no image");
  }
  const auto height = static_cast<uint32_t>(image.shape(0));
  const auto width = static_cast<uint32_t>(image.shape(1));
  const size_t room = cr_png_room(width, height);
  raise_on_error(room != 0 ? CR_OK : CR_ARGUMENT);
  const std::unique_ptr<uint8_t[]> out(new uint8_t[room]);  // more than is used: no page of that is touched
  const uint8_t *pixels = image.data();
  size_t size = 0;
  cr_status status;
  {
    py::gil_scoped_release release;
    status = cr_png_pack(pixels, width, width, height, out.get(), room, &size);
  }
  raise_on_error(status);
  return {reinterpret_cast<const char *>(out.get()), size};
}

}  // namespace

void bind_raster(py::module_ &m) {
  PYBIND11_NUMPY_DTYPE(cr_peak, low, high, reserved, energy, count);
  py::class_<Peaks>(m, "Peaks")
      .def(py::init<uint32_t, uint64_t, uint64_t, uint32_t>(), py::arg("channels"),
           py::arg("frames_per_bucket") = 0, py::arg("total_frames") = 0, py::arg("buckets") = 0)
      .def("write", &Peaks::write, py::arg("pcm"))
      .def("data", &Peaks::data);
  m.def("peaks8", &peaks8, py::arg("pcm"), py::arg("frames_per_pixel"));
  m.def("draw_band", &draw_band, py::arg("image"), py::arg("peaks"), py::kw_only(), py::arg("channel"),
        py::arg("left"), py::arg("top"), py::arg("width"), py::arg("height"), py::arg("columns_per_pixel"),
        py::arg("levels"), py::arg("peak_base"), py::arg("rms_base"), py::arg("scale"));
  m.def("draw_marks", &draw_marks, py::arg("image"), py::arg("start"), py::arg("stop"), py::arg("loss"),
        py::kw_only(), py::arg("top"), py::arg("height"), py::arg("loss_colour"), py::arg("tint"),
        py::arg("silence"));
  m.def("png_pack", &png_pack, py::arg("image"));
}
