//! AWS's partitions and regions as data.
//!
//! Source: `endpoints.json` and `partitions.json` of botocore 1.43.11, partitions aws, aws-cn, aws-us-gov and aws-eusc.

/// Regions that share a DNS suffix.
pub(crate) struct Partition {
    pub(crate) suffix: &'static str,
    /// The domain of services that have only dual-stack endpoints.
    pub(crate) dualstack: &'static str,
    pub(crate) regions: &'static [&'static str],
}

/// The partitions. `aws` and `aws-us-gov` share a suffix and so stand as one. The longer suffix comes first.
pub(crate) const PARTITIONS: &[Partition] = &[
    Partition {
        suffix: "amazonaws.com.cn",
        dualstack: "api.amazonwebservices.com.cn",
        regions: &["cn-north-1", "cn-northwest-1"],
    },
    Partition {
        suffix: "amazonaws.com",
        dualstack: "api.aws",
        regions: &[
            "af-south-1",
            "ap-east-1",
            "ap-east-2",
            "ap-northeast-1",
            "ap-northeast-2",
            "ap-northeast-3",
            "ap-south-1",
            "ap-south-2",
            "ap-southeast-1",
            "ap-southeast-2",
            "ap-southeast-3",
            "ap-southeast-4",
            "ap-southeast-5",
            "ap-southeast-6",
            "ap-southeast-7",
            "ca-central-1",
            "ca-west-1",
            "eu-central-1",
            "eu-central-2",
            "eu-north-1",
            "eu-south-1",
            "eu-south-2",
            "eu-west-1",
            "eu-west-2",
            "eu-west-3",
            "il-central-1",
            "me-central-1",
            "me-south-1",
            "mx-central-1",
            "sa-east-1",
            "us-east-1",
            "us-east-2",
            "us-gov-east-1",
            "us-gov-west-1",
            "us-west-1",
            "us-west-2",
        ],
    },
    Partition { suffix: "amazonaws.eu", dualstack: "api.amazonwebservices.eu", regions: &["eusc-de-east-1"] },
];

/// The DNS suffix of a known region.
pub(crate) fn suffix_of(region: &str) -> Option<&'static str> {
    PARTITIONS.iter().find(|p| p.regions.contains(&region)).map(|p| p.suffix)
}

/// The suffix that a region of this spelling would have: partitions name theirs by prefix.
pub(crate) fn suffix_by_spelling(region: &str) -> &'static str {
    match region.split('-').next() {
        Some("cn") => "amazonaws.com.cn",
        Some("eusc") => "amazonaws.eu",
        _ => "amazonaws.com",
    }
}

/// Every known region.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    PARTITIONS.iter().flat_map(|p| p.regions.iter().copied())
}

/// Whether it is spelled like a region: `xx-word-1`, with more words allowed.
pub(crate) fn shaped(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let Some((number, words)) = parts.split_last() else { return false };
    words.len() >= 2
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
        && words.iter().all(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase()))
}
