#include <memory>

#include "callreplay/speech.h"
#include "native_leg.h"

namespace {

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
    raise_on_error(status, "the speech detector has finished");
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
      .def("finish", &NativeSpeech::finish)
      .def("take", &NativeSpeech::take);
}
