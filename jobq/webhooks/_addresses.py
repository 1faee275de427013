"""Which addresses a message may be sent to: public ones, and those that were allowed."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_network,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

CLOSED: tuple[Network, ...] = tuple(
    map(
        ip_network,
        (
            "168.63.129.16/32",  # Azure's platform, which is public only by its number
            "192.0.0.0/24",  # protocols' own; a cloud's metadata among them
            "192.88.99.0/24",  # what once led to 6to4 relays
            "64:ff9b:1::/48",  # NAT64 of the local network
            "2001::/23",  # Teredo and other protocols' own
            "2002::/16",  # 6to4: an address of version 4 in disguise
            "3fff::/20",  # documentation
            "5f00::/16",  # segment routing
            "fec0::/10",  # what once was site-local
        ),
    )
)
"""What is refused beyond the addresses that every supported Python knows not to be public."""
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")


def reached(address: Address) -> Address:
    """The address that is reached in the end, where one of version 4 is written as version 6."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64 or address in _COMPATIBLE:
            return IPv4Address(address.packed[-4:])
    return address


def is_allowed(address: Address, allowed: Iterable[Network]) -> bool:
    """Whether an address is one of those that were allowed by name."""
    return any(reached(address) in network or address in network for network in allowed)


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet, and to no one's inside."""
    address = reached(address)
    if any(address in network for network in CLOSED):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved
