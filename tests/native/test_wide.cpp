// 128-bit integers in two halves, for processors of 32 bits, against the compiler's own.
#include <doctest/doctest.h>

#include <cstdint>
#include <random>

#include "mix/wide.h"

using callreplay::TwoHalves;

namespace {

// Constant expressions are evaluated on every processor, whatever the compiler has.
static_assert(TwoHalves{-7} / TwoHalves{2} == TwoHalves{-3});
static_assert(TwoHalves{-7} % TwoHalves{2} == TwoHalves{-1});
static_assert(TwoHalves{7} / TwoHalves{-2} == TwoHalves{-3});
static_assert(static_cast<int64_t>(TwoHalves{INT64_MIN} * TwoHalves{INT64_MIN} / TwoHalves{INT64_MIN}) ==
              INT64_MIN);
static_assert(TwoHalves{-1} < TwoHalves{0});
static_assert((TwoHalves{3} << 63) > (TwoHalves{1} << 63));
static_assert(-(TwoHalves{1} << 62) < TwoHalves{INT64_MIN / 4});

}  // namespace

#ifdef __SIZEOF_INT128__
namespace {

using Wide = __int128;

bool same(TwoHalves halves, Wide wide) {
  return static_cast<uint64_t>(halves) == static_cast<uint64_t>(wide) &&
         static_cast<int64_t>(halves / (TwoHalves{1} << 63)) == static_cast<int64_t>(wide / (Wide{1} << 63));
}

}  // namespace

TEST_CASE("values of every size are as the compiler's are") {
  std::mt19937_64 random(1);
  const auto draw = [&] {
    const auto value = static_cast<int64_t>(random());
    return value >> (random() % 64);
  };
  for (int turn = 0; turn < 20'000; ++turn) {
    const int64_t a = draw(), b = draw(), c = draw();
    const int64_t d = draw() | 1;
    const int places = 1 + static_cast<int>(random() % 63);
    CAPTURE(a);
    CAPTURE(b);
    CAPTURE(c);
    CAPTURE(d);
    // Half of the most that fits, so that the sum does.
    const TwoHalves halves = TwoHalves{a / 2} * TwoHalves{b} + TwoHalves{c};
    const Wide wide = Wide{a / 2} * b + c;
    REQUIRE(same(halves, wide));
    REQUIRE(same(halves - TwoHalves{d}, wide - d));
    REQUIRE(same(-halves, -wide));
    REQUIRE(same(halves / TwoHalves{d}, wide / d));
    REQUIRE(same(halves % TwoHalves{d}, wide % d));
    const TwoHalves divisor = TwoHalves{d} * TwoHalves{c | 1};
    REQUIRE(same(halves / divisor, wide / (Wide{d} * (c | 1))));
    REQUIRE(same(halves % divisor, wide % (Wide{d} * (c | 1))));
    REQUIRE(same(TwoHalves{a >> places} << places, Wide{a >> places} << places));
    REQUIRE((halves < TwoHalves{d}) == (wide < d));
    REQUIRE((halves >= divisor) == (wide >= Wide{d} * (c | 1)));
    REQUIRE((halves == TwoHalves{c}) == (wide == c));
  }
}
#endif
