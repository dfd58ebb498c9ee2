#!/usr/bin/env python3
"""Captures the first flight of real TLS clients on loopback, and writes about what was captured.

    generate.py [PREFIX …]     all captures, or those whose file name begins with a PREFIX

README.md is for people; versions.json also says what tshark, which shares no code with sekisho, reads in each hello.
Programs that are not installed are skipped with a note, and their files stay as they are. It wants Debian's packages
(curl openssl gnutls-bin wget golang-go chromium nodejs default-jdk openssh-client; without tshark nothing is done),
cargo for rustls, and makes itself a virtual environment under target/ for the rest. No client leaves loopback.
"""

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CLIENTS = HERE / "clients"
HOST = "reports.s3.ap-northeast-1.amazonaws.com"
VERSIONS = HERE / "versions.json"
ENVIRONMENT = HERE.parents[2] / "target" / "venv-corpus"
PYTHON = str(ENVIRONMENT / "bin" / "python")
GREASE = {f"0x{digit}a{digit}a" for digit in "0123456789abcdef"}
PACKAGES = ("awscrt==0.38.1", "curl_cffi==0.17.0")


def main() -> None:
    wanted = tuple(sys.argv[1:])
    if shutil.which("tshark") is None:
        sys.exit("tshark is not installed")
    make_environment()
    known = json.loads(VERSIONS.read_text()) if VERSIONS.exists() else {}
    with tempfile.TemporaryDirectory() as scratch:
        captures = list(all_captures(Path(scratch)))
        for name, version, command in captures:
            if not Path(name).name.startswith(wanted) and wanted:
                continue
            if shutil.which(command("0")[0]) is None:
                print(f"skipped {name}: no {command('0')[0]}")
                continue
            flight = capture(command)
            if not flight:
                print(f"FAILED  {name}: nothing arrived")
                continue
            path = HERE / f"{name}.bin"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(flight)
            known[name] = {"program": version(), "options": shown(command)}
            print(f"{len(flight):5} {name}")
    names = {name for name, _, _ in captures}
    known = {name: known[name] for name in sorted(known) if name in names and (HERE / f"{name}.bin").exists()}
    for name, entry in known.items():
        if not name.startswith("refused/"):
            entry["reads"] = read_by_tshark((HERE / f"{name}.bin").read_bytes())
    VERSIONS.write_text(json.dumps(known, indent=1) + "\n")
    write_readme(known)


def make_environment() -> None:
    """The virtual environment, with PACKAGES in it."""
    if not Path(PYTHON).exists():
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
    freeze = subprocess.run([PYTHON, "-m", "pip", "freeze"], check=True, capture_output=True, text=True)
    if not set(PACKAGES) <= set(freeze.stdout.split()):
        subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)


