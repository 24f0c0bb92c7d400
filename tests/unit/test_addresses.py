"""How far inside a network an address is, however it is written."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gkm.oci.addresses import Reach, reach

V4 = st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address)


@pytest.mark.parametrize(
    ("found", "addresses"),
    [
        (Reach.PUBLIC, ["8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808", "192.1.0.1"]),
        (Reach.PRIVATE, ["10.1.2.3", "172.31.0.1", "192.168.0.1", "fd00::1", "100.64.0.1"]),
        (Reach.PRIVATE, ["192.0.0.192", "198.18.0.1", "fec0::1", "192.0.2.1"]),
        (Reach.LOOPBACK, ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1"]),
        (Reach.SPECIAL, ["0.0.0.0", "::", "169.254.169.254", "fe80::1", "fe80::1%lo", "224.0.1.1"]),
        (Reach.SPECIAL, ["ff02::1", "255.255.255.255", "240.0.0.1", "::127.0.0.1"]),
    ],
)
def test_each_kind_of_address_has_its_place(found: Reach, addresses: list[str]) -> None:
    assert {reach(one) for one in addresses} == {found}


@given(V4)
def test_an_address_is_the_same_in_whatever_it_is_wrapped(address: ipaddress.IPv4Address) -> None:
    packed = int(address)
    mapped = ipaddress.IPv6Address((0xFFFF << 32) | packed)
    translated = ipaddress.IPv6Address((0x0064_FF9B << 96) | packed)
    tunnelled = ipaddress.IPv6Address((0x2002 << 112) | (packed << 80))
    assert {reach(str(one)) for one in (mapped, translated, tunnelled)} == {reach(str(address))}


@given(V4)
def test_nothing_inside_is_taken_for_public(address: ipaddress.IPv4Address) -> None:
    if not address.is_global or address.is_multicast:
        assert reach(str(address)) > Reach.PUBLIC
