//! What a bucket may be called.

use crate::index;
use crate::s3::regions;

/// Why a text is no bucket's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadBucket {
    /// It has a dot, so that TLS clients reach it by path.
    Dotted,
    /// Another fault, in words that follow "the bucket name … ".
    Grammar(String),
}

const RESERVED_PREFIXES: &[&str] = &["xn--", "sthree-", "amzn-s3-demo-"];
/// With the key that an item has for such a thing.
const RESERVED_SUFFIXES: &[(&str, &str)] = &[
    ("-s3alias", "list it as `access_point:`"),
    ("--ol-s3", "list it as `object_lambda:`"),
    (".mrap", "list it as `multi_region_access_point:`"),
    ("--x-s3", "list it as `directory_bucket:`"),
    ("--xa-s3", "list it as `access_point:`"),
    ("--op-s3", "list it as `access_point:`"),
    ("--table-s3", "list its host under `hosts:`"),
];

/// Checks a bucket's name, or the wildcard `*-ACCT-REGION-an` over one account's buckets of a region.
pub(crate) fn check(name: &str, region: &str) -> Result<(), BadBucket> {
    let bad = |why: &str| Err(BadBucket::Grammar(why.to_owned()));
    if let Some(rest) = name.strip_prefix('*') {
        let whole = format!("x{rest}");
        return match account_regional(&whole) {
            Some(of) if of == region && index::ending(&whole) == Some(rest) => Ok(()),
            Some(of) => bad(&format!("is of the region {of}, but the rule says {region}")),
            None => bad("has a wildcard that is not `*-ACCOUNT-REGION-an`, the only one that stays within one account"),
        };
    }
    if let Some(bad_char) = name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '-')) {
        return bad(&format!("has `{bad_char}`; it may have lowercase letters, digits and hyphens"));
    }
    if !(3..=63).contains(&name.len()) {
        return bad(&format!("has {} characters; it must have 3 to 63", name.len()));
    }
    if name.starts_with(['-', '.']) || name.ends_with(['-', '.']) {
        return bad("must begin and end with a letter or a digit");
    }
    if let Some(prefix) = RESERVED_PREFIXES.iter().find(|prefix| name.starts_with(**prefix)) {
        return bad(&format!("begins with `{prefix}`, which AWS reserves"));
    }
    if let Some((suffix, instead)) = RESERVED_SUFFIXES.iter().find(|(suffix, _)| name.ends_with(suffix)) {
        return bad(&format!(
            "ends with `{suffix}`, which AWS reserves for what is no general purpose bucket; {instead}"
        ));
    }
    if name.contains('.') {
        return Err(BadBucket::Dotted);
    }
    if name.ends_with("-an") {
        return match account_regional(name) {
            Some(of) if of == region => Ok(()),
            Some(of) => bad(&format!("is of the region {of}, but the rule says {region}")),
            None => bad("ends with `-an`, which only account-regional names (`PREFIX-ACCOUNT-REGION-an`) may"),
        };
    }
    Ok(())
}

/// The region of an account-regional name, `PREFIX-ACCOUNT-REGION-an`.
pub(crate) fn account_regional(name: &str) -> Option<&str> {
    let ending = index::ending(name)?;
    ending.strip_suffix("-an")?.get(14..).filter(|region| regions::shaped(region))
}
