#include "decode/g726/codes.h"

namespace callreplay {
namespace {

// Eight codes fill `kBits` octets, whatever kBits is: they go through one word, in which halves, quarters and eighths move
// to where they belong.
template <int kBits, bool kAal2>
void unpack_eight(const uint8_t *octets, uint8_t *codes) {
  constexpr uint64_t kOne = (1u << kBits) - 1, kTwo = kOne << 8 | kOne, kFour = kTwo << 16 | kTwo;
  uint64_t word = 0;
  for (int i = 0; i < kBits; ++i) {
    word |= uint64_t{octets[i]} << 8 * (kAal2 ? kBits - 1 - i : i);
  }
  word = (word | word << (32 - 4 * kBits)) & ((1ull << 4 * kBits) - 1) * 0x1'0000'0001;
  word = (word | word << (16 - 2 * kBits)) & ((1ull << 2 * kBits) - 1) * 0x1'0001'0001'0001;
  word = (word | word << (8 - kBits)) & (kFour << 32 | kFour);
  for (int i = 0; i < 8; ++i) {
    codes[i] = static_cast<uint8_t>(word >> 8 * (kAal2 ? 7 - i : i));
  }
}

// One code, which lies in one octet or in two.
template <int kBits, bool kAal2>
uint8_t unpack_one(const uint8_t *payload, size_t index) {
  const size_t bit = index * kBits;
  const uint8_t *octet = payload + bit / 8;
  const auto within = static_cast<int>(bit % 8);
  const unsigned next = within + kBits > 8 ? octet[1] : 0u;
  const unsigned both = kAal2 ? octet[0] << 8 | next : next << 8 | octet[0];
  return static_cast<uint8_t>(both >> (kAal2 ? 16 - within - kBits : within) & ((1u << kBits) - 1));
}

template <int kBits, bool kAal2>
void unpack(const uint8_t *payload, size_t first, size_t count, uint8_t *codes) {
  size_t done = 0;
  for (; done < count && (first + done) % 8 != 0; ++done) {
    codes[done] = unpack_one<kBits, kAal2>(payload, first + done);
  }
  for (; done + 8 <= count; done += 8) {
    unpack_eight<kBits, kAal2>(payload + (first + done) / 8 * kBits, codes + done);
  }
  for (; done < count; ++done) {
    codes[done] = unpack_one<kBits, kAal2>(payload, first + done);
  }
}

}  // namespace

void unpack_g726(const uint8_t *payload, size_t first, size_t count, int bits, bool aal2, uint8_t *codes) {
  switch (bits) {
    case 2:
      return aal2 ? unpack<2, true>(payload, first, count, codes)
                  : unpack<2, false>(payload, first, count, codes);
    case 3:
      return aal2 ? unpack<3, true>(payload, first, count, codes)
                  : unpack<3, false>(payload, first, count, codes);
    case 4:
      return aal2 ? unpack<4, true>(payload, first, count, codes)
                  : unpack<4, false>(payload, first, count, codes);
    default:
      return aal2 ? unpack<5, true>(payload, first, count, codes)
                  : unpack<5, false>(payload, first, count, codes);
  }
}

}  // namespace callreplay
