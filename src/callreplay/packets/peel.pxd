# From a frame to what UDP or TCP carries, through every layer and tunnel that mirrors and probes put around it.
from libc.stdint cimport int32_t

from callreplay.packets.fragments cimport Fragments
from callreplay.packets.packet cimport Packet, Spill

cdef int peel(Packet* packet, int32_t link, Fragments* fragments, Spill* spill) noexcept nogil
