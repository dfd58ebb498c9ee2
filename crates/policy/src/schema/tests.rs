use std::collections::BTreeSet;

use super::*;
use crate::policy::Policy;

#[test]
fn every_key_says_what_stands_there() {
    for (of, keys) in [
        ("policy", POLICY_KEYS),
        ("rule", RULE_KEYS),
        ("include", INCLUDE_KEYS),
        ("bucket", BUCKET_KEYS),
        ("lint", LINT_KEYS),
        ("claim", CLAIM_KEYS),
    ] {
        for key in keys {
            assert!(value(of, key)["description"].is_string(), "{key} of a {of}");
        }
    }
}

/// The words that the reader offers instead of one that it does not know.
fn offered(rule: &str) -> BTreeSet<String> {
    let faults = Policy::parse("p.yaml", &format!("version: 1\n{rule}\n"), 0).unwrap_err();
    let fault = faults.iter().find(|fault| fault.code == "unknown-word").unwrap();
    fault.help.as_deref().unwrap().split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn words_are_those_of_the_reader() {
    let rule = |line: &str| format!("rules: [{{ name: a, {line} }}]");
    for (of, key, text) in [
        ("policy", "mode", "mode: xyzzy".to_owned()),
        ("policy", "on_revoke", "on_revoke: xyzzy".to_owned()),
        ("rule", "action", rule("action: xyzzy")),
        ("rule", "mode", rule("mode: xyzzy")),
        ("rule", "protocols", rule("protocols: [xyzzy]")),
        ("rule", "upstream", rule("upstream: xyzzy")),
        ("rule", "access", rule("access: [xyzzy]")),
        ("rule", "acknowledge", rule("acknowledge: [xyzzy]")),
        ("bucket", "endpoints", rule("buckets: [{ name: aaa, region: us-east-1, endpoints: [xyzzy] }]")),
        ("lint", "require", "lint: { require: [xyzzy] }".to_owned()),
        ("claim", "protocol", "rules: []\ntests: [{ allow: a.example, protocol: xyzzy }]".to_owned()),
        ("claim", "reason", "rules: []\ntests: [{ refuse: a.example, reason: xyzzy }]".to_owned()),
    ] {
        let value = value(of, key);
        let words = [&value["enum"], &value["items"]["enum"], &value["anyOf"][0]["enum"]];
        let words: BTreeSet<_> = words
            .iter()
            .filter_map(|words| words.as_array())
            .flatten()
            .filter_map(|word| word.as_str().map(str::to_owned))
            .collect();
        assert_eq!(words, offered(&text), "{key} of a {of}");
    }
}
