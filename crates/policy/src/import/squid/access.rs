//! `http_access` lines: the first whose acls all match decides, as among rules. A line that names no host has no rule of
//! its own; what such a deny line shuts is taken out of the lines behind it.

use std::collections::HashMap;

use super::super::draft::{Draft, Host, Part, Rule};
use super::super::set::{Addresses, PORTS, Set};
use super::acl::{self, Acl};
use super::{Line, names};
use crate::files::Files;

/// What a line matches, as far as a policy can say it.
#[derive(Clone, Debug)]
struct Region {
    names: Names,
    clients: Addresses,
    /// Ports of CONNECT requests.
    tls: Set,
    /// Ports of others.
    http: Set,
}

#[derive(Clone, Debug)]
enum Names {
    Any,
    In(Vec<Host>),
    NotIn(Vec<Host>),
}

/// Pieces that one line may be cut into by those before it.
const PIECES: usize = 64;
/// Ports that are listed one by one.
const FEW: u128 = 16;

/// A rule to be: where it comes from, and what of it is left.
struct Piece {
    line: usize,
    text: String,
    deny: bool,
    region: Region,
}

pub(super) fn draft(lines: &[Line], file: &str, files: &dyn Files) -> Draft {
    let acls = acl::read_all(lines, files);
    let mut draft = Draft::default();
    draft.top.push(format!("Made by `sekisho import squid {file}`: its http_access lines, in their order."));
    draft.top.push(
        "CONNECT became TLS, other methods plain HTTP. `upstream` is public: add it where addresses are private."
            .to_owned(),
    );
    let mut work = Work { acls, restrictions: Vec::new(), pieces: Vec::new(), lost: Vec::new() };
    let mut last = None;
    for line in lines {
        match line.word() {
            "http_access" => last = work.line(line).or(last),
            "include" => work.lose(line, "is not followed: what it denies is not denied here"),
            _ => {}
        }
    }
    // "If none of the access lines cause a match, the default is the opposite of the last line" (squid.conf.documented).
    if last == Some(true) {
        let text = "the end: what no line matches is allowed, since the last line denies";
        let end = lines.last().map_or(0, |line| line.number);
        if !work.restrictions.iter().any(|deny| matches!(deny.names, Names::Any) && deny.is_all()) {
            work.allow(end, text, Region::all());
        }
    }
    if last.is_none() {
        draft.lose("there is no http_access line, so Squid lets nobody through");
    }
    work.finish(&mut draft);
    draft
}

impl Region {
    fn all() -> Self {
        Self { names: Names::Any, clients: Addresses::all(), tls: Set::all(PORTS), http: Set::all(PORTS) }
    }

    /// Whether it is every request, names aside.
    fn is_all(&self) -> bool {
        self.clients == Addresses::all() && self.tls == Set::all(PORTS) && self.http == Set::all(PORTS)
    }

    fn is_empty(&self) -> bool {
        let nobody = matches!(&self.names, Names::In(hosts) if hosts.is_empty());
        nobody || self.clients.is_empty() || (self.tls.is_empty() && self.http.is_empty())
    }
}

struct Work {
    acls: HashMap<String, Acl>,
    /// Deny lines so far that no rule can say.
    restrictions: Vec<Region>,
    pieces: Vec<Piece>,
    /// What did not carry over, and behind how many pieces it stands.
    lost: Vec<(usize, String)>,
}

