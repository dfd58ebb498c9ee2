// Evaluates AWS requests under AWS policies by an evaluator that is none of ours (see tests/node/package.json).
//
// Its argument is the directory with node_modules. Each line of standard input is one case:
//   { principal, action, resource, owner, context, identity, endpoint, bucket }
// with policy documents or null for the last three. Each line of standard output is what AWS would say: `Allowed`,
// `ImplicitlyDenied`, `ExplicitlyDenied`; or the faults of a policy.

import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { join, resolve } from 'node:path';

const require = createRequire(join(resolve(process.argv[2]), 'none.js'));
const { runSimulation } = require('@cloud-copilot/iam-simulate');

for await (const line of createInterface({ input: process.stdin })) {
  const { principal, action, resource, owner, context, identity, endpoint, bucket } = JSON.parse(line);
  const named = (name, policy) => (policy ? [{ name, policy }] : []);
  const answer = await runSimulation(
    {
      request: { principal, action, resource: { resource, accountId: owner }, contextVariables: context },
      identityPolicies: named('identity', identity),
      serviceControlPolicies: [],
      resourceControlPolicies: [],
      resourcePolicy: bucket ?? undefined,
      vpcEndpointPolicies: endpoint ? named('endpoint', endpoint) : undefined,
    },
    {},
  );
  const ignored = answer.result?.ignoredContextKeys ?? [];
  const whole = answer.resultType === 'single' && ignored.length === 0;
  console.log(whole ? answer.overallResult : JSON.stringify(answer.errors ?? { resultType: answer.resultType, ignored }));
}
