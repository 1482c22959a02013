# Flows (UDP and TCP five-tuples) and streams (SSRC on a flow), found by hashing.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from callreplay.packets.packet cimport MAX_DEPTH, Packet

cdef enum:
    NOT_FOUND = -2

# What a TCP connection carries.
cdef enum StreamKind:
    STREAM_UNKNOWN = 0
    STREAM_SIP = 1
    STREAM_SKINNY = 2
    STREAM_WEBSOCKET = 3
    STREAM_TLS = 4
    STREAM_HEP = 5

# Signalling that is counted by flow, for the report; names in ``names.py``.
cdef enum UnreadKind:
    UNREAD_TLS = 1
    UNREAD_H323 = 2
    UNREAD_MGCP = 3
    UNREAD_H248 = 4
    UNREAD_IAX2 = 5
    UNREAD_SCTP = 6

cdef struct Flow:
    uint64_t source[2]
    uint64_t destination[2]
    uint16_t source_port
    uint16_t destination_port
    uint8_t version
    uint8_t transport
    uint8_t has_macs
    uint8_t signalling      # TCP and SCTP: a StreamKind
    uint8_t by_port         # the kind is no more than what its port says
    uint8_t unread_kind     # an UnreadKind
    uint8_t believed        # has a stream that is RTP by itself
    uint8_t macs[12]        # destination, source
    uint8_t path[MAX_DEPTH]
    int32_t interface
    int32_t last_stream     # of the last RTP packet, -1 for none
    int32_t unproven        # streams begun here of which nothing has shown that they are RTP
    uint32_t junk_ssrc      # where unproven went above its limit: the last RTP-like packet
    uint16_t junk_sequence
    uint16_t udptl_sequence
    uint16_t udptl_run
    uint64_t rtp, rtcp, stun, dtls, zrtp, t38, sip, other
    uint64_t unread         # packets of signalling that the scan itself does not read

cdef struct Candidate:
    uint32_t ssrc
    int32_t flow
    uint32_t last_timestamp
    uint16_t last_sequence
    uint8_t proven
    uint8_t first_payload_type
    int64_t packets
    int64_t sequential      # sequence number one more than the packet before
    int64_t plausible       # sequence number near that of the packet before, by RFC 3550 A.1
    int64_t repeated        # the very same sequence number again
    int64_t timely          # timestamp at or after that of the packet before, within reason
    int64_t still           # timestamp the same as that of the packet before
    int64_t assigned        # payload type of RFC 3551 or dynamic
    int64_t near            # timely, and no further than the time since the packet before allows
    int64_t small           # payload no longer than an event's, encrypted or not
    int64_t timed           # next in sequence and soon, with a later timestamp: these, their ticks and their time
    int64_t timed_ticks
    int64_t timed_ns
    uint64_t types[2]       # a bit for each payload type met
    int32_t pace            # ticks a number, where packets do not stand in sequence; 0 for none yet
    int64_t votes           # for it, less those against it
    int64_t paced           # pairs that keep it: these, and ticks and time of those less than a day apart
    double paced_ticks
    double paced_ns
    int64_t first_ns, last_ns
    int64_t first_row, last_row

cdef struct Tables:
    Flow* flows
    int32_t flow_count, flow_capacity
    Candidate* streams
    int32_t stream_count, stream_capacity
    int32_t* flow_slots
    int32_t* stream_slots
    uint64_t flow_mask, stream_mask
    int32_t recent[2]       # flows found last, one more than their number, 0 for none: a call has two
    uint32_t turn
    uint64_t seed

cdef int new_tables(Tables* self, uint64_t seed) noexcept nogil
cdef void free_tables(Tables* self) noexcept nogil
cdef int32_t find_flow(Tables* self, const Packet* packet, int32_t interface, bint make) noexcept nogil
cdef int32_t find_stream(Tables* self, int32_t flow, uint32_t ssrc) noexcept nogil
cdef int32_t add_stream(Tables* self, int32_t flow, uint32_t ssrc) noexcept nogil
