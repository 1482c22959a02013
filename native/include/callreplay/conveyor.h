/* The C face of the room `conveyor`: many legs decoded in lockstep, and the renderers that decode and mix in one
 * go. */
#ifndef CALLREPLAY_CONVEYOR_H
#define CALLREPLAY_CONVEYOR_H

#include <stddef.h>
#include <stdint.h>

#include "callreplay/decode.h"
#include "callreplay/mix.h"
#include "callreplay/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How full the lanes were. lane_used / lane_slots is the occupancy of the vector kernels. */
typedef struct cr_occupancy {
  uint64_t rounds;        /* vector kernel calls, weighted by the eighths of a millisecond they decode */
  uint64_t lane_slots;    /* lanes those calls had */
  uint64_t lane_used;     /* lanes of them that held a stream */
  uint64_t scalar_rounds; /* work done by the scalar kernels of codecs with a state */
} cr_occupancy;

/* The conveyor: decodes many legs in lockstep, one span a lane. Which legs share it never changes a sample.
 */
typedef struct cr_conveyor cr_conveyor;

/* `width`: legs decoded at the same time, at least 1 (others wait for their turn); `block_ms`: audio per leg
 * and step, 20 to 10000. Memory is bounded by width * block_ms, whatever the number and length of the legs.
 */
cr_status cr_conveyor_create(uint32_t width, uint32_t block_ms, cr_conveyor **conveyor);
void cr_conveyor_destroy(cr_conveyor *conveyor);

/* Queue a leg. The struct and its spans are copied, the columns and bytes are not. */
cr_status cr_conveyor_add(cr_conveyor *conveyor, const cr_leg *leg);

/* Decode the next round. *chunks is valid until the next call; *count = 0 with CR_OK means that all is
 * decoded. */
cr_status cr_conveyor_step(cr_conveyor *conveyor, const cr_chunk **chunks, size_t *count);

cr_status cr_conveyor_counts(const cr_conveyor *conveyor, uint32_t leg, cr_leg_counts *counts);
cr_status cr_conveyor_occupancy(const cr_conveyor *conveyor, cr_occupancy *occupancy);

/* One leg of a call to be rendered and the channel it goes to; channel -1 leaves it out. */
typedef struct cr_render_leg {
  const cr_leg *leg;
  int32_t channel;
} cr_render_leg;

/* The renderer: one call, decoded and mixed as it is read. Memory is bounded by the block, not by the call.
 * What lies before the origin is not decoded but for a warm-up: 250 ms of packets for G.711 and L16, so that
 * concealment is the same sample for sample; 2 s for G.722, G.726 and G.729, whose states forget. */
typedef struct cr_renderer cr_renderer;

/* The legs are copied as by cr_conveyor_add; bytes, columns and external PCM must outlive the renderer. */
cr_status cr_renderer_create(const cr_timeline *timeline, const cr_render_leg *legs, size_t leg_count,
                             const cr_event *events, size_t event_count, cr_renderer **renderer);
void cr_renderer_destroy(cr_renderer *renderer);

/* Write the next frames: *frames < max_frames only at the end. */
cr_status cr_renderer_read(cr_renderer *renderer, int16_t *pcm, size_t max_frames, size_t *frames);

/* The same frames as floats, -1 to 1: exactly what cr_renderer_read gives, divided by 32768. */
cr_status cr_renderer_read_f32(cr_renderer *renderer, float *pcm, size_t max_frames, size_t *frames);

/* Go to a frame, 0 to timeline.frames, forwards or backwards; decodes nothing but the warm-up. */
cr_status cr_renderer_seek(cr_renderer *renderer, int64_t frame);
int64_t cr_renderer_position(const cr_renderer *renderer);
cr_status cr_renderer_counts(const cr_renderer *renderer, uint32_t leg, cr_leg_counts *counts);

/* Many calls through one conveyor, so that the lanes stay full; a mixer each. */
typedef struct cr_renderer_group cr_renderer_group;

/* Blocks are handed out when they hold gather_ms (1 to 60000) of a call, or at its end. */
cr_status cr_renderer_group_create(uint32_t gather_ms, cr_renderer_group **group);
void cr_renderer_group_destroy(cr_renderer_group *group);

/* Add a call, at any time; *call is its number, which no other has before it has ended. The oldest go on, as many
 * as fill the lanes: add a few more than that (about 60 kB each at 100 ms blocks, and what is gathered), and one
 * whenever one ends. */
cr_status cr_renderer_group_add(cr_renderer_group *group, const cr_timeline *timeline,
                                const cr_render_leg *legs, size_t leg_count, const cr_event *events,
                                size_t event_count, uint32_t *call);

/* The next block of whichever call has one: *call, *frames, and *last = 1 with its last frames (perhaps 0 of
 * them). `capacity` is the room in int16: CR_ARGUMENT if the block does not fit,
 * and it waits. *frames = 0 and *last = 0: every call has ended. The frames of one
 * call come in order and equal those of a renderer of its own. */
cr_status cr_renderer_group_read(cr_renderer_group *group, int16_t *pcm, size_t capacity, uint32_t *call,
                                 size_t *frames, int *last);
/* Of a call under way, or of an ended one before the next is added. */
cr_status cr_renderer_group_counts(const cr_renderer_group *group, uint32_t call, uint32_t leg,
                                   cr_leg_counts *counts);
cr_status cr_renderer_group_occupancy(const cr_renderer_group *group, cr_occupancy *occupancy);
/* Calls that stand back until those before them, which fill the lanes, have ended. */
cr_status cr_renderer_group_waiting(const cr_renderer_group *group, size_t *calls);

#ifdef __cplusplus
}
#endif
#endif