def capture(command) -> bytes:
    """Runs `command(port)` against a listener that says nothing, and returns what arrives until it falls silent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(40)
        port = str(listener.getsockname()[1])
        quiet = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        environment = {**os.environ, "NO_PROXY": "*", "no_proxy": "*"}
        with subprocess.Popen(command(port), env=environment, start_new_session=True, **quiet) as client:
            flight = b""
            try:
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(0.5)
                    while chunk := connection.recv(65536):
                        flight += chunk
            except TimeoutError:
                pass
            finally:
                # The client's own process group, so that a browser's children go with it.
                os.killpg(client.pid, 9)
    return flight


def read_by_tshark(flight: bytes) -> dict:
    """What tshark reads in a hello; GREASE (RFC 8701) is left out of the versions."""
    fields = {
        "host": "tls.handshake.extensions_server_name",
        "legacy": "tls.handshake.version",
        "versions": "tls.handshake.extensions.supported_version",
        "alpn": "tls.handshake.extensions_alpn_str",
        "extensions": "tls.handshake.extension.type",
        "records": "tls.record.length",
        "body": "tls.handshake.length",
    }
    with tempfile.NamedTemporaryFile(suffix=".pcap") as file:
        file.write(as_pcap(flight))
        file.flush()
        columns = [word for field in fields.values() for word in ("-e", field)]
        command = ["tshark", "-r", file.name, "-2", "-R", "tls.handshake.type == 1", "-T", "fields", *columns]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    row = dict(zip(fields, done.stdout.rstrip("\n").split("\t"), strict=True))
    words = lambda name: [word for word in row[name].split(",") if word]
    versions = [version for version in words("versions") if version not in GREASE]
    return {
        "host": row["host"],
        "legacy": row["legacy"],
        "versions": versions,
        "alpn": words("alpn"),
        "ech": "65037" in words("extensions"),
        "records": [int(length) for length in words("records")],
        "body": int(row["body"]),
    }


def as_pcap(flight: bytes) -> bytes:
    """A capture file in which `flight` is what a client sent to port 443: raw IPv4, segments of 1,400 bytes."""
    packets = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)]
    for at in range(0, len(flight), 1400):
        segment = flight[at : at + 1400]
        tcp = struct.pack(">HHIIBBHHH", 50000, 443, 1 + at, 1, 5 << 4, 0x18, 65535, 0, 0)
        loopback = socket.inet_aton("127.0.0.1")
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40 + len(segment), at, 0x4000, 64, 6, 0, loopback, loopback)
        packets.append(struct.pack("<IIII", 0, at, 40 + len(segment), 40 + len(segment)) + ip + tcp + segment)
    return b"".join(packets)


def all_captures(scratch: Path):
    """Every capture as (file name, version of the program, command line for a port)."""
    yield from curl_captures()
    yield from openssl_captures(scratch)
    yield from gnutls_captures()
    yield from python_captures()
    yield from node_captures()
    yield from java_captures(scratch)
    yield from go_captures(scratch)
    yield from chromium_captures(scratch)
    yield from awscrt_captures()
    yield from curl_cffi_captures()
    yield from rustls_captures()
    yield from refused_captures()


def said(*command: str):
    """A function that returns the first line of what `command` says."""

    def version() -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return (done.stdout + done.stderr).strip().splitlines()[0]

    return version


def curl_captures():
    version = said("curl", "--version")

    def curl(*options: str):
        return lambda port: ["curl", "-sk", "--connect-to", f"::127.0.0.1:{port}", *options, f"https://{HOST}/"]

    yield "curl", version, curl()
    yield "curl-http1.1", version, curl("--http1.1")
    yield "curl-no-alpn", version, curl("--no-alpn")
    yield "curl-tls1.2", version, curl("--tls-max", "1.2")
    yield "curl-tls1.3-only", version, curl("--tlsv1.3")
    wget = lambda port: ["wget", "-qO-", "-T5", "-t1", "--no-check-certificate", f"https://localhost:{port}/"]
    yield "wget-localhost", said("wget", "--version"), wget


def openssl_captures(scratch: Path):
    version = said("openssl", "version")

    def client(*options: str):
        return lambda port: ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", HOST, *options]

    legacy = ("-cipher", "ALL:@SECLEVEL=0")
    yield "openssl", version, client()
    yield "openssl-tls1.0", version, client("-tls1", *legacy)
    yield "openssl-tls1.1", version, client("-tls1_1", *legacy)
    yield "openssl-tls1.2", version, client("-tls1_2")
    yield "openssl-tls1.3", version, client("-tls1_3")
    yield "openssl-alpn", version, client("-alpn", "h2,http/1.1,http/1.0,spdy/3")
    logs = scratch / "ct_log_list.cnf"
    logs.write_text("enabled_logs =\n")
    yield "openssl-ocsp-sct", version, client("-status", "-ct", "-ctlogfile", str(logs), "-no_etm")
    yield "openssl-npn", version, client("-tls1_2", "-nextprotoneg", "http/1.1", "-serverinfo", "1234,4660")
    yield "openssl-srp", version, client("-tls1_2", "-srpuser", "user", "-srppass", "pass:secret", *legacy)
    yield "openssl-many-groups", version, client("-groups", "P-256:P-384:P-521:X25519:X448:ffdhe2048:ffdhe8192")
    yield "openssl-psk", version, client("-psk", "00" * 32, "-psk_identity", "i" * 128)
    if shutil.which("openssl") is None:
        return
    for protocol in ("tls1_2", "tls1_3"):
        session = make_session(scratch, protocol)
        if session is None:
            print(f"FAILED  no {protocol} session to resume")
            continue
        resumed = ("-sess_in", str(session), f"-{protocol}")
        yield f"openssl-ticket-{protocol}", version, client(*resumed)
        if protocol == "tls1_2":
            # Fragments below the hello's size: a real hello in several records.
            yield "openssl-fragments", version, client(*resumed, "-max_send_frag", "512")
        if protocol == "tls1_3":
            early = scratch / "early"
            early.write_bytes(b"GET / HTTP/1.1\r\nHost: early\r\n\r\n")
            yield "openssl-early-data", version, client(*resumed, "-early_data", str(early))


def make_session(scratch: Path, protocol: str) -> Path | None:
    """A session whose ticket carries a client certificate, so that resuming it takes a large hello."""
    key, certificate, session = (scratch / f"{protocol}.{end}" for end in ("key", "crt", "session"))
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={HOST}"]
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    own = ["-cert", certificate, "-key", key]
    server = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", *own, "-Verify", "1", f"-{protocol}"]
    if protocol == "tls1_3":
        server += ["-early_data"]
    client = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", HOST, *own]
    client += ["-sess_out", str(session), f"-{protocol}"]
    quiet = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(server, **quiet) as serving:
        for _ in range(50):
            # Its input stays open, so that it is still there when the ticket comes behind the handshake.
            with subprocess.Popen(client, **quiet) as asking:
                time.sleep(0.2)
                asking.kill()
            if session.exists() and session.stat().st_size > 0:
                break
        serving.kill()
    return session if session.exists() else None


def gnutls_captures():
    version = said("gnutls-cli", "--version")

    def client(*options: str):
        base = ["gnutls-cli", "--no-ca-verification", f"--sni-hostname={HOST}", *options]
        return lambda port: [*base, "--port", port, "127.0.0.1"]

    yield "gnutls", version, client()
    yield "gnutls-tls1.0", version, client("--priority=NORMAL:-VERS-ALL:+VERS-TLS1.0")
    yield "gnutls-tls1.2", version, client("--priority=NORMAL:-VERS-TLS1.3", "--alpn=h2", "--alpn=http/1.1")
    yield "gnutls-compat", version, client("--priority=NORMAL:%COMPAT:%DUMBFW")
    secret = ("--pskusername=user", "--pskkey=00112233")
    yield "gnutls-everything", version, client("--priority=NORMAL:+PSK:+GROUP-ALL", *secret, "--heartbeat")


def python_captures():
    def version() -> str:
        import ssl

        return f"Python {sys.version.split()[0]}, {ssl.OPENSSL_VERSION}"

    def client(*options: str):
        return lambda port: [sys.executable, str(CLIENTS / "hello_python.py"), HOST, port, *options]

    yield "python", version, client()
    yield "python-tls1.0", version, client("TLSv1", "TLSv1")
    yield "python-tls1.0-to-1.3", version, client("TLSv1", "TLSv1_3", "http/1.1")
    yield "python-tls1.2", version, client("TLSv1_2", "TLSv1_2", "h2", "http/1.1")


def node_captures():
    version = lambda: f"Node.js {said('node', '--version')()}"

    def client(options: str):
        return lambda port: ["node", str(CLIENTS / "hello.mjs"), HOST, port, options]

    yield "node", version, client("{}")
    yield "node-alpn", version, client('{"ALPNProtocols": ["h2", "http/1.1"]}')
    yield "node-tls1.0", version, client('{"minVersion": "TLSv1", "maxVersion": "TLSv1", "ciphers": "ALL:@SECLEVEL=0"}')
    yield "node-tls1.2", version, client('{"maxVersion": "TLSv1.2"}')


def java_captures(scratch: Path):
    version = said("java", "--version")
    hosts = scratch / "hosts"
    hosts.write_text(f"127.0.0.1 {HOST}\n")
    legacy = scratch / "legacy.security"
    legacy.write_text("jdk.tls.disabledAlgorithms=\n")

    def client(*options: str, java: tuple[str, ...] = ()):
        return lambda port: ["java", *java, str(CLIENTS / "Hello.java"), HOST, port, *options]

    yield "java", version, client()
    yield "java-tls1.0", version, client("TLSv1", java=(f"-Djava.security.properties={legacy}",))
    yield "java-tls1.2", version, client("TLSv1.2")
    yield "java-http", version, client("http", java=(f"-Djdk.net.hosts.file={hosts}",))


def go_captures(scratch: Path):
    binary = scratch / "hello-go"
    if shutil.which("go"):
        environment = {**os.environ, "GOCACHE": str(scratch / "go-cache"), "GOFLAGS": "-mod=mod", "GO111MODULE": "off"}
        subprocess.run(["go", "build", "-o", binary, CLIENTS / "hello.go"], env=environment, check=True)
    version = said("go", "version")
    for name, options in [("go", []), ("go-h2", ["h2"]), ("go-tls1.0", ["tls10"]), ("go-tls1.2", ["tls12"])]:
        yield name, version, lambda port, options=options: [str(binary), HOST, port, *options]
    yield "go-tls1.3-only", version, lambda port: [str(binary), HOST, port, "tls13"]


def chromium_captures(scratch: Path):
    version = said("chromium", "--version")
    quiet = [
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    ]

    def client(profile: str, *options: str):
        def command(port: str) -> list[str]:
            rules = f"--host-resolver-rules=MAP {HOST} 127.0.0.1:{port}, MAP * ~NOTFOUND"
            own = f"--user-data-dir={scratch / profile}"
            return ["chromium", *quiet, own, rules, *options, f"https://{HOST}/"]

        return command

    # Its extensions come in another order each time, so several.
    for run in (1, 2, 3):
        yield f"chromium-{run}", version, client(f"profile-{run}")
    yield "chromium-tls1.2", version, client("profile-4", "--ssl-version-max=tls1.2")


def awscrt_captures():
    version = lambda: installed("awscrt")
    script = str(CLIENTS / "hello_awscrt.py")
    yield "awscrt", version, lambda port: [PYTHON, script, HOST, port]
    yield "awscrt-h2", version, lambda port: [PYTHON, script, HOST, port, "h2;http/1.1"]


def curl_cffi_captures():
    version = lambda: installed("curl_cffi")
    script = str(CLIENTS / "hello_curl_cffi.py")
    for browser in (
        *("chrome99", "chrome110", "chrome124", "chrome131", "chrome142", "chrome152", "chrome131_android", "edge101"),
        *("firefox133", "firefox144", "firefox155", "safari153", "safari180", "safari260", "safari270_ios", "tor145"),
    ):
        yield f"imitation-{browser}", version, lambda port, browser=browser: [PYTHON, script, HOST, port, browser]


def installed(package: str) -> str:
    return next(pinned for pinned in PACKAGES if pinned.startswith(package)).replace("==", " ")


def rustls_captures():
    root = HERE.parents[2]
    package = ["--manifest-path", str(root / "Cargo.toml"), "-p", "sekisho-peek"]
    subprocess.run(["cargo", "build", "-q", *package, "--example", "rustls_hello"], check=True)
    client = str(root / "target" / "debug" / "examples" / "rustls_hello")

    def version() -> str:
        tree = ["cargo", "tree", *package, "-e", "dev", "--depth", "1"]
        lines = subprocess.run(tree, capture_output=True, text=True, check=True).stdout.splitlines()
        return next(line.split("── ")[1] for line in lines if "── rustls v" in line)

    yield "rustls", version, lambda port: [client, HOST, port]
    yield "rustls-fragments", version, lambda port: [client, HOST, port, "64"]


def refused_captures():
    """Real hellos that the gate refuses; the file is named for the label."""
    openssl = lambda *options: lambda port: ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options]
    version = said("openssl", "version")
    yield "refused/no_sni-openssl", version, openssl("-noservername")
    yield "refused/no_sni-openssl-tls1.0", version, openssl("-noservername", "-tls1", "-cipher", "ALL:@SECLEVEL=0")
    yield "refused/invalid_name-openssl-address", version, openssl("-servername", "192.0.2.1")
    yield "refused/invalid_name-openssl-dot", version, openssl("-servername", f"{HOST}.")
    yield "refused/invalid_name-openssl-newline", version, openssl("-servername", 'a.example\n{"forged": true}')
    curl = said("curl", "--version")
    yield "refused/no_sni-curl-address", curl, lambda port: ["curl", "-sk", f"https://127.0.0.1:{port}/"]
    yield "refused/not_tls-curl-http", curl, lambda port: ["curl", "-s", f"http://127.0.0.1:{port}/"]
    yield "refused/not_tls-ssh", said("ssh", "-V"), lambda port: ["ssh", "-p", port, "127.0.0.1"]


def shown(command) -> str:
    """The command line as the README shows it: without paths of the machine."""
    words = []
    for word in command("PORT"):
        word = word.replace(str(HERE.parents[2]), ".").replace(HOST, "HOST")
        if word.startswith("/") or "=/" in word:
            word = word.split("/", 1)[0] + word.rsplit("/", 1)[1]
        words.append(word.replace("\n", "\\n"))
    return " ".join(words)


def write_readme(known: dict) -> None:
    lines = [
        "# First flights of real clients",
        "",
        f"Each `.bin` is what one program sent first when it was asked for `{HOST}`",
        "(`wget-localhost` for `localhost`), captured on loopback by `generate.py`, which also writes this page and",
        "`versions.json`: the programs, and what tshark reads in each hello, which the tests compare with.",
        "Those under `refused/` are named for the reason label that they get.",
        "",
        "`name at` is where the host name begins, counted from 0 on the wire (`-`: not in one piece, or not this host).",
        "AWS's common runtime (`awscrt`, which AWS CLI v2 and some SDKs can use for S3 transfers) and browsers that",
        "shuffle their extensions put it behind byte 1,500: past the first TCP segment of an ordinary network.",
        "",
        "| file | bytes | name at | program | command |",
        "|---|---|---|---|---|",
    ]
    for name, entry in known.items():
        flight = (HERE / f"{name}.bin").read_bytes()
        options = entry["options"].replace("|", "\\|")
        at = flight.find(entry.get("reads", {}).get("host", HOST).encode())
        where = at if at >= 0 else "-"
        lines.append(f"| `{name}.bin` | {len(flight)} | {where} | {entry['program']} | `{options}` |")
    (HERE / "README.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
