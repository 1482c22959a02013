// The C face of the voice-activity detector.
#include <new>

#include "speech/detector.h"

struct cr_speech {
  callreplay::SpeechDetector detector;
  bool finished = false;
};

extern "C" {

cr_status cr_speech_create(int32_t rate_hz, cr_speech **speech) {
  if (rate_hz < 8000 || rate_hz > 48000 || speech == nullptr) {
    return CR_ARGUMENT;
  }
  try {
    *speech = new cr_speech{callreplay::SpeechDetector(rate_hz)};
  } catch (const std::bad_alloc &) {
    return CR_MEMORY;
  }
  return CR_OK;
}

void cr_speech_destroy(cr_speech *speech) {
  delete speech;
}

cr_status cr_speech_write(cr_speech *speech, const int16_t *pcm, size_t count) {
  return cr_speech_write_channel(speech, pcm, count, 1);
}

cr_status cr_speech_write_channel(cr_speech *speech, const int16_t *pcm, size_t count, size_t channels) {
  if (speech == nullptr || channels == 0 || (count > 0 && pcm == nullptr)) {
    return CR_ARGUMENT;
  }
  if (speech->finished) {
    return CR_STATE;
  }
  try {
    speech->detector.write(pcm, count, channels);
  } catch (const std::bad_alloc &) {
    return CR_MEMORY;
  }
  return CR_OK;
}

cr_status cr_speech_write_pair(cr_speech *one, cr_speech *two, const int16_t *pcm, size_t count,
                               size_t channels) {
  if (one == nullptr || two == nullptr || one == two || channels < 2 || (count > 0 && pcm == nullptr)) {
    return CR_ARGUMENT;
  }
  if (one->finished || two->finished) {
    return CR_STATE;
  }
  try {
    callreplay::SpeechDetector::write(one->detector, two->detector, pcm, count, channels);
  } catch (const std::bad_alloc &) {
    return CR_MEMORY;
  }
  return CR_OK;
}

cr_status cr_speech_finish(cr_speech *speech) {
  if (speech == nullptr) {
    return CR_ARGUMENT;
  }
  try {
    speech->detector.finish();
  } catch (const std::bad_alloc &) {
    return CR_MEMORY;
  }
  speech->finished = true;
  return CR_OK;
}

cr_status cr_speech_take(cr_speech *speech, cr_talk *talk, size_t capacity, size_t *count) {
  if (speech == nullptr || count == nullptr || (capacity > 0 && talk == nullptr)) {
    return CR_ARGUMENT;
  }
  *count = speech->detector.take(talk, capacity);
  return CR_OK;
}

cr_status cr_speech_settled(const cr_speech *speech, int64_t *sample) {
  if (speech == nullptr || sample == nullptr) {
    return CR_ARGUMENT;
  }
  *sample = speech->detector.settled();
  return CR_OK;
}

}  // extern "C"
