// doctest itself: it takes the compiler longer than most of the tests, so once for all of them.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
