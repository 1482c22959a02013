# The native engine for Cython modules of others: cimport this, compile with callreplay/include in the include path,
# link nothing. See docs/embedding-cython.md.
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "callreplay/capi.h" nogil:
    ctypedef enum cr_status:
        CR_OK

    ctypedef enum cr_isa:
        CR_ISA_SCALAR
        CR_ISA_BASELINE
        CR_ISA_NEON
        CR_ISA_AVX2
        CR_ISA_AVX512

    ctypedef enum cr_wav_encoding:
        CR_WAV_S16
        CR_WAV_ULAW
        CR_WAV_ALAW

    enum:
        CR_CODEC_ULAW
        CR_CODEC_ALAW
        CR_CODEC_L16
        CR_CODEC_G722
        CR_CODEC_G729
        CR_CODEC_EXTERNAL
        CR_CODEC_G726
        CR_G726_AAL2
        CR_WAV_HEADER_MAX

    ctypedef struct cr_span:
        int32_t codec, clock_rate_hz, sample_rate_hz, mode
        int64_t first, stop, end_tick, anchor_ns, drift_ppb
        const int16_t *pcm
        int64_t pcm_count
        uint64_t seed

    ctypedef struct cr_leg:
        const uint8_t *data
        size_t data_size
        const uint8_t *spill
        size_t spill_size
        size_t rows
        const int64_t *offset
        const uint16_t *size
        const int64_t *timestamp
        const int64_t *sequence
        const uint8_t *flags
        size_t span_count
        const cr_span *spans
        size_t gap_count
        const int32_t *gap_span
        const int64_t *gap_start
        const int64_t *gap_ticks
        const uint8_t *gap_reason

    ctypedef struct cr_chunk:
        uint32_t leg, span
        int64_t first_sample
        const int16_t *pcm
        uint32_t count
        uint8_t kind

    ctypedef struct cr_leg_counts:
        uint64_t decoded_samples, concealed_samples, noise_samples, trimmed_packets, malformed_packets

    ctypedef struct cr_occupancy:
        uint64_t rounds, lane_slots, lane_used, scalar_rounds

    ctypedef struct cr_event:
        uint32_t leg
        int32_t tone
        int64_t start_ns, duration_ns
        int32_t level_dbm0

    ctypedef struct cr_timeline:
        int32_t rate_hz, channels
        int64_t origin_ns, frames
        int32_t block_ms, ignore_drift

    ctypedef struct cr_render_leg:
        const cr_leg *leg
        int32_t channel

    ctypedef struct cr_conveyor:
        pass

    ctypedef struct cr_renderer:
        pass

    ctypedef struct cr_renderer_group:
        pass

    ctypedef struct cr_mixer:
        pass

    ctypedef struct cr_speex_options:
        int32_t rate_hz, quality, vbr, vad, dtx, segments

    ctypedef struct cr_speex_stream:
        pass

    ctypedef struct cr_speex_batch:
        pass

    ctypedef struct cr_peak:
        int16_t low, high
        uint32_t reserved
        uint64_t energy, count

    ctypedef struct cr_peaks:
        pass

    ctypedef struct cr_band:
        uint8_t *pixels
        size_t stride
        uint32_t left, top, width, height, levels
        uint8_t peak_base, rms_base
        double scale

    ctypedef struct cr_marks:
        const double *start
        const double *stop
        const uint8_t *loss
        size_t count
        uint8_t loss_colour, tint, silence

    ctypedef struct cr_talk:
        int64_t start, end
        double energy

    ctypedef struct cr_speech:
        pass

    ctypedef struct cr_capi:
        uint32_t major, minor
        size_t size
        const char *(*status_message)(cr_status) noexcept nogil
        cr_status (*leg_check)(const cr_leg *, size_t *) noexcept nogil
        cr_status (*conveyor_create)(uint32_t, uint32_t, cr_conveyor **) noexcept nogil
        void (*conveyor_destroy)(cr_conveyor *) noexcept nogil
        cr_status (*conveyor_add)(cr_conveyor *, const cr_leg *) noexcept nogil
        cr_status (*conveyor_step)(cr_conveyor *, const cr_chunk **, size_t *) noexcept nogil
        cr_status (*conveyor_counts)(const cr_conveyor *, uint32_t, cr_leg_counts *) noexcept nogil
        cr_status (*conveyor_occupancy)(const cr_conveyor *, cr_occupancy *) noexcept nogil
        cr_status (*renderer_create)(const cr_timeline *, const cr_render_leg *, size_t, const cr_event *, size_t,
                                     cr_renderer **) noexcept nogil
        void (*renderer_destroy)(cr_renderer *) noexcept nogil
        cr_status (*renderer_read)(cr_renderer *, int16_t *, size_t, size_t *) noexcept nogil
        cr_status (*renderer_seek)(cr_renderer *, int64_t) noexcept nogil
        int64_t (*renderer_position)(const cr_renderer *) noexcept nogil
        cr_status (*wav_header)(cr_wav_encoding, uint32_t, uint32_t, uint64_t, uint8_t *, size_t *) noexcept nogil
        cr_status (*wav_encode)(cr_wav_encoding, const int16_t *, size_t, uint8_t *) noexcept nogil
        void (*decode_ulaw)(const uint8_t *, int16_t *, size_t) noexcept nogil
        void (*decode_alaw)(const uint8_t *, int16_t *, size_t) noexcept nogil
        cr_status (*renderer_read_f32)(cr_renderer *, float *, size_t, size_t *) noexcept nogil
        cr_status (*renderer_counts)(const cr_renderer *, uint32_t, cr_leg_counts *) noexcept nogil
        cr_status (*renderer_group_create)(uint32_t, cr_renderer_group **) noexcept nogil
        void (*renderer_group_destroy)(cr_renderer_group *) noexcept nogil
        cr_status (*renderer_group_add)(cr_renderer_group *, const cr_timeline *, const cr_render_leg *, size_t,
                                        const cr_event *, size_t, uint32_t *) noexcept nogil
        cr_status (*renderer_group_read)(cr_renderer_group *, int16_t *, size_t, uint32_t *, size_t *,
                                         int *) noexcept nogil
        cr_status (*renderer_group_counts)(const cr_renderer_group *, uint32_t, uint32_t, cr_leg_counts *) noexcept nogil
        cr_status (*renderer_group_occupancy)(const cr_renderer_group *, cr_occupancy *) noexcept nogil
        cr_status (*mixer_create)(const cr_timeline *, const cr_event *, size_t, cr_mixer **) noexcept nogil
        void (*mixer_destroy)(cr_mixer *) noexcept nogil
        cr_status (*mixer_add_track)(cr_mixer *, uint32_t, int32_t, int32_t, int64_t, int64_t, uint32_t *) noexcept nogil
        cr_status (*mixer_push)(cr_mixer *, uint32_t, int64_t, const int16_t *, size_t, size_t *) noexcept nogil
        cr_status (*mixer_finish)(cr_mixer *, uint32_t) noexcept nogil
        cr_status (*mixer_read)(cr_mixer *, int16_t *, size_t, size_t *) noexcept nogil
        int64_t (*mixer_position)(const cr_mixer *) noexcept nogil
        cr_status (*speex_stream_create)(const cr_speex_options *, uint32_t, const char *const *, size_t,
                                         cr_speex_stream **) noexcept nogil
        void (*speex_stream_destroy)(cr_speex_stream *) noexcept nogil
        cr_status (*speex_stream_push)(cr_speex_stream *, const int16_t *, size_t) noexcept nogil
        cr_status (*speex_stream_end)(cr_speex_stream *) noexcept nogil
        const uint8_t *(*speex_stream_octets)(const cr_speex_stream *, size_t *) noexcept nogil
        void (*speex_stream_drop)(cr_speex_stream *, size_t) noexcept nogil
        cr_status (*speex_batch_create)(cr_speex_batch **) noexcept nogil
        void (*speex_batch_destroy)(cr_speex_batch *) noexcept nogil
        cr_status (*speex_encode)(cr_speex_batch *, cr_speex_stream *const *, size_t) noexcept nogil
        uint64_t (*speex_estimate)(const cr_speex_options *, uint64_t) noexcept nogil
        cr_status (*peaks_create)(uint32_t, uint64_t, cr_peaks **) noexcept nogil
        cr_status (*peaks_create_fit)(uint32_t, uint64_t, uint32_t, cr_peaks **) noexcept nogil
        void (*peaks_destroy)(cr_peaks *) noexcept nogil
        cr_status (*peaks_write)(cr_peaks *, const int16_t *, size_t) noexcept nogil
        size_t (*peaks_count)(const cr_peaks *) noexcept nogil
        const cr_peak *(*peaks_data)(const cr_peaks *) noexcept nogil
        cr_status (*draw_band)(const cr_band *, const cr_peak *, size_t, uint32_t) noexcept nogil
        cr_status (*speech_create)(int32_t, cr_speech **) noexcept nogil
        void (*speech_destroy)(cr_speech *) noexcept nogil
        cr_status (*speech_write)(cr_speech *, const int16_t *, size_t) noexcept nogil
        cr_status (*speech_write_channel)(cr_speech *, const int16_t *, size_t, size_t) noexcept nogil
        cr_status (*speech_finish)(cr_speech *) noexcept nogil
        cr_status (*speech_take)(cr_speech *, cr_talk *, size_t, size_t *) noexcept nogil
        cr_status (*speech_settled)(const cr_speech *, int64_t *) noexcept nogil
        cr_isa (*isa_active)() noexcept nogil
        int (*isa_forced)() noexcept nogil
        int (*isa_available)(cr_isa) noexcept nogil
        const char *(*isa_name)(cr_isa) noexcept nogil
        int (*wav_pad)(uint64_t) noexcept nogil
        cr_status (*renderer_group_waiting)(const cr_renderer_group *, size_t *) noexcept nogil
        cr_status (*peaks8)(const int16_t *, size_t, uint32_t, uint32_t, int8_t *) noexcept nogil
        cr_status (*draw_marks)(const cr_band *, const cr_marks *) noexcept nogil
        size_t (*png_room)(uint32_t, uint32_t) noexcept nogil
        cr_status (*png_pack)(const uint8_t *, size_t, uint32_t, uint32_t, uint8_t *, size_t, size_t *) noexcept nogil
        cr_status (*speech_write_pair)(cr_speech *, cr_speech *, const int16_t *, size_t, size_t) noexcept nogil

cdef extern from "callreplay/capi.h":
    const cr_capi *cr_capi_import() except NULL
