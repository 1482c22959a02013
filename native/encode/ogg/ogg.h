// Ogg pages (RFC 3533) of one logical stream whose packets are small: a packet never spans pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace callreplay {

class OggWriter {
 public:
  explicit OggWriter(uint32_t serial) : serial_(serial) {}

  // A page of its own for a header packet of up to 255 * 255 - 1 octets; the first one begins the stream.
  void write_header(const uint8_t *packet, size_t size, std::vector<uint8_t> &out);

  // Puts a packet of at most kMaxPacket octets on the open page; `granule` is the position at its end. The
  // page leaves before the packet when it holds `packets_per_page` already, so the last packet's page is
  // always still open for the end mark.
  void add(const uint8_t *packet, size_t size, int64_t granule, int packets_per_page,
           std::vector<uint8_t> &out);

  // Ends the open page; `last` marks the end of the stream.
  void flush(bool last, std::vector<uint8_t> &out);

  static constexpr size_t kMaxPacket = 254;
  static constexpr int kMaxPackets = 255;

 private:
  void write_page(uint8_t flags, int64_t granule, const uint8_t *lacing, size_t segments, const uint8_t *body,
                  size_t size, std::vector<uint8_t> &out);

  uint32_t serial_;
  uint32_t sequence_ = 0;
  int packets_ = 0;
  int64_t granule_ = 0;
  uint8_t lacing_[kMaxPackets];
  std::vector<uint8_t> body_;
};

// CRC-32 of a page: polynomial 0x04C11DB7, most significant bit first, start 0, no reflection,
// no final inversion.
uint32_t ogg_crc(const uint8_t *octets, size_t size);

}  // namespace callreplay
