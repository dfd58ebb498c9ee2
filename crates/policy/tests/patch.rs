//! The edits that `explain` proposes, over random policies: each applies, allows the request, and opens no other name.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "common/rules.rs"]
mod rules;

use std::path::Path;

use proptest::prelude::*;
use rules::{CLIENTS, HOSTS, NOW, every_request, loaded, rule, written};
use sekisho_name::Name;
use sekisho_policy::{Decision, Effect, FileError, Files, Patch, Policy, Protocol, Reason, Request};

struct Text<'a>(&'a str);

impl Files for Text<'_> {
    fn read(&self, _: &Path, _: usize) -> Result<Vec<u8>, FileError> {
        Ok(self.0.as_bytes().to_vec())
    }
}

/// A text after a patch of one hunk, which must stand where it says.
fn applied(text: &str, patch: &Patch) -> String {
    let mut lines = patch.diff.lines().skip(2);
    let header = lines.next().unwrap();
    let start: usize = header[4..].split([',', ' ']).next().unwrap().parse().unwrap();
    let old: Vec<&str> = text.lines().collect();
    let (mut at, mut out) = (start - 1, old[..start - 1].to_vec());
    for line in lines {
        let (mark, rest) = line.split_at(1);
        if mark != "+" {
            assert_eq!(old[at], rest, "{}", patch.diff);
            at += 1;
        }
        if mark != "-" {
            out.push(rest);
        }
    }
    out.extend(&old[at..]);
    out.join("\n") + "\n"
}

/// The names that may be opened with a host: those of the same bucket.
fn kin(host: &str, name: &str) -> bool {
    let bucket = |name: &str| {
        name.split_once(".s3").filter(|(_, rest)| rest.ends_with("amazonaws.com")).map(|(b, _)| b.to_owned())
    };
    host == name || bucket(host).is_some() && bucket(host) == bucket(name)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("SEKISHO_LONG").is_some() { 2_000 } else { 50 }))]

    #[test]
    fn an_edit_applies_and_opens_what_was_asked_for_and_nothing_else(
        mut rules in proptest::collection::vec(rule(), 0..6),
        asked in proptest::collection::vec((0..HOSTS.len(), 0..CLIENTS.len(), any::<bool>(), 0..3_usize), 4),
    ) {
        let old = loaded(&mut rules, false, |_, _, _| ());
        let text = written(&rules, false);
        for (host, client, http, port) in asked {
            let name = Name::parse(HOSTS[host]).unwrap();
            let client = CLIENTS[client].parse().unwrap();
            let protocol = if http { Protocol::Http } else { Protocol::Tls };
            let request = Request { name: &name, client, port: [80, 443, 8443][port], protocol, now: NOW, vpce: None, ech: false };
            let shut = |decision: Decision| matches!(decision.reason(), Some(Reason::DeniedByRule | Reason::AuditRule));
            let patch = match (old.decide(&request), Policy::patch(Path::new("policy.yaml"), &Text(&text), &request, false)) {
                (Decision::Allow { .. }, Ok(None)) => continue,
                (decision, Err(why)) if shut(decision) => {
                    prop_assert!(why.starts_with("no edit"), "{}", why);
                    continue;
                }
                (decision, Ok(Some(patch))) if !shut(decision) => patch,
                // No bucket can have the one name, and Tokyo has no endpoint of the other form.
                (_, Err(why)) if ["123456789012-", "reports.s3-fips"].iter().any(|no| name.as_str().starts_with(no)) => {
                    prop_assert!(why.starts_with("`check` refuses the edit"), "{}", why);
                    continue;
                }
                // For all others a rule of its own is possible in such policies.
                other => panic!("{text}{request:?}\n{other:?}"),
            };
            let edited = applied(&text, &patch);
            let new = Policy::parse("policy.yaml", &edited, NOW).unwrap().policy;
            prop_assert!(matches!(new.decide(&request), Decision::Allow { .. }), "{}", patch.diff);
            let diff = old.diff(&new);
            prop_assert!(diff.opens() && !patch.opens.is_empty());
            prop_assert!(diff.changes.iter().all(|change| change.effect != Effect::Shuts), "{}{}", patch.diff, diff);
            let mut wrong = None;
            every_request(|other| {
                let (before, after) = (old.outcome(other), new.outcome(other));
                let kin = kin(name.as_str(), other.name.as_str()) && (other.port, other.protocol) == (request.port, protocol);
                if after.opens(&before) && !kin {
                    wrong = Some(format!("{other:?}"));
                }
            });
            prop_assert!(wrong.is_none(), "{}{}\n{:?}", text, patch.diff, wrong);
        }
    }
}
