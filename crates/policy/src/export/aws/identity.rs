//! A managed policy for the identities behind the gate: what they may do with S3, and by which way only.

use crate::export::Export;
use crate::export::aws::document::{Condition, Document, Limit, Statement, VERSION, allow};
use crate::export::aws::{ExportError, Scope, VpcEndpoint, grants};
use crate::policy::Policy;

/// Source: the IAM guide, "IAM and AWS STS quotas", as of 2026-11-24: characters, white space not counted.
const LIMIT: Limit = Limit {
    what: "a managed policy",
    most: 6_144,
    blanks: false,
    remedy: "export the rules in parts with --rule and attach each part to the same role; every part has the whole denial",
};

/// Makes the identities' policy: it allows what the rules list, and denies all of S3 by any other way than through one of
/// the endpoints. Services that act with the identity's permissions (`aws:ViaAWSService`) come by their own way and are not
/// denied.
///
/// # Errors
/// When a rule of the scope does not exist, when nothing can be named, or when AWS would not take it: [`ExportError`].
pub fn identity_policy(policy: &Policy, scope: &Scope, endpoints: &[VpcEndpoint]) -> Result<Export, ExportError> {
    let grants = grants::collect(policy, scope)?;
    let digest = policy.digest();
    let condition = Condition::from([
        ("BoolIfExists", [("aws:ViaAWSService", "false".into())].into()),
        ("StringNotEquals", [("aws:SourceVpce", VpcEndpoint::sorted(endpoints).into())].into()),
    ]);
    // Identity policies have no `Id`, and a `Sid` has letters and digits only.
    let mut statement = vec![Statement {
        sid: format!("SekishoPolicy{}", digest.get(..16).unwrap_or(digest)),
        effect: "Deny",
        principal: None,
        action: "s3:*".into(),
        resource: "*".into(),
        condition,
    }];
    statement.extend(allow(&grants, &scope.accounts, None));
    Document { version: VERSION, id: None, statement }.export(LIMIT, &grants)
}
