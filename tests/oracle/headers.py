"""Prints PROXY headers as the library proxy-protocol makes them, the same with a few bytes changed, and how it reads each.

A line: the kind (`good`; `foreign`, of addresses that are no TCP's; `changed`), the bytes in hex, how many of them are the header,
and the reading: `client SOURCE DESTINATION [VPCE]`, `unknown`, `local`, `more` where it waits, `refused`. The same each time.
"""

import random
import socket
from ipaddress import IPv4Address, IPv6Address

from proxyprotocol.result import ProxyResultIPv4, ProxyResultIPv6, ProxyResultLocal, ProxyResultUnix, ProxyResultUnknown
from proxyprotocol import ProxyProtocolIncompleteError
from proxyprotocol.tlv import ProxyProtocolSSLTLV, ProxyProtocolTLV
from proxyprotocol.v1 import ProxyProtocolV1
from proxyprotocol.v2 import ProxyProtocolV2

HEADERS = 400
CHANGES = 12
AWS, VPCE = 0xEA, 1
V1, V2 = ProxyProtocolV1(), ProxyProtocolV2()
dice = random.Random("sekisho")


def port():
    return dice.choice([0, 1, 80, 443, 65535, dice.randrange(65536)])


def v4():
    return IPv4Address(dice.choice([0, 2**32 - 1, 0x0A140002, dice.getrandbits(32)]))


def v6():
    mapped = 0xFFFF << 32 | int(v4())
    return IPv6Address(dice.choice([0, 1, 2**128 - 1, mapped, 0x20010DB8 << 96 | dice.getrandbits(16), dice.getrandbits(128)]))


def values():
    some = {}
    if dice.random() < 0.4:
        some[AWS] = bytes([VPCE]) + b"vpce-" + f"{dice.getrandbits(68):017x}".encode()
    if dice.random() < 0.3:
        ssl = ProxyProtocolSSLTLV(has_ssl=True, verified=True, version="TLSv1.3", cn="client.example", cipher="AES256")
        return ProxyProtocolTLV(init=some, alpn=b"h2", authority="b.example", unique_id=dice.randbytes(16), ssl=ssl)
    if dice.random() < 0.2:
        some[dice.randrange(0xE0, 0xEA)] = dice.randbytes(dice.randrange(300))
    return ProxyProtocolTLV(init=some)


def made():
    """A header, and its kind."""
    which = dice.randrange(10)
    if which < 3:
        return "good", V1.pack(ProxyResultIPv4((v4(), port()), (v4(), port())))
    if which < 5:
        return "good", V1.pack(ProxyResultIPv6((v6(), port()), (v6(), port())))
    stream = socket.SOCK_STREAM
    if which < 7:
        return "good", V2.pack(ProxyResultIPv4((v4(), port()), (v4(), port()), protocol=stream, tlv=values()))
    if which < 8:
        return "good", V2.pack(ProxyResultIPv6((v6(), port()), (v6(), port()), protocol=stream, tlv=values()))
    if which < 9:
        result = dice.choice([ProxyResultUnknown(), ProxyResultLocal(tlv=values())])
        return "good", V1.pack(result) if result.proxied and dice.random() < 0.5 else V2.pack(result)
    datagram = ProxyResultIPv4((v4(), port()), (v4(), port()), protocol=socket.SOCK_DGRAM, tlv=values())
    unix = ProxyResultUnix("/run/a", "/run/b", protocol=stream)
    return "foreign", V2.pack(dice.choice([datagram, unix]))


def changed(header):
    """A few bytes of it otherwise."""
    bytes_ = bytearray(header)
    for _ in range(dice.choice([1, 1, 1, 2])):
        # Where the meaning is dense, half of the time.
        at = dice.randrange(min(len(bytes_), dice.choice([len(bytes_), 60])))
        kind = dice.randrange(6)
        if kind == 0:
            bytes_[at] ^= 1 << dice.randrange(8)
        elif kind == 1:
            bytes_[at] = dice.choice(b" \r\n\t\0+-_.:/%09afAFTCPUNKOW46\xff")
        elif kind == 2:
            del bytes_[at]
        elif kind == 3:
            bytes_.insert(at, dice.choice(b" 0+:.fF\r\n\0"))
        elif kind == 4:
            bytes_ = bytes_[:at] + bytes_[at : at + 8] + bytes_[at:]
        else:
            bytes_ = bytes_[:at]
        if not bytes_:
            break
    return bytes(bytes_)


def read(data):
    """How many bytes are the header, and what the library says of it."""
    try:
        if data[:6] == b"PROXY ":
            # It takes a whole line, and nothing behind it.
            end = data.find(b"\n") + 1
            if end == 0:
                return 0, "more"
            data = data[:end]
            result = V1.unpack(data)
        elif data[:8] == b"\r\n\r\n\0\r\nQ":
            if len(data) >= 16:
                data = data[: 16 + int.from_bytes(data[14:16])]
            result = V2.unpack(data)
        else:
            return 0, "refused"
    except ProxyProtocolIncompleteError:
        return 0, "more"
    except Exception:
        return 0, "refused"
    if isinstance(result, ProxyResultLocal):
        return len(data), "local"
    if isinstance(result, ProxyResultUnknown):
        return len(data), "unknown"
    if isinstance(result, ProxyResultUnix):
        return len(data), "unix"
    form = "{}:{}" if isinstance(result, ProxyResultIPv4) else "[{}]:{}"
    aws = result.tlv[AWS] if AWS in result.tlv else b""
    vpce = aws[1:].decode("ascii", "replace") if aws[:1] == bytes([VPCE]) else ""
    return len(data), f"client {form.format(*result.source)} {form.format(*result.dest)} {vpce}"


for _ in range(HEADERS):
    kind, header = made()
    print(kind, header.hex(), *read(header))
    for _ in range(CHANGES):
        other = changed(header)
        print("changed", other.hex() or "-", *read(other))
