/* The C face of the room `raster`: peaks of PCM, and a waveform drawn from them. */
#ifndef CALLREPLAY_RASTER_H
#define CALLREPLAY_RASTER_H

#include <stddef.h>
#include <stdint.h>

#include "callreplay/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One bucket of one channel. An empty bucket (count 0) has low > high. */
typedef struct cr_peak {
  int16_t low;
  int16_t high;
  uint32_t reserved;
  uint64_t energy; /* sum of the squared samples */
  uint64_t count;  /* samples per channel */
} cr_peak;

typedef struct cr_peaks cr_peaks;

/* Peaks over buckets of `frames_per_bucket` frames each; the last one may be shorter. 1 to 8 channels.
 * CR_ARGUMENT: no channels, more than 8, or frames_per_bucket 0. */
cr_status cr_peaks_create(uint32_t channels, uint64_t frames_per_bucket, cr_peaks **out);

/* Peaks over exactly `buckets` buckets of `total_frames` frames: bucket i starts at frame
 * floor(i * total_frames / buckets), so that a picture of any width covers the call to the last sample.
 * Frames beyond the total go into the last bucket; with fewer frames than buckets some stay empty. */
cr_status cr_peaks_create_fit(uint32_t channels, uint64_t total_frames, uint32_t buckets, cr_peaks **out);

void cr_peaks_destroy(cr_peaks *peaks);

/* Take `frames` interleaved frames. May be called any number of times; where the blocks are cut changes
 * nothing. */
cr_status cr_peaks_write(cr_peaks *peaks, const int16_t *pcm, size_t frames);

/* Buckets so far (the last one may be partial), and a pointer to buckets * channels entries, channel fastest;
 * valid until the next write or destroy. */
size_t cr_peaks_count(const cr_peaks *peaks);
const cr_peak *cr_peaks_data(const cr_peaks *peaks);

/* Lowest and highest sample of each `frames_per_pixel` frames, divided by 256 towards zero, channel fastest:
 * 2 * channels octets a pixel, the last pixel of what is left. What a player draws, at a fraction of the cost
 * of the peaks above. `out` has room for all of them. CR_ARGUMENT: as for cr_peaks_create. */
cr_status cr_peaks8(const int16_t *pcm, size_t frames, uint32_t channels, uint32_t frames_per_pixel,
                    int8_t *out);

/* One band of a waveform picture: rows [top, top + height) of an 8-bit image of `stride` octets a row,
 * columns [left, left + width). */
typedef struct cr_band {
  uint8_t *pixels;
  size_t stride;
  uint32_t left, top, width, height;
  uint32_t levels;   /* shades of anti-aliasing, 2 to 64 */
  uint8_t peak_base; /* palette index of shade 0 of the peaks (not drawn); shade levels - 1 is opaque */
  uint8_t rms_base;  /* likewise for the RMS, drawn over opaque peaks */
  double scale;      /* full band height is reached at 1 / scale of full scale; 0 < scale */
} cr_band;

/* Draw `columns_per_pixel` buckets to each pixel column of the band: coverage of low..high by area, exact in
 * the vertical and averaged over the buckets horizontally; RMS as a brighter core. `peaks` has width *
 * columns_per_pixel entries at distance `step` (the number of channels). Empty buckets draw nothing. */
cr_status cr_draw_band(const cr_band *band, const cr_peak *peaks, size_t step, uint32_t columns_per_pixel);

/* Stretches of a band to mark, in the order in which they are drawn: of the band's width, `start` to `stop` (0 is its
 * left edge, 1 its right one), at least a column each. Where loss[i] is not 0, ground (index 0) becomes `tint`, and rows
 * at the band's edges `loss_colour`; else the line in the middle becomes a dotted one of `silence`, in columns that have
 * nothing but that line. Of `band`, levels, bases and scale are not looked at. CR_ARGUMENT: a band outside its rows. */
typedef struct cr_marks {
  const double *start, *stop;
  const uint8_t *loss;
  size_t count;
  uint8_t loss_colour, tint, silence;
} cr_marks;

cr_status cr_draw_marks(const cr_band *band, const cr_marks *marks);

/* The octets that cr_png_pack may need: 0 where it refuses the size (none, wider than 2^20, more than 2^27 pixels). */
size_t cr_png_room(uint32_t width, uint32_t height);

/* An image of 8-bit indices, `stride` octets a row, as the data of a PNG's IDAT chunks: rows filtered "up", in a zlib
 * stream of literals and runs. `out` has `room` octets, at least cr_png_room; `size` gets how many are used. The same
 * image gives the same octets on every machine. CR_ARGUMENT: no image, stride < width, or too little room. */
cr_status cr_png_pack(const uint8_t *pixels, size_t stride, uint32_t width, uint32_t height, uint8_t *out,
                      size_t room, size_t *size);

#ifdef __cplusplus
}
#endif
#endif
