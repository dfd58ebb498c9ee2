"""A site over HTTP/3 and over HTTPS, on one address: each answer says by which it was asked for, and so does each line printed."""
import asyncio
import http.server
import socket
import ssl
import sys
import threading

from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration

address, cert, key = sys.argv[1:]

# Asks until it was answered five times by HTTP/3 and five times by TCP after that, a minute at most; then says how often
# by which, and how long the longest answer took once HTTP/3 had been in use.
PAGE = b"""<!DOCTYPE html><html><body><pre id=out></pre><script>
const began = performance.now();
let h3 = 0, tcp = 0, slowest = 0;
for (let n = 0; tcp < 5 && performance.now() - began < 60000; n++) {
  const asked = performance.now(), again = new XMLHttpRequest();
  again.open('GET', '/again?' + n, false);
  again.send();
  const took = performance.now() - asked;
  if (h3) slowest = Math.max(slowest, took);
  if (again.responseText == 'by h3') h3++; else if (h3 >= 5) tcp++;
  while (performance.now() - asked < took + 50);
}
document.getElementById('out').textContent = h3 + ' by h3, then ' + tcp + ' by tcp, slowest ' + Math.round(slowest) + ' ms.';
</script></body></html>
"""


def answer(by, path):
    print(by, path, flush=True)
    return PAGE if path == "/" else f"by {by}".encode()


class Http3(QuicConnectionProtocol):
    http = None

    def quic_event_received(self, event):
        if self.http is None:
            self.http = H3Connection(self._quic)
        for happened in self.http.handle_event(event):
            if isinstance(happened, HeadersReceived):
                body = answer("h3", dict(happened.headers)[b":path"].decode())
                self.http.send_headers(happened.stream_id, [(b":status", b"200"), (b"content-type", b"text/html")])
                self.http.send_data(happened.stream_id, body, end_stream=True)
                self.transmit()


class Https(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = answer("tcp", self.path)
        self.send_response(200)
        self.send_header("Alt-Svc", 'h3=":443"; ma=86400')
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        # So that each request has to choose again.
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ":" in address else socket.AF_INET


async def main():
    configuration = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN)
    configuration.load_cert_chain(cert, key)
    await serve(address, 443, configuration=configuration, create_protocol=Http3)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server = Server((address, 443), Https)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("serving", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
