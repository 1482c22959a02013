#include "decode/g726/codes.h"

namespace callreplay {
namespace {

// Parts of 2 * kPart bits, one every kEvery bits: their upper halves move to the middle between two parts.
template <int kPart, int kEvery>
uint64_t spread(uint64_t word) {
  constexpr uint64_t kEach = kEvery == 64 ? 1 : kEvery == 32 ? 0x1'0000'0001 : 0x1'0001'0001'0001;
  constexpr uint64_t kLower = ((uint64_t{1} << kPart) - 1) * kEach;
  return (word & kLower) | (word >> kPart & kLower) << kEvery / 2;
}

// Eight codes fill `kBits` octets, whatever kBits is: they go through one word.
template <int kBits, bool kAal2>
void unpack_eight(const uint8_t *octets, uint8_t *codes) {
  uint64_t word = 0;
  for (int i = 0; i < kBits; ++i) {
    word |= uint64_t{octets[i]} << 8 * (kAal2 ? kBits - 1 - i : i);
  }
  word = spread<kBits, 16>(spread<2 * kBits, 32>(spread<4 * kBits, 64>(word)));
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
