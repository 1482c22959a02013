#include "decode/leg/leg.h"

namespace callreplay {
namespace {

// Their numbers are the order in which they came, and are never given anew.
bool known(int32_t codec) {
  switch (codec) {
    case CR_CODEC_ULAW:
    case CR_CODEC_ALAW:
    case CR_CODEC_L16:
    case CR_CODEC_G722:
    case CR_CODEC_G729:
    case CR_CODEC_EXTERNAL:
    case CR_CODEC_G726:
      return true;
    default:
      return false;
  }
}

bool rates_fit(const cr_span &span) {
  if (span.sample_rate_hz < 8000 || span.sample_rate_hz > 48000 || span.clock_rate_hz < 1000 ||
      span.clock_rate_hz > 384000) {
    return false;
  }
  switch (span.codec) {
    case CR_CODEC_G722:
      return span.sample_rate_hz == 16000 && (span.clock_rate_hz == 8000 || span.clock_rate_hz == 16000) &&
             span.mode >= 0 && span.mode <= 2;
    case CR_CODEC_G729:
      return span.sample_rate_hz == 8000 && span.clock_rate_hz == 8000 && span.mode >= CR_G729_EXACT &&
             span.mode <= CR_G729_BRIDGED;
    case CR_CODEC_G726:
      return span.clock_rate_hz == span.sample_rate_hz && (span.mode & ~CR_G726_AAL2) >= 2 &&
             (span.mode & ~CR_G726_AAL2) <= 5;
    case CR_CODEC_L16:
      return span.clock_rate_hz == span.sample_rate_hz && span.mode >= 1 && span.mode <= 8;
    case CR_CODEC_EXTERNAL:
      return true;
    case CR_CODEC_ULAW:
    case CR_CODEC_ALAW:
      return span.clock_rate_hz == span.sample_rate_hz && span.mode >= 0 && span.mode <= 8;
    default:
      return span.clock_rate_hz == span.sample_rate_hz;
  }
}

cr_status check_span(const cr_leg &leg, const cr_span &span) {
  if (!known(span.codec)) {
    return CR_UNSUPPORTED;
  }
  const bool rows_fit =
      span.first >= 0 && span.first <= span.stop && static_cast<uint64_t>(span.stop) <= leg.rows;
  const bool times_fit = span.end_tick >= 0 && span.end_tick <= kMaxTick && span.anchor_ns >= -kMaxAnchorNs &&
                         span.anchor_ns <= kMaxAnchorNs && span.drift_ppb >= -kMaxDriftPpb &&
                         span.drift_ppb <= kMaxDriftPpb;
  const bool pcm_fits = span.pcm_count >= 0 && span.pcm_count <= kMaxTick &&
                        (span.pcm == nullptr || span.codec == CR_CODEC_EXTERNAL) &&
                        (span.pcm_count == 0 || span.pcm != nullptr);
  return rates_fit(span) && rows_fit && times_fit && pcm_fits ? CR_OK : CR_ARGUMENT;
}

cr_status check_rows(const cr_leg &leg, size_t *bad) {
  for (size_t row = 0; row < leg.rows; ++row) {
    const size_t bytes = (leg.flags[row] & CR_PACKET_SPILL) != 0 ? leg.spill_size : leg.data_size;
    const int64_t offset = leg.offset[row];
    // offset + size cannot wrap: a negative offset becomes larger than any size of memory.
    if (static_cast<uint64_t>(offset) > bytes || leg.size[row] > bytes - static_cast<uint64_t>(offset)) {
      *bad = row;
      return CR_BOUNDS;
    }
    if (leg.timestamp[row] < 0 || leg.timestamp[row] > kMaxTick) {
      *bad = row;
      return CR_ARGUMENT;
    }
  }
  return CR_OK;
}

cr_status check_gaps(const cr_leg &leg, size_t *bad) {
  for (size_t i = 0; i < leg.gap_count; ++i) {
    const bool known = leg.gap_reason[i] >= CR_GAP_LOST && leg.gap_reason[i] <= CR_GAP_CAPTURE;
    const bool fits = leg.gap_start[i] >= -kMaxTick && leg.gap_start[i] <= kMaxTick &&
                      leg.gap_ticks[i] >= 0 && leg.gap_ticks[i] <= kMaxTick;
    const bool sorted = i == 0 || leg.gap_span[i] > leg.gap_span[i - 1] ||
                        (leg.gap_span[i] == leg.gap_span[i - 1] && leg.gap_start[i] >= leg.gap_start[i - 1]);
    if (!known || !fits || !sorted) {
      *bad = i;
      return CR_ARGUMENT;
    }
  }
  return CR_OK;
}

bool columns_there(const cr_leg &leg) {
  const bool bytes =
      (leg.data_size == 0 || leg.data != nullptr) && (leg.spill_size == 0 || leg.spill != nullptr);
  const bool rows = leg.rows == 0 || (leg.offset != nullptr && leg.size != nullptr &&
                                      leg.timestamp != nullptr && leg.flags != nullptr);
  const bool spans = leg.span_count == 0 || leg.spans != nullptr;
  const bool gaps = leg.gap_count == 0 || (leg.gap_span != nullptr && leg.gap_start != nullptr &&
                                           leg.gap_ticks != nullptr && leg.gap_reason != nullptr);
  return bytes && rows && spans && gaps;
}

}  // namespace

int32_t sample_bits(const cr_span &span) {
  switch (span.codec) {
    case CR_CODEC_L16:
      return 16 * span.mode;
    case CR_CODEC_ULAW:
    case CR_CODEC_ALAW:
      return span.mode > 1 ? 8 * span.mode : 8;
    case CR_CODEC_G726:
      return code_bits(span);
    default:
      return 8;
  }
}

}  // namespace callreplay

extern "C" cr_status cr_leg_check(const cr_leg *leg, size_t *bad) {
  size_t ignored;
  size_t *where = bad != nullptr ? bad : &ignored;
  *where = 0;
  if (leg == nullptr || !callreplay::columns_there(*leg)) {
    return CR_ARGUMENT;
  }
  for (size_t i = 0; i < leg->span_count; ++i) {
    const cr_status status = callreplay::check_span(*leg, leg->spans[i]);
    if (status != CR_OK) {
      *where = i;
      return status;
    }
  }
  const cr_status status = callreplay::check_rows(*leg, where);
  return status != CR_OK ? status : callreplay::check_gaps(*leg, where);
}
