// Sends one hello: node hello.mjs HOST PORT [JSON options of tls.connect].
import tls from "node:tls";

const [host, port, options] = process.argv.slice(2);
tls
  .connect({ host: "127.0.0.1", port: Number(port), servername: host, ...JSON.parse(options ?? "{}") })
  .on("error", () => process.exit(0));
