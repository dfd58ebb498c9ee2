#!/usr/bin/env python3
"""Captures the first flight of real TLS clients on loopback, and writes README.md about what was captured.

    generate.py [PREFIX …]     all captures, or those whose file name begins with a PREFIX

Programs that are not installed are skipped with a note, and their files stay as they are. Besides Debian's packages
(curl openssl gnutls-bin wget golang-go chromium nodejs default-jdk) it wants `pip install awscrt curl_cffi` for the
python3 that runs it, and cargo for rustls. Nothing here leaves loopback.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CLIENTS = HERE / "clients"
HOST = "reports.s3.ap-northeast-1.amazonaws.com"
VERSIONS = HERE / "versions.json"


def main() -> None:
    wanted = tuple(sys.argv[1:])
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
    VERSIONS.write_text(json.dumps(known, indent=1) + "\n")
    write_readme(known)


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
    yield "openssl-ocsp-sct", version, client("-status", "-ct", "-no_etm")
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
        # Fragments below the hello's size: a real hello in several records.
        yield f"openssl-fragments-{protocol}", version, client(*resumed, "-max_send_frag", "512")
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
    server = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", *own, "-Verify", "1", f"-{protocol}", "-www"]
    if protocol == "tls1_3":
        server += ["-early_data"]
    quiet = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(server, **quiet) as serving:
        for _ in range(50):
            client = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", HOST, *own]
            request = b"GET / HTTP/1.0\r\n\r\n"
            options = ["-sess_out", session, f"-{protocol}", "-ign_eof"]
            subprocess.run([*client, *options], input=request, capture_output=True, timeout=10, check=False)
            if session.exists():
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
    yield "gnutls-everything", version, client("--priority=NORMAL:+ANON-ECDH:+PSK:+GROUP-ALL", "--heartbeat")


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
    yield "awscrt", version, lambda port: [sys.executable, script, HOST, port]
    yield "awscrt-h2", version, lambda port: [sys.executable, script, HOST, port, "h2;http/1.1"]


def curl_cffi_captures():
    version = lambda: installed("curl_cffi")
    script = str(CLIENTS / "hello_curl_cffi.py")
    for browser in (
        *("chrome99", "chrome110", "chrome120", "chrome124", "chrome131", "chrome142", "chrome131_android"),
        *("edge101", "firefox133", "firefox135", "firefox144", "safari153", "safari180", "safari260", "safari184_ios"),
        "tor145",
    ):
        yield f"imitation-{browser}", version, lambda port, browser=browser: [sys.executable, script, HOST, port, browser]


def installed(package: str) -> str:
    import importlib.metadata

    return f"{package} {importlib.metadata.version(package)}"


def rustls_captures():
    root = HERE.parents[2]
    manifest = str(root / "Cargo.toml")
    run = ["cargo", "run", "-q", "--manifest-path", manifest, "-p", "sekisho-peek", "--example", "rustls_hello", "--"]

    def version() -> str:
        tree = ["cargo", "tree", "--manifest-path", manifest, "-p", "sekisho-peek", "-e", "dev", "--depth", "1"]
        lines = subprocess.run(tree, capture_output=True, text=True, check=True).stdout.splitlines()
        return next(line.split("── ")[1] for line in lines if "── rustls v" in line)

    yield "rustls", version, lambda port: [*run, HOST, port]
    yield "rustls-fragments", version, lambda port: [*run, HOST, port, "64"]


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
        "(`wget-localhost` for `localhost`), captured on loopback by `generate.py`, which also writes this page.",
        "Those under `refused/` are named for the reason label that they get.",
        "",
        "| file | bytes | program | command |",
        "|---|---|---|---|",
    ]
    for name, entry in known.items():
        size = (HERE / f"{name}.bin").stat().st_size
        options = entry["options"].replace("|", "\\|")
        lines.append(f"| `{name}.bin` | {size} | {entry['program']} | `{options}` |")
    (HERE / "README.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
