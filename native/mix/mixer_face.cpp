// The C face of the mixer.
#include <new>

#include "decode/leg/leg.h"
#include "mix/mixer.h"

struct cr_mixer {
  callreplay::Mixer mixer;
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
  try {
    *mixer = new cr_mixer{callreplay::Mixer(*timeline, events, event_count, 0)};
  } catch (const std::bad_alloc &) {
    return CR_MEMORY;
  }
  return CR_OK;
}

void cr_mixer_destroy(cr_mixer *mixer) {
  delete mixer;
}

cr_status cr_mixer_add_track(cr_mixer *mixer, uint32_t leg, int32_t channel, int32_t sample_rate_hz,
                             int64_t anchor_ns, int64_t drift_ppb, uint32_t *track) {
  if (mixer == nullptr || track == nullptr || channel < 0 || channel >= mixer->mixer.channels() ||
      sample_rate_hz < 8000 || sample_rate_hz > 48000 || anchor_ns < -callreplay::kMaxAnchorNs ||
      anchor_ns > callreplay::kMaxAnchorNs || drift_ppb < -callreplay::kMaxDriftPpb ||
      drift_ppb > callreplay::kMaxDriftPpb) {
    return CR_ARGUMENT;
  }
  if (mixer->mixer.tracks() >= kMaxTracks) {
    return CR_LIMIT;
  }
  try {
    *track = mixer->mixer.add_track(leg, channel, sample_rate_hz, anchor_ns, drift_ppb);
  } catch (const std::bad_alloc &) {
    return CR_MEMORY;
  }
  return CR_OK;
}

cr_status cr_mixer_push(cr_mixer *mixer, uint32_t track, int64_t first_sample, const int16_t *pcm,
                        size_t count, size_t *accepted) {
  if (mixer == nullptr || !mixer->mixer.has(track) || (count > 0 && pcm == nullptr) || accepted == nullptr ||
      first_sample < 0 || first_sample > 2 * callreplay::kMaxTick || count > (size_t{1} << 36)) {
    return CR_ARGUMENT;
  }
  if (mixer->mixer.finished(track)) {
    return CR_STATE;
  }
  *accepted = mixer->mixer.push(track, first_sample, pcm, count);
  return CR_OK;
}

cr_status cr_mixer_finish(cr_mixer *mixer, uint32_t track) {
  if (mixer == nullptr || !mixer->mixer.has(track)) {
    return CR_ARGUMENT;
  }
  mixer->mixer.finish(track);
  return CR_OK;
}

cr_status cr_mixer_read(cr_mixer *mixer, int16_t *pcm, size_t max_frames, size_t *frames) {
  if (mixer == nullptr || frames == nullptr || (max_frames > 0 && pcm == nullptr)) {
    return CR_ARGUMENT;
  }
  *frames = mixer->mixer.read(pcm, max_frames, mixer->mixer.frames());
  return CR_OK;
}

int64_t cr_mixer_position(const cr_mixer *mixer) {
  return mixer == nullptr ? 0 : mixer->mixer.position();
}

}  // extern "C"
