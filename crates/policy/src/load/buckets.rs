//! `buckets:`, in which an item names something in S3 and stands for exactly the names that pin it.

use crate::diagnostic::{Diagnostic, Severity};
use crate::document::{Fields, Node, Reader, Value, nearest};
use crate::load::Builder;
use crate::load::names::unknown_region;
use crate::load::rule::Draft;
use crate::rule::{Action, Protocol, Upstream};
use crate::s3::bucket::BadBucket;
use crate::s3::regions::{self, Partition};
use crate::s3::subject::{self, Subject};
use crate::s3::{Absent, Form, Kind, Place};

/// Keys that say what is named; an item has one of them. The first is what an item without any is taken to lack.
const SUBJECTS: &[&str] = &["name", "access_point", "object_lambda", "multi_region_access_point", "directory_bucket"];
/// The keys of an item.
pub(crate) const KEYS: &[&str] = &[
    "name",
    "access_point",
    "object_lambda",
    "multi_region_access_point",
    "directory_bucket",
    "account",
    "outpost",
    "region",
    "endpoints",
    "vpce",
];

impl Builder<'_> {
    pub(super) fn bucket(&mut self, reader: &mut Reader<'_>, node: &Node, draft: &mut Draft) {
        if let Value::Scalar { text, .. } = &node.value {
            let fault = Diagnostic::error("wrong-type", format!("expected a bucket with its region, found `{text}`"));
            reader.push(fault.help("write it like `{ name: reports, region: ap-northeast-1 }`"), node.span);
            return;
        }
        let Some(fields) = reader.fields(node, "a bucket", KEYS) else { return };
        // Every part is read before any is missed, so that all faults are found at once.
        let named = one_subject(reader, &fields);
        let everywhere = named.is_some_and(|(key, _)| key == "multi_region_access_point");
        let region = match fields.get("region") {
            None if everywhere => Some("us-east-1"),
            _ => {
                let node = reader.required(&fields, "region", "a bucket");
                node.and_then(|node| reader.text(node, "a region"))
            }
        };
        let forms = forms(reader, &fields);
        let (Some((key, name_node)), Some(region)) = (named, region) else { return };
        let region_node = fields.get("region").unwrap_or(node);
        let Some(partition) = partition(reader, region_node, region, draft) else { return };
        let Some(subject) = read_subject(reader, &fields, key, name_node, region) else { return };
        let place = Place { partition, region, zone: "", outpost: "" };
        let Some(interfaces) = interfaces(reader, &fields, &subject, region) else { return };
        if let Some((_, node)) = interfaces.first()
            && draft.info.upstream == Upstream::Public
        {
            let fault = Diagnostic::warning(
                "private-endpoint",
                "an interface endpoint has private addresses, and the rule permits public ones only",
            );
            reader.push(fault.help("add `upstream:` with the networks that it is in, like `[10.0.0.0/8]`"), node.span);
        }
        // Without `endpoints:` an item with `vpce:` is reached by its interface endpoints alone.
        let forms = forms.unwrap_or_else(|| {
            let usual = if interfaces.is_empty() { subject.kind.usual() } else { &[] };
            let here = usual.iter().filter(|form| place.lacks(subject.kind, **form).is_none());
            here.map(|&form| (form, None)).collect()
        });

        if forms.is_empty() && interfaces.is_empty() && fields.get("endpoints").is_none() {
            let whole = format!("there is no endpoint for {} in {region}", subject.kind.plural());
            reader.push(Diagnostic::error("no-such-endpoint", whole).help("remove it"), name_node.span);
            return;
        }
        let (start, line) = (draft.listed.len(), name_node.span.line);
        // Nothing can be said about a bucket whose every endpoint is faulty.
        let mut new = forms.is_empty() && interfaces.is_empty();
        for (form, node) in forms {
            if let Some(node) = node
                && !sound(reader, node, subject.kind, form, &place, draft)
            {
                new = true;
                continue;
            }
            for (shape, name) in subject.names(form, &place) {
                new |= self.list(&mut draft.listed, shape, &name, 0, line);
            }
        }
        for (interface, _) in interfaces {
            if let Some((shape, name)) = subject.private_link(interface, &place) {
                new |= self.list(&mut draft.listed, shape, &name, 0, line);
            }
        }
        let name = written(name_node);
        if !new {
            let fault =
                Diagnostic::warning("duplicate-host", format!("the bucket `{name}` is listed in this rule already"));
            reader.push(fault.help("remove one of the two"), name_node.span);
        }
        draft.items.push((name_node.span, name.to_owned(), start..draft.listed.len()));
    }
}

fn written(node: &Node) -> &str {
    match &node.value {
        Value::Scalar { text, .. } => text,
        _ => "",
    }
}

