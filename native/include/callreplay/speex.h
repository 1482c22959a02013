/* The C face of the room `speex`. */
#ifndef CALLREPLAY_SPEEX_H
#define CALLREPLAY_SPEEX_H

#include <stddef.h>
#include <stdint.h>

#include "callreplay/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#ifdef __cplusplus
}
#endif
#endif
