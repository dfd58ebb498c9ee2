// One fetch as undici does it, which is Node's own: URL AUTHORIZATION. The proxy is the environment's.
const { EnvHttpProxyAgent, fetch, setGlobalDispatcher } = require("undici");

setGlobalDispatcher(new EnvHttpProxyAgent());
const [url, authorization] = process.argv.slice(2);
fetch(url, { headers: { authorization } }).then(async (answer) => {
  console.log(answer.status, await answer.text());
  process.exitCode = answer.ok ? 0 : 1;
}, (error) => {
  console.error(error);
  process.exitCode = 1;
});
