"""Addresses as texts: what the standard library says of each, for every form and for what is none."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callreplay import addresses

ODD = (
    "0.0.0.0", "127.0.0.1", "239.1.2.3", "224.0.0.1", "10.1.2.3", "192.0.2.1", "8.8.8.8", "::", "::1", "ff02::1",
    "2001:DB8::0:1", "fe80::1%eth0", "::ffff:10.0.0.1", "01.2.3.4", "1.2.3", "1.2.3.256", "1.2.3.4 ", " 1.2.3.4",
    "1.2.3.4\n", "1.2.3.4\0", "0x1.2.3.4", "\u0661.2.3.4", "", "host.example", "1.2.3.4/8", "x" * 300, "\ud800",
)  # fmt: skip


def _hold(text: str) -> None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        for ask in (addresses.canonical, addresses.packed, addresses.is_private, addresses.is_multicast):
            with pytest.raises(ValueError):  # noqa: PT011
                ask(text)
        return
    for _ in range(2):
        assert addresses.canonical(text) == str(address)
        assert addresses.packed(text) == address.packed
        assert addresses.is_private(text) == address.is_private
        assert addresses.is_multicast(text) == address.is_multicast


@pytest.mark.parametrize("text", ODD)
def test_odd_texts(text: str) -> None:
    _hold(text)


@given(st.one_of(st.ip_addresses().map(str), st.text("0123456789.:abf%x ", max_size=20)))
def test_any_text(text: str) -> None:
    _hold(text)
