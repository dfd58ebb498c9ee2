//! S3's actions, by what a rule's `access` says.
//!
//! Source: the Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3", as of 2026-11-24.
//! Nothing that configures a bucket, changes who may use it (its policy, ACLs, an object's ACL) or lists buckets is among
//! them: that is administration, and goes another way.

use std::collections::BTreeSet;

use crate::rule::Access;

const READ: &[&str] = &[
    "s3:GetObject",
    "s3:GetObjectAcl",
    "s3:GetObjectAttributes",
    "s3:GetObjectTagging",
    "s3:GetObjectVersion",
    "s3:GetObjectVersionAttributes",
    "s3:GetObjectVersionTagging",
];

const WRITE: &[&str] = &[
    "s3:AbortMultipartUpload",
    "s3:DeleteObject",
    "s3:DeleteObjectTagging",
    "s3:DeleteObjectVersion",
    "s3:DeleteObjectVersionTagging",
    "s3:ListMultipartUploadParts",
    "s3:PutObject",
    "s3:PutObjectTagging",
    "s3:PutObjectVersionTagging",
    "s3:RestoreObject",
];

const LIST: &[&str] = &[
    "s3:GetBucketLocation",
    "s3:GetBucketVersioning",
    "s3:ListBucket",
    "s3:ListBucketMultipartUploads",
    "s3:ListBucketVersions",
];

/// The actions of every access named, sorted.
pub(super) fn of(access: &BTreeSet<Access>) -> Vec<String> {
    let actions = |access: &Access| match access {
        Access::Read => READ,
        Access::Write => WRITE,
        Access::List => LIST,
    };
    let all: BTreeSet<_> = access.iter().flat_map(actions).collect();
    all.into_iter().map(|&action| action.to_owned()).collect()
}

/// The accesses as a part of a statement's name: `ReadList`.
pub(super) fn title(access: &BTreeSet<Access>) -> String {
    let word = |access: &Access| match access {
        Access::Read => "Read",
        Access::Write => "Write",
        Access::List => "List",
    };
    access.iter().map(word).collect()
}
