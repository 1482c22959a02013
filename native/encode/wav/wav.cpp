#include "callreplay/wav.h"

#include <bit>
#include <cstring>

#include "encode/g711/kernels.h"

namespace {

constexpr uint32_t kUnknown = 0xffffffffu;
constexpr uint16_t kTagPcm = 1, kTagAlaw = 6, kTagUlaw = 7;
constexpr uint32_t kDs64Size = 28;  // three 64-bit sizes and an empty table (EBU Tech 3306)

// A little-endian writer over a buffer that is known to be large enough.
class Writer {
 public:
  explicit Writer(uint8_t *out) : begin_(out), at_(out) {}
  void name(const char *four) {
    std::memcpy(at_, four, 4);
    at_ += 4;
  }
  void number(uint64_t value, int octets) {
    for (int i = 0; i < octets; ++i) {
      *at_++ = static_cast<uint8_t>(value >> (8 * i));
    }
  }
  size_t size() const { return static_cast<size_t>(at_ - begin_); }

 private:
  uint8_t *begin_, *at_;
};

bool known(cr_wav_encoding encoding) {
  return encoding >= CR_WAV_S16 && encoding <= CR_WAV_ALAW;
}

uint16_t tag(cr_wav_encoding encoding) {
  return encoding == CR_WAV_S16 ? kTagPcm : encoding == CR_WAV_ULAW ? kTagUlaw : kTagAlaw;
}

struct Layout {
  uint32_t format_size;  // fmt: 16 for PCM; 18 and a fact chunk for all else
  uint32_t fact_size;    // of the whole fact chunk
  uint32_t header_size;
};

Layout layout(cr_wav_encoding encoding) {
  const uint32_t format = encoding == CR_WAV_S16 ? 16 : 18;
  const uint32_t fact = encoding == CR_WAV_S16 ? 0 : 12;
  return {format, fact, 12 + 8 + format + fact + 8};
}

}  // namespace

extern "C" {

int cr_wav_pad(uint64_t bytes) {
  return static_cast<int>(bytes & 1);
}

cr_status cr_wav_header(cr_wav_encoding encoding, uint32_t rate_hz, uint32_t channels, uint64_t frames,
                        uint8_t *out, size_t *size) {
  if (!known(encoding) || rate_hz == 0 || rate_hz > 384000 || channels == 0 || channels > 64 ||
      out == nullptr || size == nullptr || (frames != CR_WAV_UNKNOWN && frames > (uint64_t{1} << 48))) {
    return CR_ARGUMENT;
  }
  const uint32_t sample = encoding == CR_WAV_S16 ? 2 : 1;
  const Layout sizes = layout(encoding);
  const bool unknown = frames == CR_WAV_UNKNOWN;
  const uint64_t data = unknown ? 0 : frames * channels * sample;
  const uint64_t riff = data + static_cast<uint64_t>(cr_wav_pad(data)) + sizes.header_size - 8;
  const bool large = !unknown && riff >= kUnknown;
  Writer to(out);
  to.name(large ? "RF64" : "RIFF");
  to.number(large || unknown ? kUnknown : riff, 4);
  to.name("WAVE");
  if (large) {
    to.name("ds64");
    to.number(kDs64Size, 4);
    to.number(riff + 8 + kDs64Size, 8);
    to.number(data, 8);
    to.number(frames, 8);
    to.number(0, 4);
  }
  to.name("fmt ");
  to.number(sizes.format_size, 4);
  to.number(tag(encoding), 2);
  to.number(channels, 2);
  to.number(rate_hz, 4);
  to.number(uint64_t{rate_hz} * channels * sample, 4);
  to.number(uint64_t{channels} * sample, 2);
  to.number(8 * sample, 2);
  if (encoding != CR_WAV_S16) {
    to.number(0, 2);
    to.name("fact");
    to.number(4, 4);
    to.number(large || unknown ? kUnknown : frames, 4);
  }
  to.name("data");
  to.number(large || unknown ? kUnknown : data, 4);
  *size = to.size();
  return CR_OK;
}

cr_status cr_wav_encode(cr_wav_encoding encoding, const int16_t *pcm, size_t count, uint8_t *out) {
  if (!known(encoding) || (count > 0 && (pcm == nullptr || out == nullptr))) {
    return CR_ARGUMENT;
  }
  const callreplay::G711Encoder *law = callreplay::g711_encoder_kernel(cr_isa_active());
  if (encoding == CR_WAV_ULAW) {
    law->ulaw(pcm, out, count);
  } else if (encoding == CR_WAV_ALAW) {
    law->alaw(pcm, out, count);
  } else if constexpr (std::endian::native == std::endian::little) {
    std::memcpy(out, pcm, 2 * count);
  } else {
    Writer to(out);
    for (size_t n = 0; n < count; ++n) {
      to.number(static_cast<uint16_t>(pcm[n]), 2);
    }
  }
  return CR_OK;
}

}  // extern "C"
