# The state of one packet while its layers are peeled off; types only.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    MAX_DEPTH = 16

# What peel() found.
cdef enum Found:
    FOUND_NOTHING = 0    # counted under its reason
    FOUND_UDP = 1
    FOUND_TCP = 2
    FOUND_MESSAGE = 3    # a whole message that a HEP agent took from a TCP connection
    FOUND_SCTP = 4       # the chunks of an SCTP packet
    FOUND_PACKED = 5     # what a HEP agent compressed

# Why nothing was found.
cdef enum Reason:
    LINK_TYPE = 0      # value: the link type
    ETHERTYPE = 1      # value: the ethertype (or PPP protocol | 0x10000, LLC DSAP | 0x20000)
    IP_PROTOCOL = 2    # value: the protocol number
    TUNNEL = 3         # value: a UDP port or GRE protocol whose tunnel header is of no known kind
    MALFORMED = 4      # value: the layer, see LAYERS in names.py
    TOO_DEEP = 5
    FRAGMENT = 6       # taken in, datagram not whole yet
    CUT_FRAGMENT = 7   # a fragment that the capture cut
    SPILL_FULL = 8

cdef enum Layer:
    L_DONE = 0
    L_ETHERNET = 1
    L_ETHERTYPE = 2
    L_IP = 3
    L_IPV4 = 4
    L_IPV6 = 5
    L_PROTOCOL = 6
    L_UDP = 7
    L_TCP = 8
    L_GRE = 9
    L_MPLS = 10
    L_PPP = 11
    L_PPPOE = 12
    L_WIFI = 13
    L_LLC = 14
    L_HEP = 15
    L_LINK = 16
    L_SCTP = 17

# What stands in Packet.path, for Flow.encapsulation; names in names.py.
cdef enum Via:
    VIA_VLAN = 1
    VIA_MPLS = 2
    VIA_PPPOE = 3
    VIA_PPP = 4
    VIA_VNTAG = 5
    VIA_FABRICPATH = 6
    VIA_GRE = 7
    VIA_ERSPAN = 8
    VIA_VXLAN = 9
    VIA_GENEVE = 10
    VIA_TZSP = 11
    VIA_HEP = 12
    VIA_IPIP = 13
    VIA_GTP = 14
    VIA_L2TP = 15
    VIA_TURN = 16
    VIA_LLC = 17
    VIA_WIFI = 18

cdef struct Packet:
    const uint8_t* base    # the capture, or the spill
    int64_t offset         # of what is left to look at
    int64_t end            # by the length fields, never beyond what was captured
    int64_t time_ns
    bint cut               # the capture holds less than the length fields say
    bint spilled           # base is the spill
    int32_t value          # ethertype, protocol or layer, as the next layer needs it
    int32_t depth
    int32_t reason         # why nothing was found
    uint64_t source[2]     # address octets as in the header; IPv4 in the low half of [0]
    uint64_t destination[2]
    uint8_t version        # 4, 6 or 0 where there was no IP
    uint8_t transport      # 17 or 6
    uint16_t source_port
    uint16_t destination_port
    uint32_t tcp_sequence
    uint8_t tcp_flags
    uint8_t packed         # the payload of HEP is compressed with zlib
    const uint8_t* macs    # destination and source of the innermost Ethernet header so far, or NULL
    uint8_t path[MAX_DEPTH]

cdef struct Spill:
    uint8_t* octets
    int64_t size
    int64_t capacity
