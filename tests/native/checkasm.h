// A harness for kernels that exist in several widths: input that seeks edges, buffers with guards,
// variants against the law, and, with --bench, the time of each. Include it in one source file per
// program; it brings main().
//
//   CHECKASM_BENCH("g722 mode 0") { ... checkasm::report("avx2", samples, [&] { kernel->decode(...); }); }
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

#include "callreplay/isa.h"
#include "watched.h"

namespace checkasm {

// splitmix64: the same sequence everywhere, from a printed seed. CHECKASM_SEED sets another.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }
  // In [0, bound).
  size_t below(size_t bound) { return static_cast<size_t>(next() % bound); }

 private:
  uint64_t state_;
};

inline uint64_t seed() {
  const char *text = std::getenv("CHECKASM_SEED");
  return text == nullptr ? 20260000 : std::strtoull(text, nullptr, 0);
}

// Under an emulator, which takes fifty times as long, a test does less of what is alike; never fewer kinds.
inline bool emulated() {
  return std::getenv("CALLREPLAY_EMULATED") != nullptr;
}

// Random: every bit pattern. Edges: only the values at which arithmetic turns over. The rest is what drives
// adaptive state to its limits and back: one value for ever, two in turn, runs, and noise that stops.
enum class Pattern { kRandom, kEdges, kConstant, kAlternating, kRuns, kBursts };
inline constexpr Pattern kPatterns[] = {Pattern::kRandom,      Pattern::kEdges, Pattern::kConstant,
                                        Pattern::kAlternating, Pattern::kRuns,  Pattern::kBursts};

template <class T>
T edge(Random &random) {
  const unsigned bits = 8 * sizeof(T);
  const uint64_t top = uint64_t{1} << (bits - 1);
  const uint64_t values[] = {0, 1, ~uint64_t{0}, top, top - 1, top + 1, top >> 1, ~(top >> 1)};
  return static_cast<T>(values[random.below(8)]);
}

template <class T>
void fill(T *values, size_t count, Pattern pattern, Random &random) {
  T a = static_cast<T>(random.next()), b = static_cast<T>(random.next());
  size_t run = 0;
  for (size_t i = 0; i < count; ++i) {
    switch (pattern) {
      case Pattern::kRandom:
        values[i] = static_cast<T>(random.next());
        break;
      case Pattern::kEdges:
        values[i] = edge<T>(random);
        break;
      case Pattern::kConstant:
        values[i] = a;
        break;
      case Pattern::kAlternating:
        values[i] = i % 2 == 0 ? a : b;
        break;
      case Pattern::kRuns:
      case Pattern::kBursts:
        if (run == 0) {
          run = 1 + random.below(40);
          a = static_cast<T>(random.next());
          b = static_cast<T>(random.below(2));
        }
        --run;
        values[i] = pattern == Pattern::kRuns || b == 0 ? a : static_cast<T>(random.next());
        break;
    }
  }
}

// `count` values at an address that is `skew` values off a 64-octet boundary, between guards of known octets.
// The buffer itself starts as garbage.
template <class T>
class Guarded {
 public:
  explicit Guarded(size_t count, size_t skew = 0)
      : count_(count), octets_(kGuard * 2 + 64 + (skew + count) * sizeof(T), kMark) {
    const auto start = reinterpret_cast<uintptr_t>(octets_.data()) + kGuard;
    first_ = kGuard + (64 - start % 64) % 64 + skew * sizeof(T);
  }
  Guarded(const Guarded &) = delete;
  Guarded &operator=(const Guarded &) = delete;
  T *data() { return reinterpret_cast<T *>(octets_.data() + first_); }
  T &operator[](size_t i) { return data()[i]; }
  size_t size() const { return count_; }

  // Nothing but the buffer was written.
  bool intact() const {
    const size_t end = first_ + count_ * sizeof(T);
    for (size_t i = 0; i < octets_.size(); ++i) {
      if ((i < first_ || i >= end) && octets_[i] != kMark) return false;
    }
    return true;
  }
  // The buffer was not written either (or only with what it held).
  bool untouched() const {
    for (const unsigned char octet : octets_) {
      if (octet != kMark) return false;
    }
    return true;
  }

 private:
  static constexpr size_t kGuard = 256;
  static constexpr unsigned char kMark = 0xA5;
  size_t count_, first_;
  std::vector<unsigned char> octets_;
};

// State of a kernel: `size` octets at a 64-octet boundary.
class State {
 public:
  explicit State(size_t size) : lines_((size + 63) / 64) {}
  void *data() { return lines_.data(); }

