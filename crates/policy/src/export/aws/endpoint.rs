//! The policy of a VPC endpoint for S3, of either kind (gateway, interface): which buckets are reached through it.

use crate::export::Export;
use crate::export::aws::document::{Condition, Document, Limit, Statement, VERSION, allow};
use crate::export::aws::{ExportError, Principal, Scope, grants};
use crate::policy::Policy;

/// Source: the VPC guide, "Quotas", as of 2026-11-24: characters, white space included, not adjustable.
const LIMIT: Limit = Limit {
    what: "an endpoint policy",
    most: 20_480,
    blanks: true,
    remedy: "give the rules' hosts endpoints of their own, in subnets of their own, and export for each with --rule",
};

/// Makes the endpoint's policy. It permits what the rules list and nothing else, to any principal: who may do what is the
/// buckets' and the identities' business.
///
/// Principals in `exempt` reach every bucket through the endpoint.
///
/// # Errors
/// When a rule of the scope does not exist, when nothing can be named, or when AWS would not take it: [`ExportError`].
pub fn endpoint_policy(policy: &Policy, scope: &Scope, exempt: &[Principal]) -> Result<Export, ExportError> {
    let mut grants = grants::collect(policy, scope)?;
    let mut statement = allow(&grants, &scope.accounts, Some("*"));
    if !exempt.is_empty() {
        let arns = Principal::all_of(exempt, grants.partition)?;
        grants.notes.push("the exempted principals reach every bucket through this endpoint".to_owned());
        for denial in statement.iter_mut().filter(|statement| statement.effect == "Deny") {
            denial.condition.insert("ArnNotEquals", [("aws:PrincipalArn", arns.clone().into())].into());
        }
        statement.push(Statement {
            sid: "SekishoExempt".to_owned(),
            effect: "Allow",
            principal: Some("*"),
            action: "s3:*".into(),
            resource: "*".into(),
            condition: Condition::from([("ArnEquals", [("aws:PrincipalArn", arns.into())].into())]),
        });
    }
    let id = Some(format!("sekisho-endpoint-{}", policy.digest()));
    Document { version: VERSION, id, statement }.export(LIMIT, &grants)
}
