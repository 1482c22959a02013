# Container files as a sequence of records: pcap, pcapng, rtpdump, rtpproxy ad-hoc, snoop, Janus MJR.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef enum Container:
    PCAP = 1
    PCAPNG = 2
    RTPDUMP = 3
    RTPPROXY = 4
    SNOOP = 5
    MJR = 6

# Link types of our own, outside the 16 bits of those in files.
cdef enum:
    LINK_UNKNOWN = -1
    LINK_RTP = 0x10001      # an RTP packet without any header
    LINK_RTCP = 0x10002
    LINK_RTPPROXY = 0x10003  # RTP or RTCP, sender's socket address 30 octets before

cdef enum:
    RECORD = 0   # a record was read
    RECORD_END = 1
    NO_MEMORY = 2
    AGAIN = 3    # a file of another kind begins here

cdef struct Record:
    int64_t offset      # of the frame in the file
    int64_t captured    # octets there are
    int64_t original    # octets there were on the wire
    int64_t time_ns
    int32_t link
    int32_t interface

cdef struct Interface:
    int32_t link
    uint8_t resolution   # if_tsresol: 10^-n, or 2^-n with the most significant bit
    int64_t offset_s     # if_tsoffset
    uint32_t snaplen     # 0: no limit

cdef struct Reader:
    const uint8_t* data
    int64_t size
    int64_t position
    Container container
    bint big             # integers of the file are big-endian
    bint nano            # pcap: nanoseconds below the second
    int32_t header       # pcap: octets of a record header
    int32_t link         # pcap
    int64_t start_ns     # rtpdump, MJR
    int64_t clock_hz     # MJR whose frames have no times: the clock of its RTP timestamps; 0 where they have
    uint32_t first_timestamp
    bint begun           # first_timestamp is set
    Interface* interfaces
    int32_t count, capacity
    int32_t section      # first interface of the current pcapng section
    int64_t last_ns
    bint truncated       # the file ends inside a record
    bint damaged         # a record makes no sense; nothing after it was read
    int64_t stop_offset  # where it was cut or damaged
    uint64_t skipped_blocks
    uint64_t odd_times   # times that the format does not allow or that do not fit in 64 bits of nanoseconds

cdef int next_record(Reader* reader, Record* record) noexcept nogil
cdef void free_reader(Reader* reader) noexcept nogil
