// The pixels of an indexed picture as PNG's IDAT holds them: filter "up", and deflate (RFC 1951) of literals and of
// runs. What a row of a picture of sound has and the row above lacks is mostly nothing, in runs; matches further away
// are not looked for, which is what takes a general compressor its time.
#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "callreplay/raster.h"
#include "handle.h"

namespace callreplay {
namespace {

constexpr uint8_t kUp = 2;
constexpr uint32_t kMaxWidth = uint32_t{1} << 20;
constexpr uint64_t kMaxPixels = uint64_t{1} << 27;  // Checks::add

constexpr size_t kShortestRun = 3;
constexpr size_t kLongestRun = 258;
constexpr size_t kLiterals = 256;
constexpr size_t kEnd = 256;         // the symbol behind the last of a block
constexpr size_t kSymbols = 286;     // literals, the end, lengths
constexpr int kLongestCode = 15;     // of a symbol
constexpr int kLongestMetaCode = 7;  // of the length of a code
constexpr size_t kBlock = 32768;     // literals and runs
constexpr size_t kBlockHead =
    400;  // octets, and more than a block has besides its symbols (and Bits looks ahead)
constexpr size_t kRuns = kLongestRun - kShortestRun + 1;

// RFC 1951, 3.2.5: the symbol of a length and the bits behind it.
struct RunSymbols {
  uint16_t symbol[kRuns] = {};
  uint8_t extra_bits[kRuns] = {};
  uint8_t extra[kRuns] = {};

  constexpr RunSymbols() {
    size_t run = 0;
    for (uint16_t each = 257; each < 285; ++each) {
      const int bits = each < 265 ? 0 : (each - 261) / 4;
      for (int value = 0; value < 1 << bits && run < kRuns; ++value, ++run) {
        symbol[run] = each;
        extra_bits[run] = static_cast<uint8_t>(bits);
        extra[run] = static_cast<uint8_t>(value);
      }
    }
    symbol[kRuns - 1] = 285;
    extra_bits[kRuns - 1] = extra[kRuns - 1] = 0;
  }
};
constexpr RunSymbols kRunSymbols;

// Lengths of Huffman codes for what is counted, none above `limit`; 0 for what does not occur.
void code_lengths(const uint32_t *counts, size_t symbols, int limit, uint8_t *lengths) {
  std::fill_n(lengths, symbols, uint8_t{0});
  uint16_t order[kSymbols];
  size_t used = 0;
  for (size_t symbol = 0; symbol < symbols; ++symbol) {
    if (counts[symbol] != 0) {
      order[used++] = static_cast<uint16_t>(symbol);
    }
  }
  if (used < 2) {
    if (used == 1) {
      lengths[order[0]] = 1;
    }
    return;
  }
  std::sort(order, order + used,
            [&](uint16_t a, uint16_t b) { return counts[a] != counts[b] ? counts[a] < counts[b] : a < b; });
  // Leaves by weight, then the inner nodes as they are made: each joins the two lightest that have no parent yet.
  uint32_t weight[2 * kSymbols];
  uint16_t parent[2 * kSymbols];
  for (size_t i = 0; i < used; ++i) {
    weight[i] = counts[order[i]];
  }
  size_t leaf = 0;
  size_t inner = used;
  const size_t nodes = 2 * used - 1;
  for (size_t made = used; made < nodes; ++made) {
    const auto lightest = [&] {
      return leaf < used && (inner == made || weight[leaf] <= weight[inner]) ? leaf++ : inner++;
    };
    const size_t first = lightest();
    const size_t second = lightest();
    weight[made] = weight[first] + weight[second];
    parent[first] = parent[second] = static_cast<uint16_t>(made);
  }
  uint16_t depth[2 * kSymbols];
  depth[nodes - 1] = 0;
  uint32_t of_length[kLongestCode + 2] = {};
  for (size_t node = nodes - 1; node-- > 0;) {
    depth[node] = static_cast<uint16_t>(depth[parent[node]] + 1);
    if (node < used) {
      ++of_length[std::min<int>(depth[node], limit)];
    }
  }
  // What was cut down to the limit takes more room than there is: longer codes elsewhere make it.
  uint32_t taken = 0;
  for (int length = 1; length <= limit; ++length) {
    taken += of_length[length] << (limit - length);
  }
  for (; taken > uint32_t{1} << limit; --taken) {
    int length = limit - 1;
    while (of_length[length] == 0) {
      --length;
    }
    --of_length[length];
    of_length[length + 1] += 2;
    --of_length[limit];
  }
  size_t at = 0;  // the rarest have the longest
  for (int length = limit; length > 0; --length) {
    for (uint32_t i = 0; i < of_length[length]; ++i) {
      lengths[order[at++]] = static_cast<uint8_t>(length);
    }
  }
}

struct Code {
  uint32_t bits = 0;
  uint32_t length = 0;
};

// RFC 1951, 3.2.2; codes go out from their highest bit on, all else from the lowest.
void codes_of(const uint8_t *lengths, size_t symbols, Code *codes) {
  uint32_t of_length[kLongestCode + 1] = {};
  for (size_t symbol = 0; symbol < symbols; ++symbol) {
    ++of_length[lengths[symbol]];
  }
  of_length[0] = 0;
  uint32_t next[kLongestCode + 1] = {};
  for (int length = 1; length <= kLongestCode; ++length) {
    next[length] = (next[length - 1] + of_length[length - 1]) << 1;
  }
  for (size_t symbol = 0; symbol < symbols; ++symbol) {
    const uint32_t length = lengths[symbol];
    uint32_t turned = 0;
    if (length != 0) {
      const uint32_t code = next[length]++;
      for (uint32_t bit = 0; bit < length; ++bit) {
        turned |= (code >> bit & 1) << (length - 1 - bit);
      }
    }
    codes[symbol] = {turned, length};
  }
}

// Bits, the lowest first. Whoever writes has seen to the room.
class Bits {
 public:
  explicit Bits(uint8_t *out) : at_(out) {}

