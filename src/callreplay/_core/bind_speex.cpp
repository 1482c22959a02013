#include <pybind11/stl.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bind.h"

namespace {

using Pcm = py::array_t<int16_t, py::array::c_style>;

// A handle that is in one native call at a time: the GIL is released there, so another thread may come in.
class Claim {
 public:
  explicit Claim(std::atomic<bool> &busy) : busy_(&busy) {
    if (busy.exchange(true)) {
      busy_ = nullptr;
      raise_on_error(CR_STATE, "another thread is encoding with this object, or it was given twice");
    }
  }
  ~Claim() {
    if (busy_ != nullptr) {
      busy_->store(false);
    }
  }
  Claim(Claim &&other) noexcept : busy_(std::exchange(other.busy_, nullptr)) {}
  Claim(const Claim &) = delete;
  Claim &operator=(const Claim &) = delete;
  Claim &operator=(Claim &&) = delete;

 private:
  std::atomic<bool> *busy_;
};

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
        cr_speex_stream_create(&options, serial, texts.data(), texts.size(), &handle),
        "rate_hz is 8000 or 16000, quality 0 to 10, comments NAME=value with 60000 octets at most");
  }
  ~SpeexStream() { cr_speex_stream_destroy(handle); }
  SpeexStream(const SpeexStream &) = delete;
  SpeexStream &operator=(const SpeexStream &) = delete;

  void push(const Pcm &pcm) {
    const Claim claim(busy);
    const int16_t *data = pcm.data();
    const auto count = static_cast<size_t>(pcm.size());
    cr_status status;
    {
      py::gil_scoped_release release;
      status = cr_speex_stream_push(handle, data, count);
    }
    raise_on_error(status);
  }

  void end() {
    const Claim claim(busy);
    raise_on_error(cr_speex_stream_end(handle));
  }

  py::bytes take() {
    const Claim claim(busy);
    size_t size = 0;
    const uint8_t *octets = cr_speex_stream_octets(handle, &size);
    py::bytes taken(reinterpret_cast<const char *>(octets), size);
    cr_speex_stream_drop(handle, size);
    return taken;
  }

  cr_speex_stream *handle = nullptr;
  std::atomic<bool> busy{false};
};

class SpeexBatch {
 public:
  SpeexBatch() { raise_on_error(cr_speex_batch_create(&handle_)); }
  ~SpeexBatch() { cr_speex_batch_destroy(handle_); }
  SpeexBatch(const SpeexBatch &) = delete;
  SpeexBatch &operator=(const SpeexBatch &) = delete;

  void encode(const std::vector<std::shared_ptr<SpeexStream>> &streams) {
    const Claim claim(busy_);
    std::vector<Claim> claims;
    std::vector<cr_speex_stream *> handles;
    for (const auto &stream : streams) {
      if (stream == nullptr) {
        raise_on_error(CR_ARGUMENT, "a stream is None");
      }
      claims.emplace_back(stream->busy);
      handles.push_back(stream->handle);
    }
    cr_status status;
    {
      py::gil_scoped_release release;
      status = cr_speex_encode(handle_, handles.data(), handles.size());
    }
    raise_on_error(status);
  }

 private:
  cr_speex_batch *handle_ = nullptr;
  std::atomic<bool> busy_{false};
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
