// The C face of the voice-activity detector.
#include "handle.h"
#include "speech/detector.h"

struct cr_speech : callreplay::Handle {
  explicit cr_speech(int32_t rate_hz) : detector(rate_hz) {}

  callreplay::SpeechDetector detector;
  bool finished = false;
};

extern "C" {

cr_status cr_speech_create(int32_t rate_hz, cr_speech **speech) {
  if (rate_hz < 8000 || rate_hz > 48000 || speech == nullptr) {
    return CR_ARGUMENT;
  }
  return callreplay::create(speech, rate_hz);
}

void cr_speech_destroy(cr_speech *speech) {
  delete speech;
}

cr_status cr_speech_write(cr_speech *speech, const int16_t *pcm, size_t count) {
  return cr_speech_write_channel(speech, pcm, count, 1);
}

cr_status cr_speech_write_channel(cr_speech *speech, const int16_t *pcm, size_t count, size_t channels) {
  if (channels == 0 || (count > 0 && pcm == nullptr)) {
    return CR_ARGUMENT;
  }
  return callreplay::use(speech, [&](cr_speech &held) {
    if (held.finished) {
      return CR_STATE;
    }
    held.detector.write(pcm, count, channels);
    return CR_OK;
  });
}

cr_status cr_speech_write_pair(cr_speech *one, cr_speech *two, const int16_t *pcm, size_t count,
                               size_t channels) {
  if (one == two || channels < 2 || (count > 0 && pcm == nullptr)) {
    return CR_ARGUMENT;
  }
  return callreplay::use(one, [&](cr_speech &first) {
    return callreplay::use(two, [&](cr_speech &second) {
      if (first.finished || second.finished) {
        return CR_STATE;
      }
      callreplay::SpeechDetector::write(first.detector, second.detector, pcm, count, channels);
      return CR_OK;
    });
  });
}

cr_status cr_speech_finish(cr_speech *speech) {
  return callreplay::use(speech, [](cr_speech &held) {
    held.detector.finish();
    held.finished = true;
    return CR_OK;
  });
}

cr_status cr_speech_take(cr_speech *speech, cr_talk *talk, size_t capacity, size_t *count) {
  if (count == nullptr || (capacity > 0 && talk == nullptr)) {
    return CR_ARGUMENT;
  }
  return callreplay::use(speech, [&](cr_speech &held) {
    *count = held.detector.take(talk, capacity);
    return CR_OK;
  });
}

cr_status cr_speech_settled(const cr_speech *speech, int64_t *sample) {
  if (sample == nullptr) {
    return CR_ARGUMENT;
  }
  return callreplay::use(speech, [&](const cr_speech &held) {
    *sample = held.detector.settled();
    return CR_OK;
  });
}

}  // extern "C"
