#include "encode/ogg/ogg.h"

#include <algorithm>
#include <array>

namespace callreplay {

namespace {

constexpr int kSlices = 8;

// table[s][b]: the CRC of octet b followed by s zero octets.
constexpr auto kCrcTable = [] {
  std::array<std::array<uint32_t, 256>, kSlices> table{};
  for (uint32_t octet = 0; octet < 256; ++octet) {
    uint32_t crc = octet << 24;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc << 1) ^ ((crc >> 31) * 0x04C11DB7u);
    }
    table[0][octet] = crc;
  }
  for (int s = 1; s < kSlices; ++s) {
    for (uint32_t octet = 0; octet < 256; ++octet) {
      const uint32_t before = table[s - 1][octet];
      table[s][octet] = (before << 8) ^ table[0][before >> 24];
    }
  }
  return table;
}();

void put_little_endian(uint64_t value, int octets, std::vector<uint8_t> &out) {
  for (int i = 0; i < octets; ++i) {
    out.push_back(static_cast<uint8_t>(value >> (8 * i)));
  }
}

}  // namespace

uint32_t ogg_crc(const uint8_t *octets, size_t size) {
  uint32_t crc = 0;
  for (; size >= kSlices; octets += kSlices, size -= kSlices) {
    const uint32_t head = crc ^ (uint32_t{octets[0]} << 24 | uint32_t{octets[1]} << 16 |
                                 uint32_t{octets[2]} << 8 | uint32_t{octets[3]});
    crc = kCrcTable[7][head >> 24] ^ kCrcTable[6][head >> 16 & 255] ^ kCrcTable[5][head >> 8 & 255] ^
          kCrcTable[4][head & 255] ^ kCrcTable[3][octets[4]] ^ kCrcTable[2][octets[5]] ^
          kCrcTable[1][octets[6]] ^ kCrcTable[0][octets[7]];
  }
  for (; size > 0; ++octets, --size) {
    crc = (crc << 8) ^ kCrcTable[0][(crc >> 24) ^ *octets];
  }
  return crc;
}

void OggWriter::write_page(uint8_t flags, int64_t granule, const uint8_t *lacing, size_t segments,
                           const uint8_t *body, size_t size, std::vector<uint8_t> &out) {
  const size_t start = out.size();
  constexpr size_t kCrcOffset = 22;
  const uint8_t magic[] = {'O', 'g', 'g', 'S', 0};
  out.insert(out.end(), std::begin(magic), std::end(magic));
  out.push_back(flags);
  put_little_endian(static_cast<uint64_t>(granule), 8, out);
  put_little_endian(serial_, 4, out);
  put_little_endian(sequence_++, 4, out);
  put_little_endian(0, 4, out);
  out.push_back(static_cast<uint8_t>(segments));
  out.insert(out.end(), lacing, lacing + segments);
  out.insert(out.end(), body, body + size);
  const uint32_t crc = ogg_crc(out.data() + start, out.size() - start);
  for (size_t i = 0; i < 4; ++i) {
    out[start + kCrcOffset + i] = static_cast<uint8_t>(crc >> (8 * i));
  }
}

void OggWriter::write_header(const uint8_t *packet, size_t size, std::vector<uint8_t> &out) {
  const uint8_t kBeginOfStream = 2;
  std::vector<uint8_t> lacing(size / 255, 255);
  lacing.push_back(static_cast<uint8_t>(size % 255));
  write_page(sequence_ == 0 ? kBeginOfStream : 0, 0, lacing.data(), lacing.size(), packet, size, out);
}

void OggWriter::add(const uint8_t *packet, size_t size, int64_t granule, int packets_per_page,
                    std::vector<uint8_t> &out) {
  if (packets_ >= std::min(packets_per_page, kMaxPackets)) {
    flush(false, out);
  }
  lacing_[packets_++] = static_cast<uint8_t>(size);
  body_.insert(body_.end(), packet, packet + size);
  granule_ = granule;
}

void OggWriter::flush(bool last, std::vector<uint8_t> &out) {
  if (packets_ == 0 && !last) {
    return;
  }
  const uint8_t kEndOfStream = 4;
  write_page(last ? kEndOfStream : 0, granule_, lacing_, static_cast<size_t>(packets_), body_.data(),
             body_.size(), out);
  packets_ = 0;
  body_.clear();
}

}  // namespace callreplay