impl Work {
    /// Takes one line. Whether it denies; `None` when it is no access line.
    fn line(&mut self, line: &Line) -> Option<bool> {
        let [action, conditions @ ..] = line.rest() else { return None };
        let deny = match action.as_str() {
            "allow" => false,
            "deny" => true,
            _ => {
                self.lose(line, "is neither `allow` nor `deny`");
                return None;
            }
        };
        let mut region = Region::all();
        let mut except = Vec::new();
        let mut unknown = Vec::new();
        for word in conditions {
            let (negated, name) = word.strip_prefix('!').map_or((false, word.as_str()), |name| (true, name));
            match self.acls.get(name) {
                None => unknown.push(format!("there is no acl `{name}`")),
                Some(Acl::Unknown(why)) => unknown.push(format!("{why} (`{name}`)")),
                Some(acl) => narrow(&mut region, &mut except, acl, negated),
            }
        }
        if region.is_empty() {
            return Some(deny);
        }
        if !unknown.is_empty() {
            let unknown = unknown.join("; ");
            if !deny {
                self.lose(line, &format!("is not carried over, as a gate cannot know it: {unknown}"));
                return Some(deny);
            }
            self.lose(line, &format!("is taken to deny without this condition, which shuts more: {unknown}"));
        }
        if deny {
            self.deny(line, region, except);
        } else {
            if !except.is_empty() && matches!(region.names, Names::In(_)) {
                // Shut first what is excepted; this may shut more than Squid for the lines behind.
                let names = Names::In(except);
                let exception = Region { names, ..region.clone() };
                self.push(line.number, line.text(), true, exception);
            } else if !except.is_empty() {
                region.names = Names::NotIn(except);
            }
            self.allow(line.number, &line.text(), region);
        }
        Some(deny)
    }

    fn deny(&mut self, line: &Line, mut region: Region, except: Vec<Host>) {
        match (&region.names, except.is_empty()) {
            (Names::In(_), true) => self.push(line.number, line.text(), true, region),
            (Names::In(_), false) => {
                self.lose(line, "is taken to deny without its exception, which shuts more");
                self.push(line.number, line.text(), true, region);
            }
            (_, true) => self.restrictions.push(region),
            (_, false) => {
                region.names = Names::NotIn(except);
                self.restrictions.push(region);
            }
        }
    }

    fn allow(&mut self, number: usize, text: &str, region: Region) {
        let mut left = vec![region];
        for deny in &self.restrictions {
            left = left.iter().flat_map(|piece| cut(piece, deny)).filter(|piece| !piece.is_empty()).collect();
            if left.len() > PIECES {
                self.lost.push((
                    self.pieces.len(),
                    format!("line {number}: {text}: the lines before it cut it into too many pieces"),
                ));
                return;
            }
        }
        if left.is_empty() {
            self.lost
                .push((self.pieces.len(), format!("line {number}: {text}: the lines before it leave nothing of it")));
        }
        for piece in left {
            if matches!(piece.names, Names::In(_)) {
                self.push(number, text.to_owned(), false, piece);
            } else {
                let why = "it opens hosts without naming them, so it is not carried over";
                self.lost.push((self.pieces.len(), format!("line {number}: {text}: {why}")));
            }
        }
    }

    fn push(&mut self, line: usize, text: String, deny: bool, region: Region) {
        self.pieces.push(Piece { line, text, deny, region });
    }

    fn lose(&mut self, line: &Line, why: &str) {
        self.lost.push((self.pieces.len(), format!("line {}: {}: {why}", line.number, line.text())));
    }

    fn finish(mut self, draft: &mut Draft) {
        let allows = || self.pieces.iter().filter(|piece| !piece.deny);
        let mut used = [Vec::new(), Vec::new()];
        for piece in allows() {
            for (set, (ports, own)) in used.iter_mut().zip([(&piece.region.tls, 443), (&piece.region.http, 80)]) {
                set.extend(listed(ports, own).0);
            }
        }
        let mut lost = std::mem::take(&mut self.lost).into_iter().peekable();
        for (at, piece) in self.pieces.iter().enumerate() {
            while let Some((_, what)) = lost.next_if(|(before, _)| *before <= at) {
                draft.lose(what);
            }
            for rule in piece.rules(&used) {
                draft.parts.push(Part::Rule(rule));
            }
        }
        for (_, what) in lost {
            draft.lose(what);
        }
    }
}

/// Narrows a region by one acl of a line.
fn narrow(region: &mut Region, except: &mut Vec<Host>, acl: &Acl, negated: bool) {
    match (acl, negated) {
        (Acl::Names(hosts), false) => {
            region.names = match &region.names {
                Names::In(others) => Names::In(names::both(others, hosts)),
                Names::Any | Names::NotIn(_) => Names::In(hosts.clone()),
            };
        }
        (Acl::Names(hosts), true) => except.extend(hosts.iter().cloned()),
        (Acl::Clients(clients), false) => region.clients = region.clients.and(clients),
        (Acl::Clients(clients), true) => region.clients = region.clients.and(&clients.not()),
        (Acl::Ports(ports), _) => {
            let ports = if negated { ports.not() } else { ports.clone() };
            region.tls = region.tls.and(&ports);
            region.http = region.http.and(&ports);
        }
        (Acl::Connect, false) => region.http = Set::none(PORTS),
        (Acl::Connect, true) => region.tls = Set::none(PORTS),
        (Acl::All, false) | (Acl::Never, true) | (Acl::Unknown(_), _) => {}
        (Acl::All, true) | (Acl::Never, false) => region.clients = Addresses::none(),
    }
}

