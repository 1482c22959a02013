/* The C face of the room `mix`. */
#ifndef CALLREPLAY_MIX_H
#define CALLREPLAY_MIX_H

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
