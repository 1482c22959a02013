/* The C face of the room `raster`. */
#ifndef CALLREPLAY_RASTER_H
#define CALLREPLAY_RASTER_H

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
