//! What the rules list, item by item: for those who compare a policy with what it was used for.

use crate::index::{self, Shape};
use crate::pattern;
use crate::policy::{Listed, Policy};
use crate::rule::{Place, RuleId};

/// A name or pattern that a rule lists.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListedName {
    /// As an author would write it: `host`, `*.parent`, `.domain`. A bucket's names stand one by one.
    pub text: String,
    /// Whether it covers more than one name.
    pub pattern: bool,
    /// Where it stands.
    pub place: Place,
}

impl Policy {
    /// What a rule lists, in the order of the files; nothing for a rule of another policy.
    pub fn listed(&self, rule: RuleId) -> impl Iterator<Item = ListedName> {
        let all = self.listed.get(rule.0 as usize).map_or(&[][..], |all| all);
        all.iter().map(|listed| self.listed_name(listed))
    }

    /// The narrowest pattern of a rule that covers a host, as an author would write it; `None` when the rule lists the host
    /// itself, or nothing over it. As quick as a decision.
    pub fn pattern_for(&self, rule: RuleId, host: &str) -> Option<String> {
        let lists = |shape: Shape, text: &str| self.index.rules(shape, text).binary_search(&rule.0).is_ok();
        if lists(Shape::Exact, host) || host.contains('_') {
            return None;
        }
        let ending = index::ending(host).map(|text| (Shape::Ending, text));
        let parent = host.split_once('.').map(|(_, parent)| (Shape::OneLabel, parent));
        let below = std::iter::successors(Some(host), |name| name.split_once('.').map(|(_, parent)| parent));
        let mut candidates = ending.into_iter().chain(parent).chain(below.map(|text| (Shape::Below, text)));
        candidates.find(|(shape, text)| lists(*shape, text)).map(|(shape, text)| pattern::spell(shape, text))
    }

    fn listed_name(&self, listed: &Listed) -> ListedName {
        let (shape, text) = self.index.entry(listed.entry);
        let file = self.files.get(usize::from(listed.file)).cloned().unwrap_or_else(|| "".into());
        ListedName {
            text: pattern::spell(shape, text),
            pattern: shape != Shape::Exact,
            place: Place { file, line: listed.line },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rules_list_says_what_is_a_pattern_and_where_it_stands() {
        let text = "version: 1\nrules:\n  - name: a\n    hosts:\n      - x.example\n      - .y.example\n";
        let policy = Policy::parse("p.yaml", text, 0).unwrap().policy;
        let all: Vec<_> = policy.listed(RuleId(0)).map(|l| (l.text, l.pattern, l.place.to_string())).collect();
        assert_eq!(
            all,
            [
                ("x.example".to_owned(), false, "p.yaml:5".to_owned()),
                (".y.example".to_owned(), true, "p.yaml:6".to_owned())
            ]
        );
        assert_eq!(policy.listed(RuleId(1)).count(), 0);
    }

    #[test]
    fn the_narrowest_pattern_over_a_host_is_found_and_none_over_one_that_is_listed() {
        let account = "*-123456789012-ap-northeast-1-an.s3.ap-northeast-1.amazonaws.com";
        let hosts = format!("[a.x.example, '*.x.example', .example, '{account}']");
        let text = format!(
            "version: 1\nrules:\n  - {{ name: other, hosts: [b.x.example] }}\n  - {{ name: r, hosts: {hosts} }}\n"
        );
        let policy = Policy::parse("p.yaml", &text, 0).unwrap().policy;
        let found = |host: &str| policy.pattern_for(RuleId(1), host);
        assert_eq!(found("a.x.example"), None, "listed itself");
        assert_eq!(found("b.x.example").as_deref(), Some("*.x.example"));
        assert_eq!(found("c.b.x.example").as_deref(), Some(".example"));
        assert_eq!(found("example").as_deref(), Some(".example"));
        assert_eq!(found("c_d.x.example"), None, "no pattern matches an underscore");
        assert_eq!(found("elsewhere.test"), None);
        let bucket = account.replace('*', "logs");
        assert_eq!(found(&bucket).as_deref(), Some(account));
        assert_eq!(policy.pattern_for(RuleId(0), "b.x.example"), None);
    }
}
