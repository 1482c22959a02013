# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Datagrams of a UDP socket as records of a capture: IP and UDP headers before what came, many for one system call."""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset

import os

from callreplay.packets.wire cimport put_le32

cdef enum:
    AT_ONCE = 64
    LARGEST = 65535
    RECORD_OCTETS = 16
    AF_INET = 2
    AF_INET6 = 10

cdef extern from "<sys/socket.h>" nogil:
    int MSG_DONTWAIT
    struct iovec:
        void* iov_base
        size_t iov_len
    struct msghdr:
        void* msg_name
        uint32_t msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags

cdef extern from * nogil:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <sys/socket.h>
    #include <time.h>
    struct callreplay_mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; };
    int recvmmsg(int, struct mmsghdr*, unsigned int, int, struct timespec*);
    #define callreplay_recvmmsg(fd, list, n) recvmmsg((fd), (struct mmsghdr*)(list), (n), MSG_DONTWAIT, 0)
    """
    struct callreplay_mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    int callreplay_recvmmsg(int, callreplay_mmsghdr*, unsigned int)

OCTETS = AT_ONCE * (LARGEST + 1 + RECORD_OCTETS + 48)


def receive(int descriptor, int port, int64_t time_ns, uint8_t[::1] out):
    """Put the datagrams that are there into ``out`` as records of a pcap of nanoseconds, link type 101 (IP).

    ``port`` is the socket's own, ``out`` has OCTETS at least. Returns the octets used, 0 where nothing is there. Raises
    OSError.
    """
    cdef callreplay_mmsghdr[AT_ONCE] messages
    cdef iovec[AT_ONCE] parts
    cdef uint8_t[AT_ONCE][28] names
    cdef int32_t i, got
    cdef int64_t used = 0, slot = RECORD_OCTETS + 48 + LARGEST + 1
    cdef uint8_t* base
    cdef int number = 0
    if out.shape[0] < AT_ONCE * slot:
        raise ValueError("too small a buffer")
    base = &out[0]
    with nogil:
        memset(messages, 0, sizeof(messages))
        for i in range(AT_ONCE):
            parts[i].iov_base = base + i * slot + RECORD_OCTETS + 48
            parts[i].iov_len = LARGEST
            messages[i].msg_hdr.msg_name = names[i]
            messages[i].msg_hdr.msg_namelen = 28
            messages[i].msg_hdr.msg_iov = &parts[i]
            messages[i].msg_hdr.msg_iovlen = 1
        got = callreplay_recvmmsg(descriptor, messages, AT_ONCE)
        if got < 0:
            number = errno
        for i in range(got):
            # Records move down over the room that those before did not need: never up, so nothing is overwritten.
            used += _record(base + used, base + i * slot + RECORD_OCTETS + 48, messages[i].msg_len, names[i], port,
                            time_ns)
    if got < 0:
        if number == EAGAIN or number == EINTR:
            return 0
        raise OSError(number, os.strerror(number))
    return used


cdef int64_t _record(uint8_t* to, const uint8_t* payload, int64_t size, const uint8_t* name, int port,
                     int64_t time_ns) noexcept nogil:
    cdef uint16_t family
    cdef uint8_t[RECORD_OCTETS + 48] head
    cdef uint8_t* ip = head + RECORD_OCTETS
    cdef uint8_t* udp
    cdef int64_t length, whole
    cdef bint four
    memset(head, 0, sizeof(head))
    memcpy(&family, name, 2)
    # An IPv4 sender's address on a socket of both families is the last four octets.
    four = family == AF_INET or (name[18] == 0xFF and name[19] == 0xFF and name[8] == 0 and name[9] == 0)
    length = 28 if four else 48
    whole = length + size
    if four:
        ip[0], ip[8], ip[9] = 0x45, 64, 17
        if whole < 65536:
            ip[2], ip[3] = <uint8_t>(whole >> 8), <uint8_t>(whole & 0xFF)
        memcpy(ip + 12, name + 4 if family == AF_INET else name + 20, 4)
        udp = ip + 20
    else:
        ip[0], ip[6], ip[7] = 0x60, 17, 64
        if size + 8 < 65536:
            ip[4], ip[5] = <uint8_t>((size + 8) >> 8), <uint8_t>((size + 8) & 0xFF)
        memcpy(ip + 8, name + 8, 16)
        udp = ip + 40
    memcpy(udp, name + 2, 2)
    udp[2], udp[3] = <uint8_t>(port >> 8), <uint8_t>(port & 0xFF)
    if size + 8 < 65536:
        udp[4], udp[5] = <uint8_t>((size + 8) >> 8), <uint8_t>((size + 8) & 0xFF)
    put_le32(head, <uint32_t>(time_ns // 1000000000))
    put_le32(head + 4, <uint32_t>(time_ns % 1000000000))
    put_le32(head + 8, <uint32_t>whole)
    put_le32(head + 12, <uint32_t>whole)
    # The payload first: it may lie where the head goes to, only further on.
    _move(to + RECORD_OCTETS + length, payload, size)
    memcpy(to, head, RECORD_OCTETS + length)
    return RECORD_OCTETS + whole


cdef extern from "<string.h>" nogil:
    void* memmove(void*, const void*, size_t)


cdef inline void _move(uint8_t* to, const uint8_t* from_, int64_t size) noexcept nogil:
    memmove(to, from_, size)
