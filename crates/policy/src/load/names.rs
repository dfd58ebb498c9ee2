//! What a rule lists: `buckets`, `hosts`, `hosts_files`.

use crate::diagnostic::{Diagnostic, Severity};
use crate::document::{Fields, Node, Reader, nearest};
use crate::index::Shape;
use crate::load::rule::Draft;
use crate::load::{Builder, buckets};
use crate::pattern;
use crate::rule::Action;
use crate::s3::lint::{self, Finding};
use crate::s3::{Class, Form, classify, regions};
use crate::suffix;

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
}

pub(super) fn unknown_region(region: &str, near: Option<&str>, rule: &str) -> Diagnostic {
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
        let fault = if regions::concerned(name) { self.lint_s3(shape, name, text, in_list, curt) } else { None };
        let fault = fault.or_else(|| self.shared(shape, name, text, in_list));
        fault.or_else(|| self.lookalike(name, text, in_list))
    }

    /// What is wrong with a name as one of S3's.
    fn lint_s3(&mut self, shape: Shape, name: &str, text: &str, in_list: bool, curt: bool) -> Option<Diagnostic> {
        if shape == Shape::Exact
            && matches!(classify(name), Class::Pins { form: Form::Website, .. })
            && let Some(mut fault) = buckets::website(self)
        {
            // In a list that is to work unchanged, such a line is harmless.
            if in_list {
                fault.severity = Severity::Warning;
            }
            return Some(fault);
        }
        lint::lint(shape, name).and_then(|finding| self.found(finding, name, text, in_list, curt))
    }

    fn found(&mut self, finding: Finding, name: &str, text: &str, in_list: bool, curt: bool) -> Option<Diagnostic> {
        let rule = self.named(in_list);
        let accept = format!("write `acknowledge: [path_style]` in {rule}");
        let fault = match finding {
            Finding::UnknownRegion(region) => {
                self.acknowledged.unknown_region.used = true;
                let near = if curt { None } else { nearest(&region, regions::all()) };
                let mut fault = unknown_region(&region, near, &rule);
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
            Finding::AnyBucket(example) => {
                // Said at once what the pattern's other fault will ask for.
                let accept = match suffix::at_or_below(name) {
                    Some(_) => format!("write `acknowledge: [path_style, shared_suffix]` and `reason:` in {rule}"),
                    None => accept,
                };
                Diagnostic::error(
                    "any-bucket-pattern",
                    format!("`{text}` covers names of any bucket, such as `{example}`"),
                )
                .help(format!("list the buckets under `buckets:`; or, if every bucket may be reached, {accept}"))
            }
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
