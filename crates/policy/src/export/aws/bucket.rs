//! The policy of one bucket: from where it is reached, in the two stages of a cut-over.

use std::collections::BTreeSet;

use crate::document::nearest;
use crate::export::Export;
use crate::export::aws::document::{Condition, Document, Limit, Statement, VERSION};
use crate::export::aws::resource::Resource;
use crate::export::aws::{BucketName, ExportError, Principal, Scope, Source, VpcEndpoint, actions, grants};
use crate::policy::Policy;
use crate::rule::Access;

/// Source: the S3 guide, "Bucket policies", as of 2026-11-24: 20 KB.
const LIMIT: Limit = Limit {
    what: "a bucket policy",
    most: 20_480,
    blanks: true,
    remedy: "merge source networks, and exempt one role where there are many",
};

/// From where a bucket is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Through an endpoint, or from these public addresses: while clients move.
    Source(Vec<Source>),
    /// Through an endpoint only.
    Endpoint,
}

impl Stage {
    const fn label(&self) -> &'static str {
        match self {
            Self::Source(_) => "source",
            Self::Endpoint => "vpce",
        }
    }
}

/// What a bucket's policy is made of besides the rules.
#[derive(Clone, Debug)]
pub struct BucketPolicy {
    /// The bucket, which an allow rule must list.
    pub bucket: BucketName,
    /// The endpoints through which it is reached.
    pub endpoints: Vec<VpcEndpoint>,
    /// The stage.
    pub stage: Stage,
    /// Who reaches it from anywhere, so that nobody is locked out.
    pub exempt: Vec<Principal>,
}

/// Makes the bucket's policy. It denies and allows nothing: whoever had no permission has none.
///
/// Not denied: AWS services by their own principals (log delivery), services that act with a caller's permissions, roles
/// that only services can take, and the principals in `exempt`.
///
/// # Errors
/// When no rule lists the bucket, a principal is of another partition, or AWS would not take it: [`ExportError`].
pub fn bucket_policy(policy: &Policy, scope: &Scope, wanted: &BucketPolicy) -> Result<Export, ExportError> {
    let mut grants = grants::collect(policy, scope)?;
    let name = wanted.bucket.as_str();
    grants.all.retain(|resource, _| resource.covers(name) || matches!(resource, Resource::Bucket(_)));
    let access: BTreeSet<Access> =
        grants.all.iter().filter(|(r, _)| r.covers(name)).flat_map(|(_, grant)| grant.access.clone()).collect();
    if access.is_empty() || grants.cut.contains(name) {
        let names = grants.all.keys().filter_map(|resource| match resource {
            Resource::Bucket(name) => Some(name.as_str()),
            _ => None,
        });
        return Err(ExportError::UnknownBucket(name.to_owned(), nearest(name, names).map(str::to_owned)));
    }
    grants.all.retain(|resource, _| resource.covers(name));
    // What other buckets' rules cannot say is nothing to this one.
    grants.notes.clear();
    if wanted.exempt.is_empty() {
        grants.notes.push(format!(
            "nobody is exempted: from outside, only the root user of the bucket's account can still change the policy of `{name}` (--exempt)"
        ));
    }
    let mut exempt = Principal::all_of(&wanted.exempt, grants.partition)?;
    // Roles that services made for themselves; nobody else can take one.
    exempt.insert(0, format!("arn:{}:iam::*:role/aws-service-role/*", grants.partition.label()));
    // Negated operators hold where the key is missing: no endpoint, no address and no principal are denied too.
    let others = || {
        Condition::from([
            ("ArnNotLike", [("aws:PrincipalArn", exempt.clone().into())].into()),
            (
                "BoolIfExists",
                [("aws:PrincipalIsAWSService", "false".into()), ("aws:ViaAWSService", "false".into())].into(),
            ),
        ])
    };
    let endpoints = VpcEndpoint::sorted(&wanted.endpoints);
    let resource = Resource::Bucket(name.to_owned()).arns(grants.partition).to_vec();
    let deny = |sid: &str, action, condition| Statement {
        sid: sid.to_owned(),
        effect: "Deny",
        principal: Some("*"),
        action,
        resource: resource.clone().into(),
        condition,
    };
    let mut elsewhere = others();
    elsewhere.insert("StringNotEquals", [("aws:SourceVpce", endpoints.clone().into())].into());
    let sid = match &wanted.stage {
        Stage::Source(networks) => {
            elsewhere.insert("NotIpAddress", [("aws:SourceIp", Source::sorted(networks).into())].into());
            "SekishoEndpointOrSource"
        }
        Stage::Endpoint => "SekishoEndpointOnly",
    };
    let mut statement = vec![deny(sid, "s3:*".into(), elsewhere)];
    let missing: BTreeSet<Access> = Access::ALL.iter().copied().filter(|one| !access.contains(one)).collect();
    if !missing.is_empty() {
        let mut through = others();
        through.insert("StringEquals", [("aws:SourceVpce", endpoints.into())].into());
        statement.push(deny(&format!("SekishoNo{}", actions::title(&missing)), actions::of(&missing).into(), through));
    }
    let id = Some(format!("sekisho-bucket-{}-{}", wanted.stage.label(), policy.digest()));
    Document { version: VERSION, id, statement }.export(LIMIT, &grants)
}
