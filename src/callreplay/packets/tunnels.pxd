# Tunnels over GRE and UDP, and HEP.
from callreplay.packets.packet cimport Packet

cdef int gre_layer(Packet* packet) noexcept nogil
cdef int tunnel_layer(Packet* packet) noexcept nogil
cdef int hep_layer(Packet* packet) noexcept nogil
