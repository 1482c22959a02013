#include "callreplay/isa.h"

#include <cstdlib>
#include <cstring>

#include "lanes/kernels.h"

#ifdef CR_MORE_SETS
#include <cpuid.h>
#endif

namespace {

#ifdef CR_MORE_SETS
// __builtin_cpu_supports() of GCC 12 knows no "lzcnt". On a CPU without it the instruction is another one.
bool has_lzcnt() {
  // Asked once: the instruction leaves a virtual machine, which takes tens of microseconds, and every call asks.
  static const bool has = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid(0x80000001U, &a, &b, &c, &d) != 0 && (c & bit_LZCNT) != 0;
  }();
  return has;
}
#endif

constexpr cr_isa kAll[] = {CR_ISA_SCALAR, CR_ISA_BASELINE, CR_ISA_NEON, CR_ISA_AVX2, CR_ISA_AVX512};

struct Choice {
  cr_isa isa;
  int forced;
};

Choice choose() {
  // CALLREPLAY_SIMD is read once, before any thread of ours exists.
  const char *name = std::getenv("CALLREPLAY_SIMD");  // NOLINT(concurrency-mt-unsafe)
  Choice best{CR_ISA_SCALAR, 0};
  for (cr_isa isa : kAll) {
    if (!cr_isa_available(isa)) {
      continue;
    }
    best.isa = isa;
    if (name != nullptr && std::strcmp(name, cr_isa_name(isa)) == 0) {
      return {isa, 1};
    }
  }
  return best;
}

const Choice &choice() {
  static const Choice chosen = choose();
  return chosen;
}

}  // namespace

extern "C" {

cr_isa cr_isa_active(void) {
  return choice().isa;
}

int cr_isa_forced(void) {
  return choice().forced;
}

int cr_isa_available(cr_isa isa) {
  switch (isa) {
    case CR_ISA_SCALAR:
      return 1;
    case CR_ISA_BASELINE:
    case CR_ISA_NEON:
      return isa == CR_BASE_ISA;
    case CR_ISA_AVX2:
#ifdef CR_MORE_SETS
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt") && has_lzcnt();
#else
      return 0;
#endif
    case CR_ISA_AVX512:
#ifdef CR_MORE_SETS
      return cr_isa_available(CR_ISA_AVX2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd");
#else
      return 0;
#endif
  }
  return 0;
}

const char *cr_isa_name(cr_isa isa) {
  switch (isa) {
    case CR_ISA_SCALAR:
      return "scalar";
    case CR_ISA_BASELINE:
      return "baseline";
    case CR_ISA_NEON:
      return "neon";
    case CR_ISA_AVX2:
      return "avx2";
    case CR_ISA_AVX512:
      return "avx512";
  }
  return "unknown";
}

}  // extern "C"
