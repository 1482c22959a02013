// The ITU's G.729 conformance files: where they are, and their serial form as frames.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "decode/kernels.h"

namespace g729_vectors {

// $CALLREPLAY_VECTORS, else ../shared/vectors from the project's root.
inline std::string folder() {
  const char *named = std::getenv("CALLREPLAY_VECTORS");
  return std::string(named != nullptr ? named : CALLREPLAY_VECTORS_DEFAULT) + "/g729";
}

inline bool read_file(const std::string &path, std::vector<uint8_t> *out) {
  std::FILE *file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) {
    return false;
  }
  uint8_t block[4096];
  for (size_t got; (got = std::fread(block, 1, sizeof block, file)) > 0;) {
    out->insert(out->end(), block, block + got);
  }
  std::fclose(file);
  return true;
}

inline std::vector<uint16_t> words_of(const std::vector<uint8_t> &octets) {
  std::vector<uint16_t> words(octets.size() / 2);
  for (size_t i = 0; i < words.size(); ++i) {
    words[i] = static_cast<uint16_t>(octets[2 * i] | octets[2 * i + 1] << 8);
  }
  return words;
}

struct StoredFrame {
  uint8_t octets[10] = {};
  callreplay::G729Frame::Type type = callreplay::G729Frame::kUntransmitted;
  bool erased = false;

  callreplay::G729Frame view() const { return {octets, type, erased}; }
};

// The serial form: sync word, count, one word a bit. One zero word erases a frame; a frame without bits is
// erased unless its sync word is the good one. A count other than 80 and 16 carries nothing.
inline std::vector<StoredFrame> parse_serial(const std::vector<uint16_t> &words) {
  std::vector<StoredFrame> frames;
  for (size_t at = 0; at + 2 <= words.size();) {
    const uint16_t sync = words[at];
    const size_t count = words[at + 1];
    at += 2;
    if (at + count > words.size()) {
      break;
    }
    StoredFrame frame;
    frame.erased = count == 0 && sync != 0x6B21;
    frame.type = count == 80   ? callreplay::G729Frame::kSpeech
                 : count == 16 ? callreplay::G729Frame::kSid
                               : callreplay::G729Frame::kUntransmitted;
    for (size_t i = 0; i < count; ++i) {
      frame.erased |= words[at + i] == 0;
      if (i < 80 && words[at + i] == 0x0081) {
        frame.octets[i / 8] = static_cast<uint8_t>(frame.octets[i / 8] | 0x80 >> (i % 8));
      }
    }
    at += count;
    frames.push_back(frame);
  }
  return frames;
}

}  // namespace g729_vectors
