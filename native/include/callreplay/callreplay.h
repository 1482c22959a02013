/* callreplay: the C face of the native engine. One header per room; this one brings them all.
 *
 * Rules that hold everywhere: the caller owns every buffer it passes; handles are made by *_create and
 * released by *_destroy (which accepts NULL); a handle is used by one thread at a time, different handles by
 * any number; no function throws, prints, aborts or reads beyond the sizes it is given.
 *
 * A second thread that comes to a handle in use gets CR_STATE at once and changes nothing; only *_destroy and
 * pointers that were handed out are the caller's to guard. After CR_MEMORY a handle gives CR_STATE for ever:
 * destroy it. *_position may be asked at any time. */
#ifndef CALLREPLAY_CALLREPLAY_H
#define CALLREPLAY_CALLREPLAY_H

#include "callreplay/conveyor.h"
#include "callreplay/decode.h"
#include "callreplay/isa.h"
#include "callreplay/mix.h"
#include "callreplay/raster.h"
#include "callreplay/speech.h"
#include "callreplay/speex.h"
#include "callreplay/status.h"
#include "callreplay/wav.h"

#endif