/// A piece without what a deny line shuts.
fn cut(piece: &Region, deny: &Region) -> Vec<Region> {
    let clients = piece.clients.and(&deny.clients);
    if clients.is_empty() {
        return vec![piece.clone()];
    }
    let mut pieces = vec![
        Region { clients: piece.clients.and(&deny.clients.not()), ..piece.clone() },
        Region {
            clients: clients.clone(),
            tls: piece.tls.minus(&deny.tls),
            http: piece.http.minus(&deny.http),
            names: piece.names.clone(),
        },
    ];
    if let Names::NotIn(excepted) = &deny.names {
        let names = match &piece.names {
            Names::In(hosts) => Names::In(names::both(hosts, excepted)),
            Names::Any => Names::In(excepted.clone()),
            // What neither list has: nothing that a rule could name.
            Names::NotIn(_) => Names::In(Vec::new()),
        };
        pieces.push(Region { names, clients, tls: piece.tls.and(&deny.tls), http: piece.http.and(&deny.http) });
    }
    pieces
}

/// The ports to list, and whether they are all: few are listed, of many only the protocol's own.
fn listed(ports: &Set, own: u16) -> (Vec<u16>, bool) {
    match ports.few(FEW) {
        Some(few) => {
            (few.into_iter().filter_map(|port| u16::try_from(port).ok()).filter(|port| *port > 0).collect(), true)
        }
        None => (if ports.has(own.into()) { vec![own] } else { Vec::new() }, false),
    }
}

impl Piece {
    /// The rules that say it: one, or one for each protocol.
    fn rules(&self, used: &[Vec<u16>; 2]) -> Vec<Rule> {
        let Names::In(hosts) = &self.region.names else { return Vec::new() };
        let ports = |set: &Set, own, used: &[u16]| {
            if self.deny {
                let mut ports: Vec<_> = used.iter().copied().filter(|port| set.has((*port).into())).collect();
                ports.sort_unstable();
                ports.dedup();
                (ports, true)
            } else {
                listed(set, own)
            }
        };
        let [used_tls, used_http] = used;
        let (tls, tls_whole) = ports(&self.region.tls, 443, used_tls);
        let (http, http_whole) = ports(&self.region.http, 80, used_http);
        let mut rule = Rule {
            name: format!("line {}", self.line),
            remarks: vec![format!("line {}: {}", self.line, self.text)],
            deny: self.deny,
            clients: self.region.clients.networks(),
            hosts: hosts.clone(),
            ..Rule::default()
        };
        if !(tls_whole && http_whole) {
            rule.remarks.push("Squid lets it through on more ports; here TLS is on 443 and HTTP on 80.".to_owned());
        }
        let mut rules = Vec::new();
        match (tls.as_slice(), http.as_slice()) {
            ([], []) => {}
            ([443], [80]) => {
                rule.protocols = vec!["tls", "http"];
                rules.push(rule);
            }
            _ => {
                for (word, ports, own) in [("tls", tls, 443), ("http", http, 80)] {
                    if ports.is_empty() {
                        continue;
                    }
                    let mut rule = Rule { protocols: vec![word], ..rule.copy() };
                    if word == "http" {
                        rule.name.push_str(" (http)");
                    }
                    if ports != [own] {
                        rule.ports = ports;
                    }
                    rules.push(rule);
                }
            }
        }
        rules
    }
}

impl Rule {
    fn copy(&self) -> Self {
        Self {
            name: self.name.clone(),
            remarks: self.remarks.clone(),
            deny: self.deny,
            clients: self.clients.clone(),
            hosts: self.hosts.clone(),
            ..Self::default()
        }
    }
}
