"""Gets a page by HTTP/3 as aioquic does, and by TCP where that fails; prints how QUIC ended, when, and the page.

The socket is connected, as browsers' are: the kernel tells of ICMP errors only on such a socket. aioquic's own `connect()`
uses another kind, and learns of nothing before its idle timeout of 60 s; `stock` does as it does.
"""
import asyncio
import socket
import ssl
import sys
import time
import urllib.request

from aioquic.asyncio import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated

host, ca = sys.argv[1:3]
stock = sys.argv[3:] == ["stock"]


class Client(QuicConnectionProtocol):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.ended = asyncio.get_running_loop().create_future()
        self.http = H3Connection(self._quic)

    def end(self, how, what=b""):
        if not self.ended.done():
            self.ended.set_result((how, what))

    def error_received(self, error):
        self.end(type(error).__name__)

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            self.end(event.reason_phrase or "terminated")
        for happened in self.http.handle_event(event):
            if isinstance(happened, DataReceived):
                self.end("page", happened.data)


async def by_quic():
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name=host)
    configuration.load_verify_locations(ca)
    loop = asyncio.get_running_loop()
    family, _, _, _, to = (await loop.getaddrinfo(host, 443, type=socket.SOCK_DGRAM))[0]
    where = {"local_addr": ("::" if family == socket.AF_INET6 else "0.0.0.0", 0)} if stock else {"remote_addr": to[:2]}
    make = lambda: Client(QuicConnection(configuration=configuration))
    _, client = await loop.create_datagram_endpoint(make, family=family, **where)
    client.connect(to)
    stream = client._quic.get_next_available_stream_id()
    headers = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", host.encode()), (b":path", b"/once")]
    client.http.send_headers(stream, headers, end_stream=True)
    client.transmit()
    return await client.ended


began = time.monotonic()
how, page = asyncio.run(by_quic())
after = time.monotonic() - began
if how != "page":
    context = ssl.create_default_context(cafile=ca)
    page = urllib.request.urlopen(f"https://{host}/once", context=context, timeout=60).read()
print(f"{how} after {after:.3f} s; {page.decode()} after {time.monotonic() - began:.3f} s")
