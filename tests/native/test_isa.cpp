#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>

#include "callreplay/isa.h"

TEST_CASE("the active instruction set is one this CPU can run") {
  CHECK(cr_isa_available(cr_isa_active()));
  CHECK(cr_isa_available(CR_ISA_SCALAR));
}

TEST_CASE("every name is distinct and known") {
  for (int a = CR_ISA_SCALAR; a <= CR_ISA_AVX512; ++a) {
    CHECK(std::strcmp(cr_isa_name(static_cast<cr_isa>(a)), "unknown") != 0);
    for (int b = CR_ISA_SCALAR; b < a; ++b) {
      CHECK(std::strcmp(cr_isa_name(static_cast<cr_isa>(a)), cr_isa_name(static_cast<cr_isa>(b))) != 0);
    }
  }
}

TEST_CASE("CALLREPLAY_SIMD decides when it names an available set") {
  const char *name = std::getenv("CALLREPLAY_SIMD");
  if (name != nullptr && cr_isa_forced()) {
    CHECK(std::strcmp(cr_isa_name(cr_isa_active()), name) == 0);
  }
}
