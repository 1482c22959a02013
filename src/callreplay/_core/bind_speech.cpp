#include <memory>

#include "callreplay/speech.h"
#include "native_leg.h"

namespace {

constexpr char kUnusable[] = "the speech detector has finished, or another thread uses it";

class NativeSpeech {
 public:
  explicit NativeSpeech(int32_t rate_hz) {
    cr_speech *made = nullptr;
    raise_on_error(cr_speech_create(rate_hz, &made), "rate_hz");
    speech_.reset(made);
  }

  void write(const Column<int16_t> &pcm) {
    const int16_t *from = pcm.data();
    const auto count = static_cast<size_t>(pcm.size());
    cr_status status;
    {
      py::gil_scoped_release release;
      status = cr_speech_write(speech_.get(), from, count);
    }
    raise_on_error(status, kUnusable);
  }

  // One channel of frames (n, channels).
  void write_channel(const py::array_t<int16_t, py::array::c_style> &pcm, size_t channel) {
    if (pcm.ndim() != 2 || channel >= static_cast<size_t>(pcm.shape(1))) {
      throw py::value_error("need frames of shape (n, channels) that have that channel");
    }
    const auto count = static_cast<size_t>(pcm.shape(0)), channels = static_cast<size_t>(pcm.shape(1));
    const int16_t *from = count > 0 ? pcm.data() + channel : nullptr;
    cr_status status;
    {
      py::gil_scoped_release release;
      status = cr_speech_write_channel(speech_.get(), from, count, channels);
    }
    raise_on_error(status, kUnusable);
  }

  // The first two channels of frames (n, channels), the second one the other's.
  void write_pair(NativeSpeech &other, const py::array_t<int16_t, py::array::c_style> &pcm) {
    if (pcm.ndim() != 2 || pcm.shape(1) < 2) {
      throw py::value_error("need frames of shape (n, channels) with two channels or more");
    }
    raise_on_error(&other == this ? CR_ARGUMENT : CR_OK, "the second channel needs a detector of its own");
    const auto count = static_cast<size_t>(pcm.shape(0)), channels = static_cast<size_t>(pcm.shape(1));
    const int16_t *from = pcm.data();
    cr_status status;
    {
      py::gil_scoped_release release;
      status = cr_speech_write_pair(speech_.get(), other.speech_.get(), from, count, channels);
    }
    raise_on_error(status, kUnusable);
  }

  int64_t settled() const {
    int64_t sample = 0;
    raise_on_error(cr_speech_settled(speech_.get(), &sample));
    return sample;
  }

  void finish() { raise_on_error(cr_speech_finish(speech_.get())); }

  py::list take() {
    py::list found;
    cr_talk talk[64];
    size_t count = 0;
    do {
      raise_on_error(cr_speech_take(speech_.get(), talk, std::size(talk), &count));
      for (size_t i = 0; i < count; ++i) {
        found.append(py::make_tuple(talk[i].start, talk[i].end, talk[i].energy));
      }
    } while (count > 0);
    return found;
  }

 private:
  struct Destroy {
    void operator()(cr_speech *speech) const { cr_speech_destroy(speech); }
  };
  std::unique_ptr<cr_speech, Destroy> speech_;
};

}  // namespace

void bind_speech(py::module_ &m) {
  py::class_<NativeSpeech>(m, "Speech")
      .def(py::init<int32_t>())
      .def("write", &NativeSpeech::write, py::arg().noconvert())
      .def("write_channel", &NativeSpeech::write_channel, py::arg().noconvert(), py::arg("channel"))
      .def("write_pair", &NativeSpeech::write_pair, py::arg("other"), py::arg().noconvert())
      .def("settled", &NativeSpeech::settled)
      .def("finish", &NativeSpeech::finish)
      .def("take", &NativeSpeech::take);
}
