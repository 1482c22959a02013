// What is made once and kept for the life of the process, without a lock: a child that is forked while
// another thread makes it has one to make, and no one to wait for.
#pragma once

#include <atomic>
#include <memory>

namespace callreplay {

// Two threads may both make it; the first to be done keeps its own. `make` returns a std::unique_ptr.
template <class Kept, class Make>
const Kept &kept(std::atomic<const Kept *> &place, Make &&make) {
  const Kept *found = place.load(std::memory_order_acquire);
  if (found == nullptr) {
    std::unique_ptr<const Kept> made = make();
    if (place.compare_exchange_strong(found, made.get(), std::memory_order_acq_rel)) {
      found = made.release();
    }
  }
  return *found;
}

}  // namespace callreplay