 private:
  struct alignas(64) Line {
    unsigned char octets[64];
  };
  std::vector<Line> lines_;
};

inline double cpu_seconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Prints what one call of `work` takes: the best of nine batches of about 10 ms, in ns and per item.
template <class F>
void report(const char *variant, double items, F work) {
  size_t calls = 1;
  for (double spent = 0; spent < 5e-3; calls *= 2) {
    const double start = cpu_seconds();
    for (size_t i = 0; i < calls; ++i) work();
    spent = cpu_seconds() - start;
  }
  double best = 1e9;
  for (int round = 0; round < 9; ++round) {
    const double start = cpu_seconds();
    for (size_t i = 0; i < calls; ++i) work();
    const double each = (cpu_seconds() - start) / static_cast<double>(calls);
    best = each < best ? each : best;
  }
  std::printf("  %-10s %12.1f ns %10.1f M/s\n", variant, best * 1e9, items / best * 1e-6);
}

struct Bench {
  const char *name;
  void (*run)();
};

inline std::vector<Bench> &benches() {
  static std::vector<Bench> all;
  return all;
}

struct Registered {
  Registered(const char *name, void (*run)()) { benches().push_back({name, run}); }
};

// Every instruction set that this CPU can run.
inline std::vector<cr_isa> available_isas() {
  std::vector<cr_isa> all;
  for (const cr_isa isa : {CR_ISA_SCALAR, CR_ISA_BASELINE, CR_ISA_NEON, CR_ISA_AVX2, CR_ISA_AVX512}) {
    if (cr_isa_available(isa)) all.push_back(isa);
  }
  return all;
}

// The folder of vectors, "" when it is not there: then REQUIRE_VECTORS fails under CI and else skips.
inline std::string vectors() {
  const char *named = std::getenv("CALLREPLAY_VECTORS");
  return named != nullptr ? named : CALLREPLAY_VECTORS_DEFAULT;
}

inline bool read_file(const std::string &path, std::vector<unsigned char> &octets) {
  FILE *file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) return false;
  std::fseek(file, 0, SEEK_END);
  octets.resize(static_cast<size_t>(std::ftell(file)));
  std::rewind(file);
  const size_t got = std::fread(octets.data(), 1, octets.size(), file);
  std::fclose(file);
  return got == octets.size();
}

// Samples of a file of vectors, which are little-endian whatever the processor is.
inline std::vector<int16_t> samples_of(const std::vector<unsigned char> &octets) {
  std::vector<int16_t> samples(octets.size() / 2);
  for (size_t i = 0; i < samples.size(); ++i) {
    samples[i] = static_cast<int16_t>(octets[2 * i] | octets[2 * i + 1] << 8);
  }
  return samples;
}

inline bool under_ci() {
  const char *ci = std::getenv("CI");
  return ci != nullptr && std::strcmp(ci, "true") == 0;
}

inline int main(int argc, char **argv) {
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--bench") == 0) {
      for (const Bench &bench : benches()) {
        std::printf("%s\n", bench.name);
        bench.run();
      }
      return 0;
    }
  }
  std::printf("checkasm: seed %llu, instruction sets:", static_cast<unsigned long long>(seed()));
  for (const cr_isa isa : available_isas()) std::printf(" %s", cr_isa_name(isa));
  std::printf("\n");
  doctest::Context context(argc, argv);
  return context.run();
}

}  // namespace checkasm

#define CHECKASM_JOIN2(a, b) a##b
#define CHECKASM_JOIN(a, b) CHECKASM_JOIN2(a, b)
#define CHECKASM_BENCH_AS(id, name)                                 \
  static void id();                                                 \
  static const checkasm::Registered CHECKASM_JOIN(id, _)(name, id); \
  static void id()
#define CHECKASM_BENCH(name) CHECKASM_BENCH_AS(CHECKASM_JOIN(checkasm_bench_, __LINE__), name)

// Reads a vector into `octets`, or fails (CI=true) or leaves the test case with a message.
#define REQUIRE_VECTOR(name, octets)                                                          \
  do {                                                                                        \
    if (!checkasm::read_file(checkasm::vectors() + "/" + (name), octets)) {                   \
      if (checkasm::under_ci()) FAIL("vector missing: ", checkasm::vectors() + "/" + (name)); \
      MESSAGE("skipped, vector missing: ", checkasm::vectors() + "/" + (name));               \
      return;                                                                                 \
    }                                                                                         \
  } while (false)

int main(int argc, char **argv) {
  return checkasm::main(argc, argv);
}