  // All that is held goes out each time, and what is no whole octet again with the next: no branch to guess.
  void put(uint32_t bits, uint32_t count) {
    held_ |= uint64_t{bits} << count_;
    count_ += count;
    for (int octet = 0; octet < 8; ++octet) {  // one instruction where octets lie this way
      at_[octet] = static_cast<uint8_t>(held_ >> (8 * octet));
    }
    at_ += count_ / 8;
    held_ >>= count_ / 8 * 8;
    count_ %= 8;
  }
  void put(const Code &code) { put(code.bits, code.length); }

  uint8_t *finish() { return at_ + (count_ > 0 ? 1 : 0); }

 private:
  uint8_t *at_;
  uint64_t held_ = 0;
  uint32_t count_ = 0;
};

// Adler-32 (RFC 1950), reduced at the end: the octets of kMaxPixels and their filters leave `b` below 2^62.
class Checks {
 public:
  void add(uint8_t octet) {
    a_ += octet;
    b_ += a_;
  }
  void add(uint8_t octet, uint64_t times) {
    b_ += times * a_ + octet * (times * (times + 1) / 2);
    a_ += octet * times;
  }
  uint32_t value() const {
    constexpr uint64_t kBase = 65521;
    return static_cast<uint32_t>(b_ % kBase << 16 | a_ % kBase);
  }

 private:
  uint64_t a_ = 1;
  uint64_t b_ = 0;
};

// Octets become literals and runs, and these blocks with codes of their own.
class Deflate {
 public:
  explicit Deflate(uint8_t *out) : tokens_(kBlock), bits_(out) {}

  // `row` has at least eight octets more than `count`.
  void take(const uint8_t *row, size_t count);
  uint8_t *finish() {
    put_block(true);
    return bits_.finish();
  }
  uint32_t checks() const { return checks_.value(); }

 private:
  void put_token(size_t token) {
    if (held_ == kBlock) {
      put_block(false);
    }
    tokens_[held_++] = static_cast<uint16_t>(token);
  }
  void put_block(bool last);
  void put_head(const uint8_t *lengths, size_t symbols);

