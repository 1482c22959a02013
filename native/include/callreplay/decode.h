/* The C face of the room `decode`. */
#ifndef CALLREPLAY_DECODE_H
#define CALLREPLAY_DECODE_H

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
