//! A policy document of AWS's, and how much of one AWS takes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Serialize, Serializer};

use crate::export::Export;
use crate::export::aws::grants::Grants;
use crate::export::aws::resource::Resource;
use crate::export::aws::{Account, ExportError, actions};
use crate::rule::Access;

/// A `Condition` element: operator, key, values. All of it must hold; of the values of a key one must.
pub(super) type Condition = BTreeMap<&'static str, BTreeMap<&'static str, Values>>;

/// A list, of which AWS takes one value alone as well.
#[derive(Clone, Debug)]
pub(super) struct Values(Vec<String>);

impl From<Vec<String>> for Values {
    fn from(values: Vec<String>) -> Self {
        Self(values)
    }
}

impl From<&str> for Values {
    fn from(value: &str) -> Self {
        Self(vec![value.to_owned()])
    }
}

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0[..] {
            [one] => serializer.serialize_str(one),
            many => many.serialize(serializer),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Statement {
    pub(super) sid: String,
    pub(super) effect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) principal: Option<&'static str>,
    pub(super) action: Values,
    pub(super) resource: Values,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) condition: Condition,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Document {
    pub(super) version: &'static str,
    /// Identity policies have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    pub(super) statement: Vec<Statement>,
}

/// The version of the policy language.
pub(super) const VERSION: &str = "2012-10-17";

/// What AWS takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    /// What it is a limit of, like "an endpoint policy".
    pub(super) what: &'static str,
    pub(super) most: usize,
    /// Whether white space counts.
    pub(super) blanks: bool,
    /// How to get below it.
    pub(super) remedy: &'static str,
}

/// A document that AWS would not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// What kind of document it is, like "an endpoint policy".
    pub what: &'static str,
    /// Its characters, written as shortly as can be.
    pub size: usize,
    /// How many AWS takes.
    pub most: usize,
    /// What to split, and how.
    pub remedy: &'static str,
    /// The rules and the characters that come of each, the largest first. A bucket that several rules list counts for each.
    pub rules: Vec<(String, usize)>,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, size, most, remedy, rules } = self;
        write!(f, "{what} of {size} characters, and AWS takes {most}: {remedy}")?;
        let shown: Vec<_> = rules.iter().take(5).map(|(r, n)| format!("`{}` ({n})", r.escape_debug())).collect();
        match rules.len() {
            0 => Ok(()),
            n if n > shown.len() => {
                write!(f, "; the largest rules: {} and {} more", shown.join(", "), n - shown.len())
            }
            _ => write!(f, "; the rules: {}", shown.join(", ")),
        }
    }
}

impl Document {
    /// The document as text, shown with indentation if AWS takes that, else without.
    pub(super) fn export(&self, limit: Limit, grants: &Grants) -> Result<Export, ExportError> {
        // Plain maps and strings: writing them cannot fail.
        let short = serde_json::to_string(self).unwrap_or_default();
        let shown = serde_json::to_string_pretty(self).unwrap_or_default();
        let text = if short.chars().count() > limit.most {
            return Err(ExportError::TooLarge(TooLarge {
                what: limit.what,
                size: short.chars().count(),
                most: limit.most,
                remedy: limit.remedy,
                rules: by_rule(grants),
            }));
        } else if limit.blanks && shown.len() >= limit.most {
            short
        } else {
            shown
        };
        Ok(Export { text: format!("{text}\n"), notes: grants.notes.clone() })
    }
}

fn by_rule(grants: &Grants) -> Vec<(String, usize)> {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for (resource, grant) in &grants.all {
        // Each with its quotes and its comma.
        let size: usize = resource.arns(grants.partition).iter().map(|arn| arn.len() + 3).sum();
        for rule in &grant.rules {
            *sizes.entry(rule).or_default() += size;
        }
    }
    let mut sizes: Vec<_> = sizes.into_iter().map(|(rule, size)| (rule.to_owned(), size)).collect();
    sizes.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    sizes
}

/// Statements for everything that is granted: one for each owner and access, and a denial of what is cut out of a wildcard.
pub(super) fn allow(grants: &Grants, accounts: &[Account], principal: Option<&'static str>) -> Vec<Statement> {
    /// What the ARNs of one statement have in common.
    type Group<'g> = (Option<&'g str>, bool, &'g BTreeSet<Access>);
    let mut groups: BTreeMap<Group<'_>, Vec<&Resource>> = BTreeMap::new();
    for (resource, grant) in &grants.all {
        groups.entry((resource.owner(), grant.foreign, &grant.access)).or_default().push(resource);
    }
    let groups = groups.into_iter().map(|((owner, foreign, access), resources)| {
        let mut sid = format!("Sekisho{}", actions::title(access));
        let mut owners: Vec<String> = accounts.iter().map(ToString::to_string).collect();
        if foreign {
            sid.push_str("OfOthers");
            owners.clear();
        }
        if let Some(owner) = owner {
            sid.push_str("Of");
            sid.push_str(owner);
            owners = vec![owner.to_owned()];
        }
        let mut condition = Condition::new();
        if !owners.is_empty() {
            owners.sort_unstable();
            owners.dedup();
            condition.entry("StringEquals").or_default().insert("aws:ResourceAccount", owners.into());
        }
        let resource: Vec<_> = resources.into_iter().flat_map(|resource| resource.arns(grants.partition)).collect();
        let action = actions::of(access).into();
        Statement { sid, effect: "Allow", principal, action, resource: resource.into(), condition }
    });
    let mut statements: Vec<_> = groups.collect();
    if !grants.cut.is_empty() {
        let arns = grants.cut.iter().flat_map(|bucket| Resource::Bucket(bucket.clone()).arns(grants.partition));
        statements.push(Statement {
            sid: "SekishoCutOut".to_owned(),
            effect: "Deny",
            principal,
            action: "s3:*".into(),
            resource: arns.collect::<Vec<_>>().into(),
            condition: Condition::new(),
        });
    }
    statements
}