  std::vector<uint16_t> tokens_;  // a literal, or kLiterals and how much longer than the shortest a run is
  size_t held_ = 0;
  Bits bits_;
  Checks checks_;
};

// How many octets at `row` are `octet`, at most `most`; up to eight more are looked at.
size_t run_of(const uint8_t *row, uint8_t octet, size_t most) {
  const uint64_t all = octet * uint64_t{0x0101010101010101};
  for (size_t run = 0; run < most; run += 8) {
    uint64_t eight;
    std::memcpy(&eight, row + run, sizeof eight);
    if (const uint64_t others = eight ^ all; others != 0) {
      const int first =
          std::endian::native == std::endian::little ? std::countr_zero(others) : std::countl_zero(others);
      return std::min(most, run + static_cast<size_t>(first) / 8);
    }
  }
  return most;
}

void Deflate::take(const uint8_t *row, size_t count) {
  Checks checks = checks_;  // apart, where the compiler keeps it in registers
  for (size_t at = 0; at < count;) {
    const uint8_t octet = row[at++];
    put_token(octet);
    checks.add(octet);
    if (row[at] != octet) {
      continue;
    }
    const size_t run = run_of(row + at, octet, count - at);
    if (run < kShortestRun) {
      continue;
    }
    size_t left = run;
    for (; left >= kShortestRun; left -= std::min(left, kLongestRun)) {
      put_token(kLiterals + std::min(left, kLongestRun) - kShortestRun);
    }
    at += run - left;
    checks.add(octet, run - left);
  }
  checks_ = checks;
}

void Deflate::put_block(bool last) {
  uint32_t counts[kSymbols] = {};
  counts[kEnd] = 1;
  // Two by two, since of equal ones the second waits for the first.
  uint32_t of_token[2][kLiterals + kRuns] = {};
  for (size_t i = 0; i + 1 < held_; i += 2) {
    ++of_token[0][tokens_[i]];
    ++of_token[1][tokens_[i + 1]];
  }
  if (held_ % 2 != 0) {
    ++of_token[0][tokens_[held_ - 1]];
  }
  for (size_t token = 0; token < kLiterals + kRuns; ++token) {
    const size_t symbol = token < kLiterals ? token : kRunSymbols.symbol[token - kLiterals];
    counts[symbol] += of_token[0][token] + of_token[1][token];
  }
  uint8_t lengths[kSymbols + 1];
  code_lengths(counts, kSymbols, kLongestCode, lengths);
  Code codes[kSymbols];
  codes_of(lengths, kSymbols, codes);
  size_t symbols = kSymbols;
  while (symbols > 257 && lengths[symbols - 1] == 0) {
    --symbols;
  }
  bits_.put(last ? 1 : 0, 1);
  bits_.put(2, 2);
  put_head(lengths, symbols);
  // Behind a length its further bits, and one for the distance of 1.
  Code of[kLiterals + kRuns];
  std::copy_n(codes, kLiterals, of);
  for (size_t run = 0; run < kRuns; ++run) {
    const Code &code = codes[kRunSymbols.symbol[run]];
    of[kLiterals + run] = {code.bits | uint32_t{kRunSymbols.extra[run]} << code.length,
                           code.length + kRunSymbols.extra_bits[run] + 1};
  }
  Bits bits = bits_;  // as checks in take()
  for (size_t i = 0; i < held_; ++i) {
    bits.put(of[tokens_[i]]);
  }
  bits.put(codes[kEnd]);
  bits_ = bits;
  held_ = 0;
}

// RFC 1951, 3.2.7. There is one distance; its code is a single bit.
void Deflate::put_head(const uint8_t *lengths, size_t symbols) {
  uint8_t all[kSymbols + 1];
  std::copy_n(lengths, symbols, all);
  const size_t count = symbols + 1;
  all[symbols] = 1;
  struct Meta {
    uint8_t symbol, extra_bits, extra;
  };
  Meta metas[kSymbols + 1];
  size_t meta_count = 0;
  for (size_t at = 0; at < count;) {
    const uint8_t length = all[at];
    size_t run = 1;
    while (at + run < count && all[at + run] == length) {
      ++run;
    }
    at += run;
    if (length != 0) {
      metas[meta_count++] = {length, 0, 0};
      --run;
    }
    for (size_t most = 0; run >= 3; run -= most) {
      most = std::min<size_t>(run, length != 0 ? 6 : 138);
      metas[meta_count++] = length != 0 ? Meta{16, 2, static_cast<uint8_t>(most - 3)}
                            : most < 11 ? Meta{17, 3, static_cast<uint8_t>(most - 3)}
                                        : Meta{18, 7, static_cast<uint8_t>(most - 11)};
    }
    for (; run > 0; --run) {
      metas[meta_count++] = {length, 0, 0};
    }
  }
  constexpr size_t kMetas = 19;
  constexpr uint8_t kOrder[kMetas] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
  uint32_t counts[kMetas] = {};
  for (size_t i = 0; i < meta_count; ++i) {
    ++counts[metas[i].symbol];
  }
  uint8_t meta_lengths[kMetas];
  code_lengths(counts, kMetas, kLongestMetaCode, meta_lengths);
  Code codes[kMetas];
  codes_of(meta_lengths, kMetas, codes);
  size_t given = kMetas;
  while (given > 4 && meta_lengths[kOrder[given - 1]] == 0) {
    --given;
  }
  bits_.put(static_cast<uint32_t>(symbols - 257), 5);
  bits_.put(0, 5);
  bits_.put(static_cast<uint32_t>(given - 4), 4);
  for (size_t i = 0; i < given; ++i) {
    bits_.put(meta_lengths[kOrder[i]], 3);
  }
  for (size_t i = 0; i < meta_count; ++i) {
    bits_.put(codes[metas[i].symbol]);
    bits_.put(metas[i].extra, metas[i].extra_bits);
  }
}

// What `row` has beyond the one above. Vectors, so in a function of its own.
void filter(uint8_t *__restrict filtered, const uint8_t *__restrict row, const uint8_t *__restrict above,
            size_t count) {
  for (size_t x = 0; x < count; ++x) {
    filtered[x] = static_cast<uint8_t>(row[x] - above[x]);
  }
}

}  // namespace
}  // namespace callreplay

