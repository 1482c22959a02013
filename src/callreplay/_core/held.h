// A native handle in Python's hands. Native code runs without the GIL, so another thread may come in: it gets
// StateError. The claim lasts until what native code gave is copied, which is longer than the handle's own.
#pragma once

#include <atomic>
#include <string>
#include <utility>

#include "bind.h"
#include "handle.h"

// The right to use a Python object's native side; StateError where it is taken.
inline callreplay::Claim claim(std::atomic<bool> &busy, const char *what) {
  callreplay::Claim claim(busy);
  raise_on_error(claim ? CR_OK : CR_STATE, what);
  return claim;
}

template <class Native, void (*destroy)(Native *)>
class Held {
 public:
  Held() = default;
  ~Held() { destroy(handle_); }
  Held(const Held &) = delete;
  Held &operator=(const Held &) = delete;

  Native **out() { return &handle_; }
  Native *get() const { return handle_; }
  std::atomic<bool> &busy() const { return busy_; }
  callreplay::Claim claim() const { return ::claim(busy_, "another thread is using this object"); }

  // `work(handle)` without the GIL, by whoever has claimed it.
  template <class Work>
  void run(Work &&work, const char *detail = "") const {
    cr_status status;
    {
      py::gil_scoped_release release;
      status = work(handle_);
    }
    raise_on_error(status, detail);
  }

 private:
  Native *handle_ = nullptr;
  mutable std::atomic<bool> busy_{false};
};
