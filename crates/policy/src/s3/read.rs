//! A seen host name as what a rule would have to list: the way back from a name to a bucket.

use sekisho_name::Name;

use crate::s3::subject::Subject;
use crate::s3::{Class, Form, Kind, Place, classify, regions};

/// What a host name is to S3, in the words of policy.yaml.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum S3Name<'a> {
    /// No name of S3's.
    Foreign,
    /// One of the names of a bucket that `buckets:` can list.
    Bucket {
        /// The bucket.
        bucket: &'a str,
        /// Its region, where the name says one.
        region: Option<&'a str>,
        /// The word for this form of name in `endpoints:`.
        endpoint: &'static str,
        /// The DNS suffix of its partition: buckets of two partitions have nothing in common.
        suffix: &'static str,
    },
    /// Pins something else: an access point, a directory bucket, a bucket through an interface endpoint.
    Pinned,
    /// A name of a bucket with a dot in its name, which SDKs reach by path over TLS.
    Dotted {
        /// The bucket.
        bucket: &'a str,
    },
    /// Path-style, control plane, or an unknown form: the bucket is said inside TLS only.
    Open,
}

/// Reads a host name as S3 would.
pub fn s3_name(name: &Name) -> S3Name<'_> {
    match classify(name.as_str()) {
        Class::Foreign => S3Name::Foreign,
        Class::Open => S3Name::Open,
        Class::Dotted { bucket } => S3Name::Dotted { bucket },
        Class::Pins { kind: Kind::Bucket, subject, form, region, suffix } => match form.word() {
            Some(endpoint) => S3Name::Bucket { bucket: subject, region, endpoint, suffix },
            None => S3Name::Pinned,
        },
        Class::Pins { .. } => S3Name::Pinned,
    }
}

/// The names that `{ name: BUCKET, region: REGION, endpoints: [ENDPOINT] }` lists; none when a rule that says so is faulty.
pub fn s3_names(bucket: &str, region: &str, endpoint: &str) -> Vec<String> {
    let form = Form::WORDS.iter().find(|(word, _)| *word == endpoint).map(|(_, form)| *form);
    let subject = Subject::bucket(bucket, region).ok().filter(|_| !bucket.contains('*'));
    let (Some(form), Some(subject), Some(partition)) = (form, subject, regions::partition_of(region)) else {
        return Vec::new();
    };
    let place = Place { partition, region, zone: "", outpost: "" };
    if place.lacks(subject.kind, form).is_some() {
        return Vec::new();
    }
    subject.names(form, &place).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A region that has this form.
    fn home(endpoint: &str) -> &'static str {
        if endpoint.starts_with("fips") || endpoint == "external-1" { "us-east-1" } else { "ap-northeast-1" }
    }

    fn read(name: &str) -> String {
        format!("{:?}", s3_name(&Name::parse(name).unwrap()))
    }

    #[test]
    fn every_name_that_a_bucket_rule_lists_reads_back_as_that_bucket() {
        for (endpoint, _) in Form::WORDS {
            let region = home(endpoint);
            let names = s3_names("reports", region, endpoint);
            assert!(!names.is_empty(), "{endpoint}");
            for name in names {
                let name = Name::parse(&name).unwrap();
                match s3_name(&name) {
                    S3Name::Bucket { bucket: "reports", region: said, endpoint: again, suffix: "amazonaws.com" } => {
                        assert_eq!(again, *endpoint);
                        assert!(said.is_none_or(|said| said == region), "{name}");
                    }
                    other => panic!("{name}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn what_is_no_plain_bucket_is_told_apart() {
        assert_eq!(read("www.example.com"), "Foreign");
        assert_eq!(read("s3.ap-northeast-1.amazonaws.com"), "Open");
        assert_eq!(read("a.b.s3.ap-northeast-1.amazonaws.com"), "Dotted { bucket: \"a.b\" }");
        assert_eq!(read("ap-123456789012.s3-accesspoint.ap-northeast-1.amazonaws.com"), "Pinned");
    }

    #[test]
    fn a_rule_that_would_be_faulty_lists_no_names() {
        assert!(s3_names("a.b", "ap-northeast-1", "regional").is_empty());
        assert!(s3_names("*-123456789012-ap-northeast-1-an", "ap-northeast-1", "regional").is_empty());
        assert!(s3_names("reports", "ap-northeast-9", "regional").is_empty());
        assert!(s3_names("reports", "ap-northeast-1", "vpce").is_empty());
        assert!(s3_names("reports", "ap-northeast-1", "fips").is_empty(), "there is none");
    }
}
