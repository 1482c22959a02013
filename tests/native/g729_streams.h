// Streams of G.729 frames made to disturb a decoder: noise, damage, loudness, silence and every order
// of frame types.
#pragma once

#include <random>

#include "g729_vectors.h"

namespace g729_streams {

using callreplay::G729Frame;
using g729_vectors::StoredFrame;

enum Kind : int {
  kRandomBits,   // any field, any value
  kLoud,         // the largest gains, slowly moving filters: drives every sum to its rails
  kExtremeLags,  // lags at both ends of the range, right and wrong parity
  kMutated,      // conformance frames with a few bits flipped
  kErasures,     // conformance frames, bursts of loss
  kSilences,     // speech, SID and untransmitted frames in runs, some of them lost
  kLoudNoise,    // the loudest speech, the loudest SIDs and losses, in short runs of each
  kDisorder,     // every type, erased or not, from the first frame on
  kKinds
};

class Stream {
 public:
  Stream(Kind kind, uint32_t seed, const std::vector<StoredFrame> *speech)
      : kind_(kind), random_(seed), speech_(speech), at_(speech->empty() ? 0 : random_() % speech->size()) {
    loud_ = noise();
  }

  StoredFrame next() {
    switch (kind_) {
      case kRandomBits:
        return noise();
      case kLoud:
        return loud();
      case kExtremeLags:
        return extreme_lag();
      case kMutated: {
        StoredFrame frame = spoken();
        for (uint32_t flips = chance(3) ? 1 + random_() % 6 : 0; flips > 0; --flips) {
          flip(&frame, random_() % 80);
        }
        return frame;
      }
      case kErasures: {
        StoredFrame frame = spoken();
        frame.erased = run(8, 3);
        return frame;
      }
      case kSilences:
        return silence();
      case kLoudNoise:
        return loud_noise();
      default:
        return disorder();
    }
  }

 private:
  bool chance(uint32_t in) { return random_() % in == 0; }

  // True in runs of random length, `off` times as long off as `on`.
  bool run(uint32_t off, uint32_t on) {
    if (left_ == 0) {
      state_ = !state_;
      left_ = 1 + random_() % (state_ ? on * 3 : off * 3);
    }
    --left_;
    return state_;
  }

  static void flip(StoredFrame *frame, uint32_t bit) {
    frame->octets[bit / 8] = static_cast<uint8_t>(frame->octets[bit / 8] ^ 0x80 >> (bit % 8));
  }
  static void set(StoredFrame *frame, int first, int count, uint32_t value) {
    for (int i = 0; i < count; ++i) {
      const int bit = first + i;
      const uint8_t mask = static_cast<uint8_t>(0x80 >> (bit % 8));
      const bool on = (value >> (count - 1 - i)) & 1;
      frame->octets[bit / 8] =
          static_cast<uint8_t>(on ? frame->octets[bit / 8] | mask : frame->octets[bit / 8] & ~mask);
    }
  }

  StoredFrame noise() {
    StoredFrame frame;
    frame.type = G729Frame::kSpeech;
    for (uint8_t &octet : frame.octets) {
      octet = static_cast<uint8_t>(random_());
    }
    return frame;
  }

  StoredFrame loud() {
    if (chance(12)) {
      loud_ = noise();
    }
    for (int bit : {0, 1, 9, 14}) {
      if (chance(20)) {
        flip(&loud_, static_cast<uint32_t>(bit) + random_() % 5);
      }
    }
    // The third stage 1 entry and the eighth stage 2 entry of the transmitted order carry the largest gains.
    for (int first : {44, 73}) {
      set(&loud_, first, 3, chance(4) ? random_() % 8 : 2);
      set(&loud_, first + 3, 4, chance(4) ? random_() % 16 : 6);
    }
    set(&loud_, 18, 8, random_());
    set(&loud_, 51, 5, random_());
    loud_.erased = chance(30);
    return loud_;
  }

  StoredFrame extreme_lag() {
    StoredFrame frame = noise();
    const uint32_t ends[] = {0, 1, 2, 3, 4, 60, 140, 195, 196, 197, 198, 250, 253, 254, 255};
    const uint32_t p1 = ends[random_() % 15];
    set(&frame, 18, 8, p1);
    const uint32_t parity = (1 + static_cast<uint32_t>(__builtin_popcount(p1 >> 2))) & 1;
    set(&frame, 26, 1, chance(5) ? parity ^ 1 : parity);
    set(&frame, 51, 5, chance(2) ? 31 : random_() % 3);
    if (!chance(3)) {
      set(&frame, 44, 3, random_() % 3);
    }
    frame.erased = chance(10);
    return frame;
  }

  StoredFrame spoken() {
    if (speech_->empty()) {
      return noise();
    }
    at_ = (at_ + 1) % speech_->size();
    return (*speech_)[at_];
  }

  StoredFrame silence() {
    StoredFrame frame = spoken();
    if (run(10, 10)) {
      frame = noise();
      frame.type = chance(4) ? G729Frame::kSid : G729Frame::kUntransmitted;
    }
    frame.erased = chance(12);
    return frame;
  }

  // Excitation at its rails when the noise begins, and a noise that overflows the synthesis by itself.
  StoredFrame loud_noise() {
    StoredFrame frame = loud();
    if (run(4, 4)) {
      frame = noise();
      frame.type = chance(3) ? G729Frame::kSid : G729Frame::kUntransmitted;
      set(&frame, 10, 5, chance(3) ? random_() % 32 : 31);
    }
    frame.erased = chance(6);
    return frame;
  }

  StoredFrame disorder() {
    StoredFrame frame = noise();
    frame.type = static_cast<G729Frame::Type>(random_() % 3);
    frame.erased = chance(3);
    return frame;
  }

  Kind kind_;
  std::mt19937 random_;
  const std::vector<StoredFrame> *speech_;
  size_t at_;
  StoredFrame loud_;
  bool state_ = true;
  uint32_t left_ = 0;
};

}  // namespace g729_streams
