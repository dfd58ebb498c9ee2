// One side of a pair, with Node's tls module. Words and lines as in pair.py; `early` and `verify=later` it has not.
import fs from "node:fs";
import net from "node:net";
import tls from "node:tls";

const [side, ...rest] = process.argv.slice(2);
const positional = side === "server" ? 1 : 2;
const words = Object.fromEntries(rest.slice(positional).map((word) => word.split(/=(.*)/s, 2)));

const options = { ca: fs.readFileSync(words.ca) };
if (words.cert) Object.assign(options, { cert: fs.readFileSync(words.cert), key: fs.readFileSync(words.key) });
if (words.tls) {
  options.minVersion = options.maxVersion = words.tls === "1.0" ? "TLSv1" : `TLSv${words.tls}`;
  if (words.tls < "1.2") options.ciphers = "ALL:@SECLEVEL=0";
}
if (words.alpn) options.ALPNProtocols = words.alpn.split(",");
if (words.groups) options.ecdhCurve = words.groups;
if (words.verify === "yes") Object.assign(options, { requestCert: true, rejectUnauthorized: true });

const reversed = (line) => Buffer.from(line).reverse();

// Calls back with each line, without its end.
function lines(socket, each) {
  let parts = [];
  socket.on("data", (block) => {
    parts.push(block);
    if (block.at(-1) !== 10) return;
    const line = Buffer.concat(parts);
    parts = [];
    each(line.subarray(0, -1));
  });
}

function facts(socket) {
  const seen = {
    version: socket.getProtocol(),
    cipher: socket.getCipher().name,
    alpn: socket.alpnProtocol || undefined,
    certificate: socket.getPeerCertificate()?.subject?.CN,
  };
  const shown = Object.entries(seen).filter(([, value]) => value);
  console.log("facts:", shown.map(([key, value]) => `${key}=${value}`).join(" "));
}

if (side === "server") {
  tls
    .createServer(options, (socket) => {
      facts(socket);
      lines(socket, (line) => socket.write(Buffer.concat([reversed(line), Buffer.from("\n")])));
      socket.on("error", (error) => console.log("broken:", error.code));
    })
    .listen(Number(rest[0]));
} else {
  const [address, host] = rest;
  let left = Number(words.times ?? 1);
  const line = Buffer.from("ping".repeat(Number(words.bytes ?? 4) / 4));
  const expected = words.talk === "echo" ? line : reversed(line);
  const next = (session) => {
    left -= 1;
    const tcp = net.connect(443, address);
    const socket = tls.connect({ ...options, socket: tcp, servername: host, session });
    let latest;
    socket.on("session", (fresh) => (latest = fresh));
    socket.on("secureConnect", () => socket.write(Buffer.concat([line, Buffer.from("\n")])));
    lines(socket, (heard) => {
      if (!heard.equals(expected)) throw new Error(`heard ${heard.subarray(0, 100)}`);
      facts(socket);
      if (words.end === "abrupt") tcp.end();
      else socket.end();
    });
    socket.on("close", () => left > 0 && next(latest));
  };
  next();
}
