// Debian's libc++abi for WASI has no exceptions: what throws ends the program.
#include <cstddef>
#include <cstdlib>

extern "C" {
[[noreturn]] void *__cxa_allocate_exception(size_t) noexcept {
  std::abort();
}
[[noreturn]] void __cxa_throw(void *, void *, void (*)(void *)) {
  std::abort();
}
}