/// The one key that says what is named, with its value.
fn one_subject<'n>(reader: &mut Reader<'_>, fields: &Fields<'n>) -> Option<(&'static str, &'n Node)> {
    let mut all = SUBJECTS.iter().filter_map(|key| fields.entry(key).map(|entry| (*key, entry)));
    let Some((key, entry)) = all.next() else {
        let fault = Diagnostic::error("missing-key", "a bucket needs `name`");
        let others: Vec<_> = SUBJECTS.iter().skip(1).map(|key| format!("`{key}:`")).collect();
        reader.push(fault.help(format!("add `name:`, or {}", others.join(" or "))), fields.span);
        return None;
    };
    for (other, entry) in all {
        let fault = Diagnostic::error("misplaced-key", format!("one item has both `{key}` and `{other}`"));
        reader.push(fault.help("make two items of it"), entry.key_span);
    }
    reader.text(&entry.value, "a name").map(|_| (key, &entry.value))
}

/// The listed endpoint forms; `None` when there is no list.
fn forms<'n>(reader: &mut Reader<'_>, fields: &Fields<'n>) -> Option<Vec<(Form, Option<&'n Node>)>> {
    let items = reader.filled(fields.get("endpoints")?, "endpoints", "endpoint forms").unwrap_or_default();
    let forms = items.iter().filter_map(|item| {
        let form = reader.one_of(item, "an endpoint form", Form::WORDS)?;
        Some((form, Some(item)))
    });
    Some(forms.collect())
}

/// Reads the subject with the keys that belong to it.
fn read_subject(reader: &mut Reader<'_>, fields: &Fields<'_>, key: &str, node: &Node, region: &str) -> Option<Subject> {
    let name = written(node);
    let alias = matches!(key, "access_point" | "object_lambda").then(|| Subject::alias(name, region)).flatten();
    let owned = matches!(key, "access_point" | "object_lambda") && alias.is_none();
    let outpost = fields.get("outpost");
    misplaced(reader, fields, "account", !owned, "only access points by their own names have it");
    misplaced(
        reader,
        fields,
        "outpost",
        !(owned && key == "access_point"),
        "only access points by their own names have it",
    );
    let account = if owned {
        let node = reader.required(fields, "account", "an access point")?;
        let text = reader.text(node, "an account's number")?;
        if !subject::is_account(text) {
            let fault = Diagnostic::error("bad-account", format!("`{text}` is not an account's number"));
            reader.push(fault.help("write its 12 digits, like `123456789012`"), node.span);
            return None;
        }
        text
    } else {
        ""
    };
    let (what, read) = match key {
        "name" => return bucket(reader, node, name, region),
        "directory_bucket" => ("directory bucket's", Subject::directory(name, region)),
        "multi_region_access_point" => ("multi-region access point's", Subject::multi_region(name)),
        _ => (
            "access point's",
            match (alias, outpost) {
                (Some(alias), _) => alias,
                (None, _) if key == "object_lambda" => Subject::object_lambda(name, account),
                (None, None) => Subject::access_point(name, account),
                (None, Some(node)) => {
                    let text = reader.text(node, "an outpost's ID")?;
                    if !subject::is_outpost(text) {
                        let fault = Diagnostic::error("bad-endpoint-id", format!("`{text}` is not an outpost's ID"));
                        reader.push(fault.help("write it like `op-01ac5d28a6a232904`"), node.span);
                        return None;
                    }
                    Subject::on_outpost(name, account, text)
                }
            },
        ),
    };
    match read {
        Ok(subject) => Some(subject),
        Err(why) => {
            let fault = Diagnostic::error("bad-bucket-name", format!("the {what} name `{name}` {why}"));
            reader.push(fault.help("write the name alone, as S3 shows it"), node.span);
            None
        }
    }
}

fn misplaced(reader: &mut Reader<'_>, fields: &Fields<'_>, key: &str, wrong: bool, why: &str) {
    if let Some(entry) = fields.entry(key).filter(|_| wrong) {
        let fault = Diagnostic::error("misplaced-key", format!("`{key}` has no meaning here: {why}"));
        reader.push(fault.help("remove it"), entry.key_span);
    }
}

fn bucket(reader: &mut Reader<'_>, node: &Node, name: &str, region: &str) -> Option<Subject> {
    let fault = match Subject::bucket(name, region) {
        Ok(subject) => return Some(subject),
        Err(BadBucket::Dotted) => Diagnostic::error("dotted-bucket", format!("the bucket name `{name}` has a dot"))
            .help("copy the data to a bucket without a dot, and list that one")
            .note("over TLS, SDKs reach such a bucket by path (`s3.REGION…/bucket`), so no server name pins it"),
        Err(BadBucket::Grammar(why)) => Diagnostic::error("bad-bucket-name", format!("the bucket name `{name}` {why}"))
            .help("write the name alone, as S3 shows it, like `reports-2027`"),
    };
    reader.push(fault, node.span);
    None
}

