// Lanes<T, N>: N independent streams, one value each. Every codec is written once on it, in ETSI-like basic
// operations; N = 1 is the scalar law and every wider one must equal it bit for bit.
//
// This file and all that include it are compiled once per instruction set with CR_ISA naming it, and
// everything in them lives in `callreplay::CR_ISA`: same-named inline functions built with different flags
// would otherwise be merged by the linker, and the AVX-512 copy might run on a CPU that lacks it.
#pragma once

#include <cstddef>
#include <cstdint>

#ifndef CR_ISA
#error "lane code is built by callreplay_isa_sources(), which defines CR_ISA"
#endif

// Lane operations vanish into their callers: a call would spill every register of the codec.
#define CR_LANE inline __attribute__((always_inline))

namespace callreplay::CR_ISA {

template <class T, int N>
struct Lanes;

}  // namespace callreplay::CR_ISA
