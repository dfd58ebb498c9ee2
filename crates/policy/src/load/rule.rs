//! One rule of the document.

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, is_hidden};
use crate::document::{Fields, Node, Reader, Span};
use crate::export::aws;
use crate::load::{Builder, include, overlap};
use crate::policy::Listed;
use crate::rule::{Access, Action, Ech, Mode, OnMismatch, Place, Protocol, RuleInfo};

/// The keys of a rule.
pub(crate) const KEYS: &[&str] = &[
    "name",
    "owner",
    "ticket",
    "reason",
    "expires",
    "clients",
    "vpc_endpoints",
    "buckets",
    "hosts",
    "hosts_files",
    "action",
    "mode",
    "protocols",
    "ports",
    "upstream",
    "ech",
    "on_mismatch",
    "access",
    "acknowledge",
];

/// What a rule accepts that the lint would refuse.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Acknowledged {
    pub(super) path_style: Acknowledgement,
    pub(super) unknown_region: Acknowledgement,
    pub(super) shared_suffix: Acknowledgement,
    pub(super) lookalike: Acknowledgement,
}

impl Acknowledged {
    /// Each with its word in policy.yaml.
    fn each(&mut self) -> [(&'static str, &mut Acknowledgement); 4] {
        let Self { path_style, unknown_region, shared_suffix, lookalike } = self;
        [
            ("path_style", path_style),
            ("unknown_region", unknown_region),
            ("shared_suffix", shared_suffix),
            ("lookalike", lookalike),
        ]
    }
}

/// Whether a rule accepts something, and whether anything in it asks for that.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Acknowledgement {
    pub(super) given: bool,
    pub(super) used: bool,
}

/// A rule while its names are read.
pub(super) struct Draft {
    pub(super) info: RuleInfo,
    pub(super) span: Span,
    pub(super) acknowledged: Acknowledged,
    pub(super) listed: Vec<Listed>,
    /// What stands in the policy itself: the item's place and its share of `listed`.
    pub(super) items: Vec<(Span, String, std::ops::Range<usize>)>,
    /// Whether anything is listed at all, an empty or faulty list included.
    pub(super) names_something: bool,
    /// Whether it is the second rule of an include, whose first has been looked at for all that both have.
    pub(super) second: bool,
}

impl Draft {
    pub(super) fn new(info: RuleInfo, span: Span, acknowledged: Acknowledged) -> Self {
        Self { info, span, acknowledged, listed: Vec::new(), items: Vec::new(), names_something: false, second: false }
    }

    /// A draft with the same conditions, which lists nothing yet.
    pub(super) fn clone_head(&self) -> Self {
        Self::new(self.info.clone(), self.span, self.acknowledged)
    }
}

impl Builder<'_> {
    pub(super) fn rule(&mut self, reader: &mut Reader<'_>, node: &Node) {
        if include::is_include(node) {
            return self.include(reader, node);
        }
        let errors = reader.out.errors();
        let Some(fields) = reader.fields(node, "a rule", KEYS) else { return };
        let name = reader.required(&fields, "name", "a rule");
        let name = name.and_then(|node| self.own_name(reader, node));
        let info = self.info(reader, &fields, name.unwrap_or_else(|| Arc::from("")));
        let span = fields.get("name").map_or(fields.span, |name| name.span);
        let mut draft = Draft::new(info, span, acknowledged(reader, &fields));
        self.names(reader, &fields, &mut draft);
        if !draft.names_something {
            let fault = Diagnostic::error("empty-rule", "the rule names nothing, so it can never match");
            reader.push(fault.help("add `buckets:`, `hosts:` or `hosts_files:`"), draft.span);
        }
        self.close(reader, &fields, draft, errors);
    }

    /// Takes a rule whose names are read. `errors` counts those from before it.
    pub(super) fn close(&mut self, reader: &mut Reader<'_>, fields: &Fields<'_>, draft: Draft, errors: usize) {
        if reader.out.errors() == errors {
            unneeded(reader, fields, draft.acknowledged);
            self.idle_access(reader, fields, &draft);
        }
        if reader.out.errors() == errors && !draft.second {
            self.owned(reader, &draft);
        }
        let sound = reader.out.errors() == errors;
        if sound {
            overlap::check(self, reader, &draft);
        }
        self.sound.push(sound);
        self.policy.rules.push(draft.info);
        self.policy.listed.push(draft.listed.into_boxed_slice());
    }

    /// Nothing comes of an `access` that no exported policy shows, and a reviewer would think otherwise.
    fn idle_access(&self, reader: &mut Reader<'_>, fields: &Fields<'_>, draft: &Draft) {
        let Some(node) = fields.get("access") else { return };
        let index = &self.policy.index;
        let narrowed = |listed: &Listed| {
            let (shape, name) = index.entry(listed.entry);
            aws::is_exported(shape, name)
        };
        let why = if draft.info.action == Action::Deny {
            "the rule denies, and no AWS policy is made from that"
        } else if draft.listed.iter().any(narrowed) {
            return;
        } else {
            "nothing that the rule lists pins a bucket"
        };
        let fault = Diagnostic::warning("needless-access", format!("`access` changes nothing: {why}"));
        reader.push(fault.help("remove it"), node.span);
    }

    /// The name that a rule is given.
    pub(super) fn own_name(&mut self, reader: &mut Reader<'_>, node: &Node) -> Option<Arc<str>> {
        let name = line(reader, node, "a name")?;
        Some(self.take_name(reader, Arc::from(name), node.span))
    }

    /// Notes that a rule is called so; a name that another has is a fault.
    pub(super) fn take_name(&mut self, reader: &mut Reader<'_>, name: Arc<str>, span: Span) -> Arc<str> {
        if let Some(first) = self.names.insert(Arc::clone(&name), span.line) {
            let fault = Diagnostic::error("duplicate-name", format!("two rules are named `{name}`"));
            let fault = fault.help("give each rule a name of its own: log and metrics tell them apart by it");
            reader.push(fault.note(format!("the first is on line {first}")), span);
        }
        name
    }

    /// Reads what a rule says besides its names.
    pub(super) fn info(&mut self, reader: &mut Reader<'_>, fields: &Fields<'_>, name: Arc<str>) -> RuleInfo {
        let mut word = |key: &str| {
            fields.get(key).and_then(|node| line(reader, node, &format!("the rule's {key}"))).map(Box::from)
        };
        let (owner, ticket, reason) = (word("owner"), word("ticket"), word("reason"));
        let actions = [("allow", Action::Allow), ("deny", Action::Deny)];
        let modes = [("enforce", Mode::Enforce), ("audit", Mode::Audit)];
        let action = fields.get("action").and_then(|node| reader.one_of(node, "an action", &actions));
        let mode = fields.get("mode").and_then(|node| reader.one_of(node, "a mode", &modes));
        let action = action.unwrap_or_default();
        let protocols = fields
            .get("protocols")
            .and_then(|node| reader.protocols(node))
            .unwrap_or_else(|| Box::new([Protocol::Tls]));
        let (ech, on_mismatch) = terms(reader, fields, action, &protocols);
        RuleInfo {
            name,
            owner,
            ticket,
            reason,
            expires: self.expires(reader, fields, action),
            action,
            mode: mode.unwrap_or_default(),
            clients: fields.get("clients").and_then(|node| reader.networks(node, "clients")),
            vpc_endpoints: fields.get("vpc_endpoints").and_then(|node| reader.vpc_endpoints(node)),
            protocols,
            ports: fields.get("ports").and_then(|node| reader.ports(node)),
            upstream: fields.get("upstream").and_then(|node| reader.upstream(node)).unwrap_or_default(),
            ech,
            on_mismatch,
            set: None,
            access: fields.get("access").and_then(|node| reader.access(node)).unwrap_or_else(|| Box::from(Access::ALL)),
            place: Place { file: Arc::clone(reader.source.file()), line: fields.span.line },
        }
    }
}

