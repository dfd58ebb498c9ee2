//! The sets' files. They are a part of the program, and a test finds no fault in them.

use crate::diagnostic::Diagnostics;
use crate::document::{self, Fields, Limits, Node, Reader, Source as Text};
use crate::sets::{Item, RuleSet, Source};

/// Each file, in the order of the sets' names.
const FILES: &[(&str, &str)] = &[
    ("amazon-linux-2.yaml", include_str!("../../sets/amazon-linux-2.yaml")),
    ("amazon-linux-2023.yaml", include_str!("../../sets/amazon-linux-2023.yaml")),
    ("ec2.yaml", include_str!("../../sets/ec2.yaml")),
    ("kms.yaml", include_str!("../../sets/kms.yaml")),
    ("logs.yaml", include_str!("../../sets/logs.yaml")),
    ("monitoring.yaml", include_str!("../../sets/monitoring.yaml")),
    ("ssm.yaml", include_str!("../../sets/ssm.yaml")),
    ("sts.yaml", include_str!("../../sets/sts.yaml")),
];

const KEYS: &[&str] = &["set", "about", "date", "sources", "partitions", "interface_endpoints", "hosts", "buckets"];
const PARTITIONS: &[&str] = &["aws", "aws-cn", "aws-us-gov", "aws-eusc"];

/// All sets, and what is wrong with their files.
pub(super) fn all() -> (Vec<RuleSet>, Diagnostics) {
    let (limits, mut out) = (Limits::default(), Diagnostics::new());
    let sets = FILES.iter().filter_map(|(file, text)| {
        let source = Text::new(file, text.as_bytes().to_vec(), &limits, &mut out)?;
        let root = document::parse(&source, &limits, &mut out)?;
        Reader { source: &source, out: &mut out }.set(&root)
    });
    (sets.collect(), out)
}

impl Reader<'_> {
    fn set(&mut self, root: &Node) -> Option<RuleSet> {
        let fields = self.fields(root, "a rule set", KEYS)?;
        let partitions = match fields.get("partitions") {
            Some(node) => {
                let words: Vec<_> = PARTITIONS.iter().map(|&id| (id, id)).collect();
                let items = self.list(node, "a list of partitions")?;
                items.iter().filter_map(|item| self.one_of(item, "a partition", &words)).map(str::to_owned).collect()
            }
            None => PARTITIONS.iter().map(|&id| id.to_owned()).collect(),
        };
        let sources = self.pairs(&fields, "sources", "title", "url");
        let interface = self.required(&fields, "interface_endpoints", "a rule set");
        Some(RuleSet {
            name: self.word(&fields, "set")?,
            about: self.word(&fields, "about")?,
            date: self.word(&fields, "date")?,
            sources: sources.into_iter().map(|(title, url)| Source { title, url }).collect(),
            partitions,
            interface_endpoints: interface.and_then(|node| self.boolean(node, "a switch"))?,
            hosts: self.items(&fields, "hosts"),
            buckets: self.items(&fields, "buckets"),
        })
    }

    fn word(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
        let node = self.required(fields, key, "a rule set")?;
        self.text(node, key).map(str::to_owned)
    }

    fn items(&mut self, fields: &Fields<'_>, key: &str) -> Vec<Item> {
        self.pairs(fields, key, "name", "about").into_iter().map(|(name, about)| Item { name, about }).collect()
    }

    fn pairs(&mut self, fields: &Fields<'_>, key: &str, first: &str, second: &str) -> Vec<(String, String)> {
        let items = fields.get(key).and_then(|node| self.list(node, "a list")).unwrap_or_default();
        let pairs = items.iter().filter_map(|item| {
            let fields = self.fields(item, "an item", &[first, second])?;
            Some((self.word(&fields, first)?, self.word(&fields, second)?))
        });
        pairs.collect()
    }
}
