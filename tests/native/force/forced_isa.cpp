// forced_isa NAME: under CALLREPLAY_SIMD=NAME the set is that one, and so are the kernels. `none`: nothing is
// forced and the best set of this CPU stands. Exit 77: this CPU lacks the set.
#include <cstdio>
#include <cstring>
#include <initializer_list>

#include "decode/conceal/kernels.h"
#include "decode/kernels.h"
#include "encode/g711/kernels.h"
#include "encode/speex/kernel.h"
#include "mix/kernels.h"
#include "raster/extremes.h"
#include "speech/bank.h"

template <class Kernel>
static bool is_of(cr_isa isa, const Kernel *kernel) {
  return kernel != nullptr && kernel->isa == isa;
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  const char *name = argv[1];
  cr_isa wanted = CR_ISA_SCALAR, best = CR_ISA_SCALAR;
  bool known = false;
  for (const cr_isa isa : {CR_ISA_SCALAR, CR_ISA_BASELINE, CR_ISA_NEON, CR_ISA_AVX2, CR_ISA_AVX512}) {
    if (cr_isa_available(isa)) best = isa;
    if (std::strcmp(cr_isa_name(isa), name) != 0) continue;
    wanted = isa;
    known = true;
  }
  const bool expect_force = std::strcmp(name, "none") != 0;
  if (expect_force && !known) return 2;
  if (expect_force && !cr_isa_available(wanted)) {
    std::printf("skipped: this CPU has no %s\n", name);
    return cr_isa_active() == best && !cr_isa_forced() ? 77 : 1;
  }
  const cr_isa active = cr_isa_active();
  std::printf("active %s, forced %d\n", cr_isa_name(active), cr_isa_forced());
  if (active != (expect_force ? wanted : best) || (cr_isa_forced() != 0) != expect_force) return 1;
  const auto *g722 = callreplay::g722_kernel(active);
  const auto *g729 = callreplay::g729_kernel(active);
  const auto *speex = callreplay::speex_kernel(active);
  const auto *g726 = callreplay::g726_kernel(active);
  if (!is_of(active, callreplay::g711_kernel(active)) || !is_of(active, g726) ||
      !is_of(active, callreplay::g711_encoder_kernel(active)) || !is_of(active, g722) ||
      !is_of(active, g729) || !is_of(active, callreplay::conceal_kernel(active)) ||
      !is_of(active, callreplay::mix_kernel(active)) || !is_of(active, callreplay::raster_kernel(active)) ||
      !is_of(active, callreplay::bank_kernel(active)) || !is_of(active, speex) ||
      !is_of(active, callreplay::speex_single_kernel(active))) {
    return 1;
  }
  // The name alone is not enough: the scalar kernels have one lane, those with vectors of their own more.
  const bool vectors = active != CR_ISA_SCALAR && active != CR_ISA_BASELINE;
  if (vectors) return g722->lanes > 1 && g729->lanes > 1 && speex->lanes > 1 ? 0 : 1;
  return active == CR_ISA_BASELINE || (g722->lanes == 1 && g729->lanes == 1 && speex->lanes == 1) ? 0 : 1;
}