/// The interface endpoints of `vpce:`. `None` when one is faulty.
fn interfaces<'n>(
    reader: &mut Reader<'_>,
    fields: &Fields<'n>,
    subject: &Subject,
    region: &str,
) -> Option<Vec<(&'n str, &'n Node)>> {
    let Some(entry) = fields.entry("vpce") else { return Some(Vec::new()) };
    if !matches!(subject.kind, Kind::Bucket | Kind::AccessPoint) {
        let kind = subject.kind.plural();
        let fault =
            Diagnostic::error("misplaced-key", format!("`vpce` has no meaning here: {kind} have no such names"));
        reader.push(fault.help("remove it"), entry.key_span);
        return None;
    }
    let mut all = Vec::new();
    for item in reader.filled(&entry.value, "vpce", "interface endpoints")? {
        let text = reader.text(item, "an interface endpoint")?;
        if !subject::is_interface(text, region) {
            let fault = Diagnostic::error(
                "bad-endpoint-id",
                format!("`{text}` is not how the names of an interface endpoint in {region} begin"),
            );
            let fault = fault.help(format!(
                "write what stands before `.s3.{region}.vpce.` in its DNS names, like `vpce-0a1b2c3d4e5f67890-a1b2c3d4`"
            ));
            reader.push(fault, item.span);
            return None;
        }
        all.push((text, item));
    }
    Some(all)
}

/// Whether a listed form exists for this subject, and is reached as the rule lets it.
fn sound(reader: &mut Reader<'_>, node: &Node, kind: Kind, form: Form, place: &Place<'_>, draft: &mut Draft) -> bool {
    let (word, kinds, region) = (form.word().unwrap_or_default(), kind.plural(), place.region);
    if let Some(absent) = place.lacks(kind, form) {
        let whole = format!("there is no `{word}` endpoint for {kinds} in {region}");
        let fault = match absent {
            Absent::Partition => Diagnostic::error("no-such-endpoint", whole).help("remove it"),
            // AWS gives more regions such endpoints as time goes by.
            Absent::Region(_) if draft.acknowledged.unknown_region.given => {
                draft.acknowledged.unknown_region.used = true;
                let fault = Diagnostic::warning("no-such-endpoint", format!("{whole}, as far as this version knows"));
                reader.push(fault.help("make sure that it is meant"), node.span);
                return true;
            }
            Absent::Region(regions) => {
                let elsewhere =
                    if regions.is_empty() { String::new() } else { format!(" (it exists in {})", regions.join(", ")) };
                Diagnostic::error("no-such-endpoint", whole).help(format!(
                    "remove it{elsewhere}, or write `acknowledge: [unknown_region]` in this rule if it is newer than this version"
                ))
            }
        };
        reader.push(fault, node.span);
        return false;
    }
    if form == Form::Website
        && let Some(fault) = website(draft)
    {
        reader.push(fault, node.span);
        return false;
    }
    true
}

/// What is wrong with a rule that lists a website.
pub(super) fn website(draft: &Draft) -> Option<Diagnostic> {
    let http = *draft.info.protocols == [Protocol::Http] && draft.info.admits_port(Protocol::Http, 80);
    (!http && draft.info.action == Action::Allow).then(|| {
        Diagnostic::error("website-needs-http", "S3 websites answer plain HTTP on port 80 only")
            .help("give them a rule of their own, with `protocols: [http]`")
    })
}

/// The partition of a region; one that is not known needs an acknowledgement.
pub(super) fn partition(
    reader: &mut Reader<'_>,
    node: &Node,
    region: &str,
    draft: &mut Draft,
) -> Option<&'static Partition> {
    if let Some(partition) = regions::partition_of(region) {
        return Some(partition);
    }
    if draft.acknowledged.unknown_region.given && regions::shaped(region) && region.len() <= 40 {
        draft.acknowledged.unknown_region.used = true;
        let partition = regions::partition_by_spelling(region)?;
        let suffix = partition.suffix;
        let fault = Diagnostic::warning("unknown-region", format!("the region `{region}` is not known here"));
        reader.push(fault.help(format!("make sure that it is meant; its names end with `{suffix}`")), node.span);
        return Some(partition);
    }
    let near = if reader.out.keeps(Severity::Error) { nearest(region, regions::all()) } else { None };
    reader.push(unknown_region(region, near, "this rule"), node.span);
    None
}
