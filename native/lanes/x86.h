// <immintrin.h>, for every lane file of x86-64.
#pragma once

// GCC 12 calls its own deliberate `__m512i __Y = __Y` uninitialised (GCC bug 105593); clang knows no such
// option.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#else
#include <immintrin.h>
#endif
