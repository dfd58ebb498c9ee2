//! Names that a reader takes for AWS's, and that are not.

use crate::s3::at_or_below;
use crate::s3::regions::domains;

/// The label that AWS's names are recognized by.
const LABEL: &str = "amazonaws";
/// Endings under which a slip of one or two letters is taken for one of AWS's. Elsewhere it may be a word of its own.
const ENDINGS: &[&str] = &["com", "co", "cm", "om", "cn", "eu", "net", "org"];
/// AWS's own, though they do not end like the names of its services.
const GENUINE: &[&str] = &["amazonaws-us-gov.com"];

/// Whether the name looks like one of AWS's without being one.
pub(crate) fn of_aws(name: &str) -> bool {
    if !possible(name) || domains().chain(GENUINE.iter().copied()).any(|domain| at_or_below(name, domain)) {
        return false;
    }
    let labels: Vec<&str> = name.split('.').collect();
    let whole = |label: &&str| may_hold(label) && skeleton(label).contains(LABEL);
    let near = |label: &str| {
        // Comparing takes longer than all else, and a list may have a million names.
        let candidate = (7..=14).contains(&label.len()) && (label.contains('z') || label.contains("naws"));
        candidate && strsim::osa_distance(&skeleton(label), LABEL) <= 2
    };
    // Letters of other alphabets leave the others behind in their ASCII form: `xn--mazonaws-…`.
    let foreign = |label: &str| {
        let basic = label.strip_prefix("xn--").and_then(|rest| rest.rsplit_once('-')).map(|(basic, _)| basic);
        basic.is_some_and(|basic| basic.len() >= 6 && strsim::osa_distance(basic, LABEL) <= 3)
    };
    labels.iter().any(whole)
        || labels.iter().any(|label| foreign(label))
        || matches!(labels[..], [.., own, ending] if ENDINGS.contains(&ending) && near(own))
}

/// Whether a name has the letters by which it could look like one of AWS's. Most have not, and there may be a million.
fn possible(name: &str) -> bool {
    // A bit for each letter, digit, hyphen and dot.
    let bit = |byte: u8| 1_u64 << ((byte & 31) | (byte & 64) >> 1);
    let letters = name.bytes().fold(0, |letters, byte| letters | bit(byte));
    let has = |all: &[u8]| all.iter().all(|&byte| letters & bit(byte) != 0);
    let one_of = |any: &[u8]| any.iter().any(|byte| has(&[*byte]));
    let whole = one_of(b"z2") && one_of(b"wv") && one_of(b"s5") && has(b"n");
    let near = has(b"z") || has(b"naws") && name.contains("naws");
    whole || near || has(b"xn-") && name.contains("xn--")
}

/// Whether a label has the letters that are in AWS's, whatever stands for them: most have not, and need no closer look.
fn may_hold(label: &str) -> bool {
    let has = |letters: [u8; 2]| label.bytes().any(|b| letters.contains(&b));
    label.len() >= LABEL.len() && has(*b"z2") && has(*b"wv") && has(*b"s5") && has(*b"nn")
}

/// A label with what looks alike made equal.
fn skeleton(label: &str) -> String {
    let plain: String = label
        .chars()
        .filter(|&c| c != '-')
        .map(|c| match c {
            '0' => 'o',
            '2' => 'z',
            '3' => 'e',
            '4' => 'a',
            '5' => 's',
            c => c,
        })
        .collect();
    plain.replace("rn", "m").replace("vv", "w")
}

#[cfg(test)]
mod tests {
    use super::of_aws;

    #[test]
    fn names_that_only_look_like_awss() {
        for name in [
            "amazonaws.co",
            "reports.s3.ap-northeast-1.amazonaws.co",
            "arnazonaws.com",
            "s3.amazonavvs.com",
            "amaz0naws.com",
            "amazonaws.com.evil.example",
            "s3.us-east-1.amazonaws.com.evil.example",
            "s3-amazonaws.com",
            "amazon-aws.com",
            "amazonsaws.com",
            "amazonas.com",
            "amzonaws.com",
            "xn--mazonaws-8fg.com",
            "amazonaws.com.co",
        ] {
            assert!(of_aws(name), "{name}");
        }
    }

    #[test]
    fn names_of_aws_and_words_of_their_own() {
        for name in [
            "amazonaws.com",
            "s3.us-east-1.amazonaws.com",
            "amazonaws.com.cn",
            "s3.cn-north-1.amazonaws.com.cn",
            "s3.eusc-de-east-1.amazonaws.eu",
            "console.amazonaws-us-gov.com",
            "amazonlinux.us-east-1.amazonaws.com.s3.us-east-1.amazonaws.com",
            "amazon.com",
            "aws.amazon.com",
            "amazonas.gov.br",
            "amazon.co.jp",
            "amazing.com",
            "example.org",
            "s3vectors.us-east-1.api.aws",
        ] {
            assert!(!of_aws(name), "{name}");
        }
    }
}
