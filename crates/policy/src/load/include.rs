//! `include:`, by which a built-in set of names becomes rules: one for its hosts, and one for the buckets of AWS's own that
//! belong to it, since those are reached at other addresses.

use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::document::{Fields, Node, Reader, Value};
use crate::index::Shape;
use crate::load::rule::{Acknowledged, Draft, acknowledged};
use crate::load::{Builder, buckets};
use crate::rule::{Action, RuleInfo, Upstream};
use crate::s3::regions::Partition;
use crate::s3::subject::Subject;
use crate::s3::{Kind, Place};
use crate::sets::{self, RuleSet};

/// The keys of an include: of the set, and of the rules that are made of it.
pub(crate) const KEYS: &[&str] = &[
    "set",
    "region",
    "name",
    "owner",
    "ticket",
    "reason",
    "expires",
    "clients",
    "vpc_endpoints",
    "action",
    "mode",
    "protocols",
    "ports",
    "upstream",
    "bucket_upstream",
    "ech",
    "on_mismatch",
    "acknowledge",
];

/// Whether an item of `rules` is an include.
pub(super) fn is_include(node: &Node) -> bool {
    matches!(&node.value, Value::Mapping(entries) if entries.iter().any(|entry| &*entry.key == "include"))
}

/// What an include asks for.
struct Included<'n> {
    set: &'static RuleSet,
    /// Where it says so, which is where the faults of its rules are.
    node: &'n Node,
    region: &'n str,
    partition: &'static Partition,
}

impl Builder<'_> {
    pub(super) fn include(&mut self, reader: &mut Reader<'_>, node: &Node) {
        let errors = reader.out.errors();
        let outer = reader.fields(node, "an item with `include`", &["include"]);
        let Some(node) = outer.and_then(|outer| outer.get("include")) else { return };
        let Some(fields) = reader.fields(node, "an include", KEYS) else { return };
        let set = set(reader, &fields);
        let name = fields.get("name").and_then(|node| self.own_name(reader, node));
        let name = name.or_else(|| {
            let (set, node) = set.filter(|_| fields.get("name").is_none())?;
            Some(self.take_name(reader, Arc::from(set.name.as_str()), node.span))
        });
        let info = self.info(reader, &fields, name.unwrap_or_else(|| Arc::from("")));
        let bucket_upstream = fields.get("bucket_upstream").and_then(|node| reader.upstream(node));
        let region = reader.required(&fields, "region", "an include");
        let region = region.and_then(|node| Some((node, reader.text(node, "a region")?)));
        let mut draft = Draft::new(info, node.span, acknowledged(reader, &fields));
        let partition = region.and_then(|(node, region)| buckets::partition(reader, node, region, &mut draft));
        let (Some((set, node)), Some((_, region)), Some(partition)) = (set, region, partition) else { return };
        draft.span = node.span;
        if !set.partitions.iter().any(|id| id == partition.id) {
            let message = format!("`{}` is not known for {}", set.name, partition.id);
            let fault = Diagnostic::error("no-such-set", message);
            reader.push(fault.help(format!("list what is needed in {region} under `hosts:` or `buckets:`")), node.span);
            return;
        }
        let both = !set.hosts.is_empty() && !set.buckets.is_empty();
        if let Some(entry) = fields.entry("bucket_upstream").filter(|_| !both) {
            let fault = Diagnostic::error("misplaced-key", format!("`{}` makes one rule only", set.name));
            reader.push(fault.help("write `upstream:`"), entry.key_span);
        }
        let included = Included { set, node, region, partition };
        let (mut hosts, mut own) = (draft.clone_head(), draft);
        hosts.info.set = Some(&set.name);
        if !set.hosts.is_empty() {
            warn_of_public(reader, &included, &hosts.info);
            self.hosts_of(&included, &mut hosts);
            self.close(reader, &fields, hosts, errors);
        }
        if !set.buckets.is_empty() {
            own.info.set = Some(&set.name);
            if both {
                own.info.name = self.take_name(reader, format!("{} buckets", own.info.name).into(), node.span);
                own.info.upstream = bucket_upstream.unwrap_or_default();
                // What nothing needs, and who is missing, was said for the first rule.
                own.acknowledged = Acknowledged::default();
                own.second = true;
            }
            self.buckets_of(&included, &mut own);
            self.close(reader, &fields, own, errors);
        }
    }

    fn hosts_of(&mut self, included: &Included<'_>, draft: &mut Draft) {
        for name in included.set.hosts_in(included.region, included.partition) {
            let start = draft.listed.len();
            self.list(&mut draft.listed, Shape::Exact, &name, 0, included.node.span.line);
            draft.items.push((included.node.span, name, start..draft.listed.len()));
        }
    }

    fn buckets_of(&mut self, included: &Included<'_>, draft: &mut Draft) {
        let Included { region, partition, .. } = *included;
        let place = Place { partition, region, zone: "", outpost: "" };
        for name in included.set.buckets_in(region) {
            // Every set's buckets are good names, by a test; of an unknown region's name that may not be so.
            let Ok(subject) = Subject::bucket(&name, region) else { continue };
            let start = draft.listed.len();
            for &form in Kind::Bucket.usual() {
                for (shape, name) in subject.names(form, &place) {
                    self.list(&mut draft.listed, shape, &name, 0, included.node.span.line);
                }
            }
            draft.items.push((included.node.span, name, start..draft.listed.len()));
        }
    }
}

fn set<'n>(reader: &mut Reader<'_>, fields: &Fields<'n>) -> Option<(&'static RuleSet, &'n Node)> {
    let node = reader.required(fields, "set", "an include")?;
    let text = reader.text(node, "a rule set like `aws:ssm`")?;
    match sets::find(text) {
        Ok(set) => Some((set, node)),
        Err(near) => {
            let help =
                near.map_or("`sekisho rulesets` prints them".to_owned(), |near| format!("did you mean `{near}`?"));
            reader
                .push(Diagnostic::error("no-such-set", format!("there is no rule set `{text}`")).help(help), node.span);
            None
        }
    }
}

/// Hosts that usually have interface endpoints resolve to private addresses then, which a rule has to permit; and where they
/// have none, traffic to AWS leaves the network.
fn warn_of_public(reader: &mut Reader<'_>, included: &Included<'_>, info: &RuleInfo) {
    if info.upstream == Upstream::Public && info.action == Action::Allow && included.set.interface_endpoints {
        let message =
            format!("`{}` is left at public addresses, and usually has interface endpoints", included.set.name);
        let fault = Diagnostic::warning("set-at-public-addresses", message);
        let help =
            "add `upstream:` with the networks that they are in, like `[10.0.0.0/8]`; without them, `upstream: any`";
        reader.push(fault.help(help), included.node.span);
    }
}
