"""One side of a pair, with Python's own ssl module.

    pair.py server PORT [KEY=VALUE …]
    pair.py client ADDRESS HOST [KEY=VALUE …]

The words are those of every program of this directory:

    ca= cert= key=      files; a client shows the certificate, a server always has one
    verify=yes          the server asks for the client's certificate; verify=later, after the handshake (TLS 1.3)
    tls=1.2             exactly this version
    alpn=h2,http/1.1    what is offered, or taken
    groups=…            for key exchange, in the program's own names
    times=2             connections, one after the other, with the session of the one before
    talk=reverse        what the server does with a line: reverse it, echo it, or answer a request (http)
    bytes=300000        how long the line is
    end=abrupt          this side closes the TCP connection without a close_notify

A line `facts: …` is printed for each connection: what this side of it saw.
"""

import socket
import ssl
import sys
import threading

VERSIONS = {"1.0": ssl.TLSVersion.TLSv1, "1.1": ssl.TLSVersion.TLSv1_1, "1.2": ssl.TLSVersion.TLSv1_2}
VERSIONS["1.3"] = ssl.TLSVersion.TLSv1_3


def main() -> None:
    side, *rest = sys.argv[1:]
    positional = 1 if side == "server" else 2
    words = dict(word.split("=", 1) for word in rest[positional:])
    if side == "server":
        serve(int(rest[0]), words)
    else:
        call(rest[0], rest[1], words)


def context(side: int, words: dict) -> ssl.SSLContext:
    own = ssl.SSLContext(side)
    own.load_verify_locations(words["ca"])
    if "cert" in words:
        own.load_cert_chain(words["cert"], words["key"])
    if words.get("tls") in ("1.0", "1.1"):
        own.set_ciphers("ALL:@SECLEVEL=0")
    if "tls" in words:
        own.minimum_version = own.maximum_version = VERSIONS[words["tls"]]
    if "alpn" in words:
        own.set_alpn_protocols(words["alpn"].split(","))
    if "groups" in words:
        own.set_ecdh_curve(words["groups"])
    if words.get("verify") == "yes":
        own.verify_mode = ssl.CERT_REQUIRED
    if words.get("verify") == "later":
        own.verify_mode = ssl.CERT_REQUIRED
        own.post_handshake_auth = True
    return own


def serve(port: int, words: dict) -> None:
    own = context(ssl.PROTOCOL_TLS_SERVER, words)
    with socket.create_server(("", port), backlog=64) as listener:
        while True:
            tcp, _ = listener.accept()
            threading.Thread(target=attend, args=(own, tcp, words), daemon=True).start()


def attend(own: ssl.SSLContext, tcp: socket.socket, words: dict) -> None:
    try:
        tls = own.wrap_socket(tcp, server_side=True, suppress_ragged_eofs=False)
        seen, end = converse(tls, words)
        print(seen, f"end={end}", flush=True)
        if end == "close_notify" and words.get("end") != "abrupt":
            tls.unwrap()
        tls.close()
    except OSError as error:
        print(f"broken: {error}", flush=True)


def converse(tls: ssl.SSLSocket, words: dict) -> tuple[str, str]:
    """What was seen, and how the other side ended."""
    seen = facts(tls)
    while True:
        try:
            line = read_line(tls)
        except ssl.SSLEOFError:
            return seen, "nothing"
        if not line:
            return facts(tls), "close_notify"
        if words.get("verify") == "later" and not tls.getpeercert():
            tls.verify_client_post_handshake()
        tls.sendall(line.strip()[::-1] + b"\n")
        seen = facts(tls)
        if words.get("end") == "abrupt":
            return seen, "own"


def read_line(tls: ssl.SSLSocket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        # A byte at a time costs too much where a line is long.
        block = tls.recv(16384 if line else 4)
        if not block:
            return b""
        line += block
    return line


def call(address: str, host: str, words: dict) -> None:
    own = context(ssl.PROTOCOL_TLS_CLIENT, words)
    if words.get("verify") == "later":
        own.post_handshake_auth = True
    session = None
    for _ in range(int(words.get("times", "1"))):
        tcp = socket.create_connection((address, 443), timeout=30)
        tls = own.wrap_socket(tcp, server_hostname=host, session=session, suppress_ragged_eofs=False)
        ask(tls, words)
        session, seen, end = tls.session, facts(tls), "close_notify"
        if words.get("end") == "abrupt":
            print(seen, flush=True)
            tls.close()
            continue
        try:
            tls.unwrap().close()
        except (ssl.SSLEOFError, ConnectionError):
            end = "nothing"
        print(seen, f"end={end}", flush=True)


def ask(tls: ssl.SSLSocket, words: dict) -> None:
    talk = words.get("talk", "reverse")
    line = b"ping" * (int(words.get("bytes", "4")) // 4)
    if talk == "http":
        tls.sendall(b"GET / HTTP/1.0\r\n\r\n")
        heard = tls.recv(4096)
        assert heard.startswith(b"HTTP/1."), heard
        while True:
            try:
                if not tls.recv(4096):
                    return
            except (ssl.SSLEOFError, ConnectionError):
                return
    tls.sendall(line + b"\n")
    heard = read_line(tls).strip()
    assert heard == (line if talk == "echo" else line[::-1]), heard[:100]


def facts(tls: ssl.SSLSocket) -> str:
    certificate = dict(pair for part in (tls.getpeercert() or {}).get("subject", ()) for pair in part)
    seen = {
        "version": tls.version(),
        "cipher": (tls.cipher() or ("-",))[0],
        "alpn": tls.selected_alpn_protocol(),
        "certificate": certificate.get("commonName"),
    }
    return " ".join(["facts:", *(f"{key}={value}" for key, value in seen.items() if value)])


main()
