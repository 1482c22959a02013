#pragma once

namespace checkasm {

// Whether sanitizers watch, which takes five times as long: a test does less of what is alike then, as under an emulator.
// What they look for, every kind of access, is in the less; the plain build does all of it.
inline constexpr bool watched() {
#if defined(__SANITIZE_ADDRESS__)
  return true;
#elif defined(__has_feature)
  return __has_feature(address_sanitizer) || __has_feature(memory_sanitizer);
#else
  return false;
#endif
}

}  // namespace checkasm