/// What an allow rule does with hellos, and with clients, that are not simply let through.
fn terms(reader: &mut Reader<'_>, fields: &Fields<'_>, action: Action, protocols: &[Protocol]) -> (Ech, OnMismatch) {
    for entry in ["ech", "on_mismatch"].iter().filter_map(|key| fields.entry(key)) {
        let (in_what, why) = if action == Action::Deny {
            ("that denies", "remove it: the rule refuses whatever it matches")
        } else if &*entry.key == "ech" && !protocols.contains(&Protocol::Tls) {
            ("for plain HTTP alone", "remove it: there is no hello")
        } else {
            continue;
        };
        let fault = Diagnostic::error("misplaced-key", format!("`{}` means nothing in a rule {in_what}", entry.key));
        reader.push(fault.help(why), entry.key_span);
    }
    let words: Vec<_> = Ech::ALL.iter().map(|&ech| (ech.label(), ech)).collect();
    let ech = fields.get("ech").and_then(|node| reader.one_of(node, "a word on ECH", &words));
    let words: Vec<_> = OnMismatch::ALL.iter().map(|&what| (what.label(), what)).collect();
    let on_mismatch = fields.get("on_mismatch").and_then(|node| reader.one_of(node, "a word on mismatches", &words));
    (ech.unwrap_or_default(), on_mismatch.unwrap_or_default())
}

/// Text for one line of a log: short, and without characters that do not show themselves.
fn line<'n>(reader: &mut Reader<'_>, node: &'n Node, what: &str) -> Option<&'n str> {
    let text = reader.text(node, what)?;
    let fault = if text.chars().any(is_hidden) {
        Diagnostic::error("bad-text", format!("{what} has an invisible character"))
            .help("keep it to one line of plain text")
    } else if text.trim() != text {
        Diagnostic::error("bad-text", format!("{what} begins or ends with a blank")).help("remove the blank")
    } else if text.chars().count() > 200 {
        Diagnostic::error("bad-text", format!("{what} is longer than 200 characters")).help("shorten it")
    } else {
        return Some(text);
    };
    reader.push(fault, node.span);
    None
}

pub(super) fn acknowledged(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Acknowledged {
    let mut all = Acknowledged::default();
    let Some(node) = fields.get("acknowledge") else { return all };
    for item in reader.list(node, "a list of what is acknowledged").unwrap_or_default() {
        let words: Vec<_> = all.each().into_iter().enumerate().map(|(at, (word, _))| (word, at)).collect();
        let found = reader.one_of(item, "something to acknowledge", &words);
        if let Some((_, one)) = found.and_then(|at| all.each().into_iter().nth(at)) {
            one.given = true;
        }
    }
    if all.shared_suffix.given && fields.get("reason").is_none() {
        let fault = Diagnostic::error("missing-key", "a rule that acknowledges `shared_suffix` needs `reason`");
        reader.push(fault.help("add `reason:`, so that a reviewer sees why anybody's names may be reached"), node.span);
    }
    all
}

/// An acknowledgement that nothing needs would hide the fault of the next name that is added.
fn unneeded(reader: &mut Reader<'_>, fields: &Fields<'_>, mut all: Acknowledged) {
    let Some(node) = fields.get("acknowledge") else { return };
    for (word, one) in all.each() {
        if one.given && !one.used {
            let fault = Diagnostic::warning("needless-acknowledge", format!("nothing in this rule needs `{word}`"));
            reader.push(fault.help("remove it"), node.span);
        }
    }
}
