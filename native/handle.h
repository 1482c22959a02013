// What every handle of the C face stands on: one thread at a time, no exception out, and after CR_MEMORY an
// end, for what was under way is then half done.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "callreplay/status.h"

namespace callreplay {

// The right to use something that one thread uses at a time. Never waits: who comes second has none.
class Claim {
 public:
  explicit Claim(std::atomic<bool> &busy)
      : busy_(busy.exchange(true, std::memory_order_acquire) ? nullptr : &busy) {}
  ~Claim() {
    if (busy_ != nullptr) {
      busy_->store(false, std::memory_order_release);
    }
  }
  Claim(Claim &&other) noexcept : busy_(std::exchange(other.busy_, nullptr)) {}
  Claim(const Claim &) = delete;
  Claim &operator=(const Claim &) = delete;
  Claim &operator=(Claim &&) = delete;

  explicit operator bool() const { return busy_ != nullptr; }

 private:
  std::atomic<bool> *busy_;
};

// The base of the struct behind a handle.
struct Handle {
  mutable std::atomic<bool> busy{false};
  mutable bool broken = false;  // an earlier call ran out of memory; only claimants look
};

// The status of `work()`. Nothing but memory makes native code throw: std::bad_alloc, or std::length_error
// where a vector would be longer than memory.
template <class Work>
cr_status caught(Work &&work) noexcept {
  try {
    return work();
  } catch (...) {
    return CR_MEMORY;
  }
}

// A new handle.
template <class Made, class... Arguments>
cr_status create(Made **made, Arguments &&...arguments) noexcept {
  return caught([&] {
    // NOLINTNEXTLINE(bugprone-unhandled-exception-at-new): caught() takes it
    *made = new Made(std::forward<Arguments>(arguments)...);
    return CR_OK;
  });
}

// The status of `work(*handle)`: CR_ARGUMENT without a handle; CR_STATE where another thread uses it, or
// where it ran out of memory before.
template <class Held, class Work>
cr_status use(Held *handle, Work &&work) noexcept {
  if (handle == nullptr) {
    return CR_ARGUMENT;
  }
  const Claim claim(handle->busy);
  if (!claim || handle->broken) {
    return CR_STATE;
  }
  const cr_status status = caught([&] { return work(*handle); });
  handle->broken = status == CR_MEMORY;
  return status;
}

}  // namespace callreplay
