"""One side of a pair, with pyOpenSSL and the OpenSSL that `cryptography` brings: newer than the system's. Words and
lines as in pair.py; it knows ca, cert, key, alpn, talk and bytes."""

import socket
import sys
import threading

from OpenSSL import SSL

PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\nConnection: close\r\n\r\n<p>passed</p>\r\n"


def main() -> None:
    side, *rest = sys.argv[1:]
    positional = 1 if side == "server" else 2
    words = dict(word.split("=", 1) for word in rest[positional:])
    own = SSL.Context(SSL.TLS_SERVER_METHOD if side == "server" else SSL.TLS_CLIENT_METHOD)
    own.load_verify_locations(words["ca"])
    if "cert" in words:
        own.use_certificate_chain_file(words["cert"])
        own.use_privatekey_file(words["key"])
    if "alpn" in words:
        offered = [name.encode() for name in words["alpn"].split(",")]
        own.set_alpn_protos(offered)
        take = lambda theirs: next((name for name in offered if name in theirs), SSL.NO_OVERLAPPING_PROTOCOLS)
        own.set_alpn_select_callback(lambda _, theirs: take(theirs))
    if side == "server":
        with socket.create_server(("", int(rest[0])), backlog=64) as listener:
            while True:
                tcp, _ = listener.accept()
                threading.Thread(target=attend, args=(own, tcp), daemon=True).start()
    own.set_verify(SSL.VERIFY_PEER, lambda *seen: bool(seen[-1]))
    call(own, rest[0], rest[1], words)


def attend(own: SSL.Context, tcp: socket.socket) -> None:
    tls = SSL.Connection(own, tcp)
    tls.set_accept_state()
    try:
        tls.do_handshake()
        while line := read_line(tls):
            if line.startswith(b"GET "):
                while not line.endswith(b"\r\n\r\n"):
                    line += read_line(tls)
                tls.sendall(PAGE)
                break
            tls.sendall(line.strip()[::-1] + b"\n")
        facts(tls)
        tls.shutdown()
        # Until the other side's end: closing at once would be a reset.
        tcp.shutdown(socket.SHUT_WR)
        while tcp.recv(4096):
            pass
    except (SSL.Error, OSError) as error:
        print(f"broken: {error!r}", flush=True)
    tcp.close()


def read_line(tls: SSL.Connection) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        try:
            line += tls.recv(16384)
        except SSL.ZeroReturnError:
            return b""
    return line


def call(own: SSL.Context, address: str, host: str, words: dict) -> None:
    tcp = socket.create_connection((address, 443))
    tls = SSL.Connection(own, tcp)
    tls.set_tlsext_host_name(host.encode())
    tls.set_connect_state()
    tls.do_handshake()
    talk = words.get("talk", "reverse")
    line = b"ping" * (int(words.get("bytes", "4")) // 4)
    tls.sendall(line + b"\n")
    heard = read_line(tls).strip()
    assert heard == (line if talk == "echo" else line[::-1]), heard[:100]
    facts(tls)
    tls.shutdown()
    tcp.shutdown(socket.SHUT_WR)
    while tcp.recv(4096):
        pass
    tcp.close()


def facts(tls: SSL.Connection) -> None:
    seen = {
        "version": tls.get_protocol_version_name(),
        "cipher": tls.get_cipher_name(),
        "group": tls.get_group_name(),
        "alpn": tls.get_alpn_proto_negotiated().decode(),
    }
    print("facts:", *(f"{key}={value}" for key, value in seen.items() if value), flush=True)


main()