extern "C" {

size_t cr_png_room(uint32_t width, uint32_t height) {
  if (width == 0 || height == 0 || width > callreplay::kMaxWidth ||
      uint64_t{width} * height > callreplay::kMaxPixels) {
    return 0;
  }
  // Two octets for each, since no code has more than 15 bits.
  const size_t octets = (size_t{width} + 1) * height;
  return 2 * octets + (octets / callreplay::kBlock + 1) * callreplay::kBlockHead;
}

cr_status cr_png_pack(const uint8_t *pixels, size_t stride, uint32_t width, uint32_t height, uint8_t *out,
                      size_t room, size_t *size) {
  const size_t most = cr_png_room(width, height);
  if (pixels == nullptr || out == nullptr || size == nullptr || stride < width || most == 0 || room < most) {
    return CR_ARGUMENT;
  }
  *size = 0;
  return callreplay::caught([&] {
    std::vector<uint8_t> filtered(size_t{width} + 1 + 8);
    const std::vector<uint8_t> nothing(width);
    out[0] = 0x78;  // RFC 1950: deflate, a window of 32 KiB, the fastest level
    out[1] = 0x01;
    callreplay::Deflate deflate(out + 2);
    filtered[0] = callreplay::kUp;
    const uint8_t *above = nothing.data();
    for (uint32_t y = 0; y < height; ++y) {
      const uint8_t *row = pixels + size_t{y} * stride;
      callreplay::filter(filtered.data() + 1, row, above, width);
      deflate.take(filtered.data(), size_t{width} + 1);
      above = row;
    }
    uint8_t *end = deflate.finish();
    const uint32_t checks = deflate.checks();
    for (int octet = 3; octet >= 0; --octet) {
      *end++ = static_cast<uint8_t>(checks >> (8 * octet));
    }
    *size = static_cast<size_t>(end - out);
    return CR_OK;
  });
}

}  // extern "C"
