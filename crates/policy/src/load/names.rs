//! What a rule lists: `buckets`, `hosts`, `hosts_files`.

use crate::diagnostic::{Diagnostic, Severity};
use crate::document::{Fields, Node, Reader, Value, nearest};
use crate::index::Shape;
use crate::load::Builder;
use crate::load::rule::Draft;
use crate::pattern;
use crate::rule::{Action, Protocol};
use crate::s3::bucket::{self, BadBucket};
use crate::s3::lint::{self, Finding};
use crate::s3::{Form, regions};

impl Builder<'_> {
    pub(super) fn names(&mut self, reader: &mut Reader<'_>, fields: &Fields<'_>, draft: &mut Draft) {
        if let Some(node) = fields.get("buckets") {
            draft.names_something = true;
            for item in reader.filled(node, "buckets", "buckets").unwrap_or_default() {
                self.bucket(reader, item, draft);
            }
        }
        if let Some(node) = fields.get("hosts") {
            draft.names_something = true;
            for item in reader.filled(node, "hosts", "host names").unwrap_or_default() {
                self.host(reader, item, draft);
            }
        }
        if let Some(node) = fields.get("hosts_files") {
            draft.names_something = true;
            for item in reader.filled(node, "hosts_files", "files").unwrap_or_default() {
                if !self.full() {
                    self.hosts_file(reader, item, draft);
                }
            }
        }
        if self.full() {
            let most = self.caps.names;
            let fault = Diagnostic::error("too-many-names", format!("all rules together list more than {most} names"));
            reader.push(fault.help("use `.domain` where a whole domain is meant"), draft.span);
        }
    }

    fn host(&mut self, reader: &mut Reader<'_>, node: &Node, draft: &mut Draft) {
        let Some(text) = reader.text(node, "a host name") else { return };
        let (shape, name) = match pattern::parse(text) {
            Ok(parsed) => parsed,
            Err((why, help)) => {
                let fault = Diagnostic::error("bad-host", format!("`{text}` {why}"));
                reader.push(if help.is_empty() { fault } else { fault.help(help) }, node.span);
                return;
            }
        };
        if let Some(fault) = draft.lint(shape, &name, text, false, !reader.out.keeps(Severity::Error)) {
            reader.push(fault, node.span);
        }
        let start = draft.listed.len();
        if !self.list(&mut draft.listed, shape, &name, 0, node.span.line) {
            let fault = Diagnostic::warning("duplicate-host", format!("`{text}` is listed in this rule already"));
            reader.push(fault.help("remove one of the two"), node.span);
        }
        draft.items.push((node.span, text.to_owned(), start..draft.listed.len()));
    }

    fn bucket(&mut self, reader: &mut Reader<'_>, node: &Node, draft: &mut Draft) {
        if let Value::Scalar { text, .. } = &node.value {
            let fault = Diagnostic::error("wrong-type", format!("expected a bucket with its region, found `{text}`"));
            reader.push(fault.help("write it like `{ name: reports, region: ap-northeast-1 }`"), node.span);
            return;
        }
        let Some(fields) = reader.fields(node, "a bucket", &["name", "region", "endpoints"]) else { return };
        let name_node = reader.required(&fields, "name", "a bucket");
        let region_node = reader.required(&fields, "region", "a bucket");
        let forms = match fields.get("endpoints") {
            Some(node) => reader.filled(node, "endpoints", "endpoint forms").map(|items| {
                items
                    .iter()
                    .filter_map(|item| reader.one_of(item, "an endpoint form", Form::WORDS).map(|f| (f, item)))
                    .collect()
            }),
            None => Some(Form::DEFAULT.iter().map(|&form| (form, node)).collect()),
        };
        let forms: Vec<(Form, &Node)> = forms.unwrap_or_default();
        for (_, item) in forms.iter().filter(|(form, _)| *form == Form::Website) {
            if !draft.info.protocols.contains(&Protocol::Http) {
                let fault = Diagnostic::error("website-needs-http", "S3 websites answer plain HTTP only");
                reader.push(fault.help("add `protocols: [http]` to the rule"), item.span);
            }
        }
        let name = name_node.and_then(|node| reader.text(node, "a bucket's name"));
        let region = region_node.and_then(|node| reader.text(node, "a region"));
        let (Some(name), Some(region), Some(name_node), Some(region_node)) = (name, region, name_node, region_node)
        else {
            return;
        };
        let Some(suffix) = region_suffix(reader, region_node, region, draft) else { return };
        if let Err(bad) = bucket::check(name, region) {
            let fault = match bad {
                BadBucket::Dotted => Diagnostic::error("dotted-bucket", format!("the bucket name `{name}` has a dot"))
                    .help("copy the data to a bucket without a dot, and list that one")
                    .note(
                        "over TLS, SDKs reach such a bucket by path (`s3.REGION…/bucket`), so no server name pins it",
                    ),
                BadBucket::Grammar(why) => {
                    Diagnostic::error("bad-bucket-name", format!("the bucket name `{name}` {why}"))
                        .help("write the name alone, as S3 shows it, like `reports-2027`")
                }
            };
            reader.push(fault, name_node.span);
            return;
        }
        let start = draft.listed.len();
        let (shape, stem) = name.strip_prefix('*').map_or((Shape::Exact, name), |stem| (Shape::Ending, stem));
        // Nothing can be said about a bucket whose every endpoint is faulty.
        let mut new = forms.is_empty();
        for (form, _) in forms {
            for tail in form.tails(region, suffix) {
                new |= self.list(&mut draft.listed, shape, &format!("{stem}{tail}"), 0, name_node.span.line);
            }
        }
        if !new {
            let fault =
                Diagnostic::warning("duplicate-host", format!("the bucket `{name}` is listed in this rule already"));
            reader.push(fault.help("remove one of the two"), name_node.span);
        }
        draft.items.push((name_node.span, name.to_owned(), start..draft.listed.len()));
    }
}

