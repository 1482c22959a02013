#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <vector>

#include "held.h"

namespace {

using Pcm = py::array_t<int16_t, py::array::c_style>;

constexpr const char *kTaken = "another thread is using this stream, or it was given twice";

class SpeexStream {
 public:
  SpeexStream(int32_t rate_hz, int32_t quality, bool vbr, bool vad, bool dtx, bool segments, uint32_t serial,
              const std::vector<std::string> &comments) {
    const cr_speex_options options{
        rate_hz, quality, vbr, vad, dtx, segments ? CR_SPEEX_SEGMENTS_LONG : CR_SPEEX_SEGMENTS_OFF};
    std::vector<const char *> texts;
    for (const std::string &comment : comments) {
      if (comment.find('\0') != std::string::npos) {
        raise_on_error(CR_ARGUMENT, "a comment holds a NUL");
      }
      texts.push_back(comment.c_str());
    }
    raise_on_error(
        cr_speex_stream_create(&options, serial, texts.data(), texts.size(), held.out()),
        "rate_hz is 8000 or 16000, quality 0 to 10, comments NAME=value with 60000 octets at most");
  }

  void push(const Pcm &pcm) {
    const auto claim = held.claim();
    const int16_t *data = pcm.data();
    const auto count = static_cast<size_t>(pcm.size());
    held.run([&](cr_speex_stream *stream) { return cr_speex_stream_push(stream, data, count); });
  }

  void end() {
    const auto claim = held.claim();
    raise_on_error(cr_speex_stream_end(held.get()));
  }

  py::bytes take() {
    const auto claim = held.claim();
    size_t size = 0;
    const uint8_t *octets = cr_speex_stream_octets(held.get(), &size);
    py::bytes taken(reinterpret_cast<const char *>(octets), size);
    cr_speex_stream_drop(held.get(), size);
    return taken;
  }

  Held<cr_speex_stream, cr_speex_stream_destroy> held;
};

class SpeexBatch {
 public:
  SpeexBatch() { raise_on_error(cr_speex_batch_create(batch_.out())); }

  void encode(const std::vector<std::shared_ptr<SpeexStream>> &streams) {
    const auto mine = batch_.claim();
    std::vector<callreplay::Claim> claims;
    std::vector<cr_speex_stream *> handles;
    for (const auto &stream : streams) {
      if (stream == nullptr) {
        raise_on_error(CR_ARGUMENT, "a stream is None");
      }
      claims.push_back(claim(stream->held.busy(), kTaken));
      handles.push_back(stream->held.get());
    }
    batch_.run([&](cr_speex_batch *batch) { return cr_speex_encode(batch, handles.data(), handles.size()); });
  }

 private:
  Held<cr_speex_batch, cr_speex_batch_destroy> batch_;
};

}  // namespace

void bind_speex(py::module_ &m) {
  py::class_<SpeexStream, std::shared_ptr<SpeexStream>>(m, "SpeexStream")
      .def(py::init<int32_t, int32_t, bool, bool, bool, bool, uint32_t, const std::vector<std::string> &>())
      .def("push", &SpeexStream::push)
      .def("end", &SpeexStream::end)
      .def("take", &SpeexStream::take);
  py::class_<SpeexBatch>(m, "SpeexBatch").def(py::init<>()).def("encode", &SpeexBatch::encode);
}
