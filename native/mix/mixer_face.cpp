// The C face of the mixer.
#include <atomic>

#include "decode/leg/leg.h"
#include "handle.h"
#include "mix/mixer.h"

struct cr_mixer : callreplay::Handle {
  cr_mixer(const cr_timeline &timeline, const cr_event *events, size_t event_count)
      : mixer(timeline, events, event_count, 0), position(mixer.position()) {}

  callreplay::Mixer mixer;
  std::atomic<int64_t> position;  // asked for at any time, by any thread
};

namespace {
// A sum of this many full-scale samples stays inside 32 bits.
constexpr size_t kMaxTracks = 60000;
}  // namespace

extern "C" {

cr_status cr_mixer_create(const cr_timeline *timeline, const cr_event *events, size_t event_count,
                          cr_mixer **mixer) {
  const cr_status status = callreplay::check_timeline(timeline, events, event_count);
  if (status != CR_OK || mixer == nullptr) {
    return status != CR_OK ? status : CR_ARGUMENT;
  }
  return callreplay::create(mixer, *timeline, events, event_count);
}

void cr_mixer_destroy(cr_mixer *mixer) {
  delete mixer;
}

cr_status cr_mixer_add_track(cr_mixer *mixer, uint32_t leg, int32_t channel, int32_t sample_rate_hz,
                             int64_t anchor_ns, int64_t drift_ppb, uint32_t *track) {
  if (track == nullptr || channel < 0 || sample_rate_hz < 8000 || sample_rate_hz > 48000 ||
      anchor_ns < -callreplay::kMaxAnchorNs || anchor_ns > callreplay::kMaxAnchorNs ||
      drift_ppb < -callreplay::kMaxDriftPpb || drift_ppb > callreplay::kMaxDriftPpb) {
    return CR_ARGUMENT;
  }
  return callreplay::use(mixer, [&](cr_mixer &held) {
    if (channel >= held.mixer.channels()) {
      return CR_ARGUMENT;
    }
    if (held.mixer.tracks() >= kMaxTracks) {
      return CR_LIMIT;
    }
    *track = held.mixer.add_track(leg, channel, sample_rate_hz, anchor_ns, drift_ppb);
    return CR_OK;
  });
}

cr_status cr_mixer_push(cr_mixer *mixer, uint32_t track, int64_t first_sample, const int16_t *pcm,
                        size_t count, size_t *accepted) {
  if ((count > 0 && pcm == nullptr) || accepted == nullptr || first_sample < 0 ||
      first_sample > 2 * callreplay::kMaxTick || uint64_t{count} > uint64_t{1} << 36) {
    return CR_ARGUMENT;
  }
  return callreplay::use(mixer, [&](cr_mixer &held) {
    if (!held.mixer.has(track)) {
      return CR_ARGUMENT;
    }
    if (held.mixer.finished(track)) {
      return CR_STATE;
    }
    *accepted = held.mixer.push(track, first_sample, pcm, count);
    return CR_OK;
  });
}

cr_status cr_mixer_finish(cr_mixer *mixer, uint32_t track) {
  return callreplay::use(mixer, [&](cr_mixer &held) {
    if (!held.mixer.has(track)) {
      return CR_ARGUMENT;
    }
    held.mixer.finish(track);
    return CR_OK;
  });
}

cr_status cr_mixer_read(cr_mixer *mixer, int16_t *pcm, size_t max_frames, size_t *frames) {
  if (frames == nullptr || (max_frames > 0 && pcm == nullptr)) {
    return CR_ARGUMENT;
  }
  return callreplay::use(mixer, [&](cr_mixer &held) {
    *frames = held.mixer.read(pcm, max_frames, held.mixer.frames());
    held.position = held.mixer.position();
    return CR_OK;
  });
}

int64_t cr_mixer_position(const cr_mixer *mixer) {
  return mixer == nullptr ? 0 : mixer->position.load();
}

}  // extern "C"
