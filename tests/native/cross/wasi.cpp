// What Debian's libraries for WASI ask for and do not have: exceptions (what throws ends the program), and the guard that
// its compiler runtime was built with.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

extern "C" {
uintptr_t __stack_chk_guard = 0x5afe57ac;
[[noreturn]] void __stack_chk_fail() {
  std::abort();
}
[[noreturn]] void *__cxa_allocate_exception(size_t) noexcept {
  std::abort();
}
[[noreturn]] void __cxa_throw(void *, void *, void (*)(void *)) {
  std::abort();
}
}
