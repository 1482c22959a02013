// Every operation of the lanes against its law on every instruction set that this CPU runs, and the law against
// values that were worked out by hand.
#include "checkasm.h"
#include "lanes/kernels.h"
#include "lanes/probe.h"

#define CR_ISA lanes_test
#include "lanes/f32.h"
#include "lanes/i16.h"

namespace callreplay {
CR_KERNELS(LaneProbe, lane_probe)
}  // namespace callreplay

namespace lanes = callreplay::lanes_test;
using One16 = lanes::Lanes<int16_t, 1>;
using lanes::F32x1;
using lanes::I32x1;

TEST_CASE("every operation gives the law's bits in every lane") {
  for (const cr_isa isa : checkasm::available_isas()) {
    const callreplay::LaneProbe *probe = callreplay::lane_probe_kernel(isa);
    REQUIRE(probe != nullptr);
    CHECK(probe->isa == isa);
    struct Told {
      cr_isa isa;
      int operations;
    } told{isa, 0};
    probe->run(
        [](void *context, const char *operation, bool same) {
          auto *told = static_cast<Told *>(context);
          ++told->operations;
          CHECK_MESSAGE(same, cr_isa_name(told->isa), ": ", operation);
        },
        &told);
    CHECK(told.operations > 100);
  }
}

TEST_CASE("the law of 16 bits") {
  const auto v = [](int x) { return One16{{static_cast<int16_t>(x)}}; };
  CHECK(sadd(v(32767), v(1)).v[0] == 32767);
  CHECK(ssub(v(-32768), v(1)).v[0] == -32768);
  CHECK((v(32767) + v(1)).v[0] == -32768);
  CHECK(mulhi(v(-32768), v(-32768)).v[0] == 16384);
  CHECK(mul15(v(-32768), v(32767)).v[0] == -32767);
  CHECK(mul15(v(-1), v(1)).v[0] == -1);
  CHECK(lanes::shr<4>(v(-1)).v[0] == 0x0FFF);
  CHECK(lanes::sar<4>(v(-32768)).v[0] == -2048);
  CHECK((v(-1) > v(0)).v[0] == 0);
  CHECK((v(1) > v(0)).v[0] == -1);
  CHECK(log2_q4(v(1)).v[0] == 0);
  CHECK(log2_q4(v(3)).v[0] == 16 + 8);
  CHECK(log2_q4(v(32767)).v[0] == 14 * 16 + 15);
  CHECK(step_towards(v(-7), 128).v[0] == -128);
  CHECK(step_towards(v(0), 128).v[0] == 0);
}

TEST_CASE("the law of 32 bits") {
  const auto v = [](int64_t x) { return I32x1{static_cast<int32_t>(x)}; };
  CHECK((v(INT32_MAX) + v(1)).v == INT32_MIN);
  CHECK(sadd(v(INT32_MAX), v(1)).v == INT32_MAX);
  CHECK(ssub(v(INT32_MIN), v(1)).v == INT32_MIN);
  CHECK(lmul(v(-32768), v(-32768)).v == INT32_MAX);
  CHECK(lmac(v(INT32_MAX - 1), v(1), v(1)).v == INT32_MAX);
  CHECK(madd(I32x1::halves(3, -4), I32x1::halves(5, 6)).v == -9);
  CHECK(pair(sat(v(40000)), sat(v(-40000))).v == I32x1::halves(32767, -32768).v);
  CHECK(cross(I32x1::halves(1, 2), I32x1::halves(3, 4)).v == I32x1::halves(3, 2).v);
  CHECK(between(I32x1::halves(1, 2), I32x1::halves(3, 4)).v == I32x1::halves(2, 3).v);
  CHECK(norm(v(1)).v == 30);
  CHECK(norm(v(INT32_MAX)).v == 0);
  CHECK(div15(v(1), v(3)).v == 10922);
  CHECK(div15(v(5), v(5)).v == 32767);
  CHECK(umin(v(-1), v(5)).v == 5);
  CHECK(lanes::shl_each(v(1), v(31)).v == INT32_MIN);
  CHECK(mulr16(I32x1::halves(16384, -1), I32x1::halves(1, 16384)).v == I32x1::halves(1, 0).v);
}

TEST_CASE("the law of floats keeps the second of two that are equal or no numbers") {
  const F32x1 zero{0.0f}, minus{-0.0f}, nan{__builtin_nanf("")}, one{1.0f};
  CHECK(bits_of(min(zero, minus)).v == INT32_MIN);
  CHECK(bits_of(max(minus, zero)).v == 0);
  CHECK(min(nan, one).v == 1.0f);
  CHECK(max(nan, one).v == 1.0f);
  CHECK(truncate(F32x1{-1.9f}).v == -1);
  CHECK(tag_of(pack_tag(one, 7, I32x1{77}), 7).v == 77);
}
