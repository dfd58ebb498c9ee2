// One request by Node's https module with the agent that most programs take for a proxy: URL AUTHORIZATION.
const https = require("node:https");
const { HttpsProxyAgent } = require("https-proxy-agent");

const [url, authorization] = process.argv.slice(2);
const agent = new HttpsProxyAgent(process.env.HTTPS_PROXY);
https.get(url, { agent, headers: { authorization } }, async (answer) => {
  let body = "";
  for await (const part of answer) body += part;
  console.log(answer.statusCode, body);
  process.exitCode = answer.statusCode < 400 ? 0 : 1;
}).on("error", (error) => {
  console.error(error);
  process.exitCode = 1;
});