/// The DNS suffix of a region's partition; a region that is not known needs an acknowledgement.
fn region_suffix(reader: &mut Reader<'_>, node: &Node, region: &str, draft: &mut Draft) -> Option<&'static str> {
    if let Some(suffix) = regions::suffix_of(region) {
        return Some(suffix);
    }
    let near = nearest(region, regions::all());
    if draft.acknowledged.unknown_region.given && regions::shaped(region) && region.len() <= 40 {
        draft.acknowledged.unknown_region.used = true;
        let suffix = regions::suffix_by_spelling(region);
        let fault = Diagnostic::warning("unknown-region", format!("the region `{region}` is not known here"));
        reader.push(fault.help(format!("make sure that it is meant; its names end with `{suffix}`")), node.span);
        return Some(suffix);
    }
    reader.push(unknown_region(region, near, "this rule"), node.span);
    None
}

fn unknown_region(region: &str, near: Option<&str>, rule: &str) -> Diagnostic {
    let acknowledge = format!("write `acknowledge: [unknown_region]` in {rule} if it is newer than this version");
    let help = match near.filter(|near| *near != region) {
        Some(near) => format!("did you mean `{near}`? If not, {acknowledge}"),
        None => acknowledge,
    };
    Diagnostic::error("unknown-region", format!("the region `{region}` is not known here under this domain")).help(help)
}

impl Draft {
    /// Asks the lint about one name. A `curt` fault is only counted: what is nearest to it is not looked for.
    pub(super) fn lint(
        &mut self,
        shape: Shape,
        name: &str,
        text: &str,
        in_list: bool,
        curt: bool,
    ) -> Option<Diagnostic> {
        // What a deny rule covers is shut, however wide.
        if self.info.action == Action::Deny {
            return None;
        }
        let fault = lint::lint(shape, name).and_then(|finding| self.found(finding, text, in_list, curt));
        fault.or_else(|| top_level(shape, name, text))
    }

    fn found(&mut self, finding: Finding, text: &str, in_list: bool, curt: bool) -> Option<Diagnostic> {
        let place = format!("the rule `{}` ({})", self.info.name, self.info.place);
        let rule = if in_list { place.as_str() } else { "this rule" };
        let accept = format!("write `acknowledge: [path_style]` in {rule}");
        let fault = match finding {
            Finding::UnknownRegion(region) => {
                self.acknowledged.unknown_region.used = true;
                let near = if curt { None } else { nearest(&region, regions::all()) };
                let mut fault = unknown_region(&region, near, rule);
                // In a list that is to work unchanged, such a line is harmless: it names nothing that exists.
                if self.acknowledged.unknown_region.given || in_list {
                    fault.severity = Severity::Warning;
                }
                fault
            }
            _ if self.acknowledged.path_style.given => {
                self.acknowledged.path_style.used = true;
                return None;
            }
            Finding::Open => {
                Diagnostic::error("path-style-host", format!("`{text}` pins no bucket: every bucket is reached by it"))
                    .help(format!("list the bucket under `buckets:`; or, if every bucket may be reached, {accept}"))
            }
            Finding::AnyBucket(example) => Diagnostic::error(
                "any-bucket-pattern",
                format!("`{text}` covers names of any bucket, such as `{example}`"),
            )
            .help(format!("list the buckets under `buckets:`; or, if every bucket may be reached, {accept}")),
            Finding::Dotted(bucket) => {
                Diagnostic::error("dotted-bucket", format!("the bucket name `{bucket}` has a dot"))
                    .help(format!(
                        "copy the data to a bucket without a dot; or, to let this exact name through, {accept}"
                    ))
                    .note("over TLS, SDKs reach such a bucket by path (`s3.REGION…/bucket`), not by this name")
            }
        };
        Some(fault)
    }
}

/// Top-level domains in which no stranger gets a name: RFC 6761, RFC 6762 appendix G, and ICANN's `internal`.
const PRIVATE: &[&str] =
    &["corp", "example", "home", "internal", "intranet", "invalid", "lan", "local", "localhost", "private", "test"];

/// A slip like `.org` for `.example.org` opens more than anybody means.
fn top_level(shape: Shape, name: &str, text: &str) -> Option<Diagnostic> {
    let wide = matches!(shape, Shape::OneLabel | Shape::Below) && !name.contains('.') && !PRIVATE.contains(&name);
    wide.then(|| {
        let message = format!("`{text}` covers a top-level domain, in which anybody can have a name");
        Diagnostic::warning("top-level-pattern", message).help("list the domains that are meant")
    })
}
