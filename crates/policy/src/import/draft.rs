//! A policy that is being made: rules with remarks, rendered, checked, and what `check` refuses turned into comments.

use std::collections::HashMap;
use std::fmt::Write as _;

use ipnet::IpNet;

use super::{Import, ImportError};
use crate::diagnostic::{Severity, visible};
use crate::policy::Policy;

/// Names that may stand in line. Beyond it a list belongs in a file of its own.
const MOST: usize = 50_000;
/// How often the result is checked again after something was taken out of it: a check names 500 faults, and as many names
/// as there may be can be faulty.
const ROUNDS: usize = 120;

/// A policy to be.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Remarks at the top.
    pub(super) top: Vec<String>,
    /// Rules and remarks between them, in order.
    pub(super) parts: Vec<Part>,
}

#[derive(Debug)]
pub(super) enum Part {
    /// What did not carry over.
    Lost(String),
    /// A rule.
    Rule(Rule),
}

/// A rule to be.
#[derive(Debug, Default)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) remarks: Vec<String>,
    pub(super) deny: bool,
    pub(super) clients: Option<Vec<IpNet>>,
    pub(super) hosts: Vec<Host>,
    /// Words of `protocols:`; empty leaves it out.
    pub(super) protocols: Vec<&'static str>,
    /// Empty leaves it out.
    pub(super) ports: Vec<u16>,
    /// Why the whole rule is a comment.
    pub(super) fault: Option<String>,
}

/// A name that a rule lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) text: String,
    /// Why it is a comment.
    pub(super) fault: Option<String>,
}

impl Host {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), fault: None }
    }
}

/// What stands on a line of the result.
#[derive(Clone, Copy)]
enum Line {
    Rule(usize),
    Host(usize, usize),
}

impl Draft {
    /// A remark between rules.
    pub(super) fn lose(&mut self, what: impl Into<String>) {
        self.parts.push(Part::Lost(what.into()));
    }

    /// Renders, checks, and takes out what is refused, until nothing is.
    pub(super) fn finish(mut self, now: i64) -> Result<Import, ImportError> {
        let count = self.rules().map(|(_, rule)| rule.hosts.len()).sum();
        if count > MOST {
            return Err(ImportError::TooManyNames(count));
        }
        self.name_apart();
        let mut last = String::new();
        for _ in 0..ROUNDS {
            let (text, lines) = self.render();
            let Err(faults) = Policy::parse("policy.yaml", &text, now) else {
                return Ok(Import { notes: self.notes(), text });
            };
            let mut progress = false;
            for fault in faults.iter().filter(|fault| fault.severity == Severity::Error) {
                let line = fault.location.as_ref().and_then(|location| lines.get(&location.line));
                let why = format!("[{}] {}", fault.code, fault.message);
                progress |= line.is_some_and(|line| self.take_out(*line, &why));
                last = why;
            }
            if !progress {
                break;
            }
        }
        Err(ImportError::Unproven(last))
    }

    /// Makes a comment of a line's rule or name. `false` when it is one.
    fn take_out(&mut self, line: Line, why: &str) -> bool {
        let (Line::Rule(at) | Line::Host(at, _)) = line;
        let Some(Part::Rule(rule)) = self.parts.get_mut(at) else { return false };
        let place = match line {
            Line::Host(_, host) => rule.hosts.get_mut(host).map(|host| &mut host.fault),
            Line::Rule(_) => Some(&mut rule.fault),
        };
        match place {
            Some(fault) if fault.is_none() => *fault = Some(why.to_owned()),
            _ => return false,
        }
        true
    }

    fn rules(&self) -> impl Iterator<Item = (usize, &Rule)> {
        self.parts.iter().enumerate().filter_map(|(at, part)| match part {
            Part::Rule(rule) => Some((at, rule)),
            Part::Lost(_) => None,
        })
    }

    /// Two rules never have one name.
    fn name_apart(&mut self) {
        let mut seen = HashMap::new();
        for part in &mut self.parts {
            let Part::Rule(rule) = part else { continue };
            let name: String = remark(&rule.name).chars().take(150).collect();
            name.trim().clone_into(&mut rule.name);
            let count = seen.entry(rule.name.clone()).or_insert(0);
            *count += 1;
            if *count > 1 {
                let _ = write!(rule.name, " ({count})");
            }
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for part in &self.parts {
            match part {
                Part::Lost(what) => notes.push(remark(what)),
                Part::Rule(Rule { fault: Some(why), name, .. }) => notes.push(format!("{name}: {}", remark(why))),
                Part::Rule(rule) => {
                    let faulty = rule.hosts.iter().filter_map(|host| Some((host, host.fault.as_ref()?)));
                    notes.extend(faulty.map(|(host, why)| format!("{}: {}", remark(&host.text), remark(why))));
                }
            }
        }
        notes
    }

    fn render(&self) -> (String, HashMap<u32, Line>) {
        let mut out = Out { text: String::new(), line: 1, lines: HashMap::new() };
        for line in &self.top {
            out.put("", &format!("# {}", remark(line)), None);
        }
        out.put("", "version: 1", None);
        let empty = self.rules().all(|(_, rule)| rule.out());
        out.put("", if empty { "rules: []" } else { "rules:" }, None);
        for (at, part) in self.parts.iter().enumerate() {
            match part {
                Part::Lost(what) => out.put("  ", &format!("# {}", remark(what)), None),
                Part::Rule(rule) => rule.render(at, &mut out),
            }
        }
        (out.text, out.lines)
    }
}

struct Out {
    text: String,
    line: u32,
    lines: HashMap<u32, Line>,
}

impl Out {
    fn put(&mut self, indent: &str, text: &str, what: Option<Line>) {
        self.text.extend([indent, text, "\n"]);
        if let Some(what) = what {
            self.lines.insert(self.line, what);
        }
        self.line += 1;
    }
}

impl Rule {
    /// Whether nothing of it is left.
    fn out(&self) -> bool {
        self.fault.is_some() || self.hosts.iter().all(|host| host.fault.is_some())
    }

    fn render(&self, at: usize, out: &mut Out) {
        let hidden = self.out();
        let dash = if hidden { "  # " } else { "  " };
        for line in &self.remarks {
            out.put("  ", &format!("# {}", remark(line)), None);
        }
        match &self.fault {
            Some(why) => out.put("  ", &format!("# Left out: {}", remark(why)), None),
            None if hidden => out.put("  ", "# Left out: nothing in it can be listed.", None),
            None => {}
        }
        let here = Some(Line::Rule(at));
        out.put(dash, &format!("- name: {}", quoted(&self.name)), here);
        if self.deny {
            out.put(dash, "  action: deny", here);
        }
        if let Some(nets) = &self.clients {
            let nets: Vec<_> = nets.iter().map(|net| format!("\"{net}\"")).collect();
            out.put(dash, &format!("  clients: [{}]", nets.join(", ")), here);
        }
        if !self.protocols.is_empty() {
            out.put(dash, &format!("  protocols: [{}]", self.protocols.join(", ")), here);
        }
        if !self.ports.is_empty() {
            let ports: Vec<_> = self.ports.iter().map(u16::to_string).collect();
            out.put(dash, &format!("  ports: [{}]", ports.join(", ")), here);
        }
        out.put(dash, "  hosts:", here);
        for (number, host) in self.hosts.iter().enumerate() {
            match &host.fault {
                Some(why) => out.put(dash, &format!("    # - {}   {}", remark(&host.text), remark(why)), None),
                None => out.put(dash, &format!("    - {}", name(&host.text)), Some(Line::Host(at, number))),
            }
        }
    }
}

/// One line of a comment: nothing invisible, and not longer than somebody reads.
pub(super) fn remark(text: &str) -> String {
    let one: String = visible(text).replace('\n', " ");
    match one.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", one.get(..end).unwrap_or_default()),
        None => one,
    }
}

/// A host as a YAML scalar; whatever YAML could take for something else than text is quoted.
fn name(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let safe = text.contains('.')
        && text.chars().all(plain)
        && text.trim_start_matches('.').starts_with(|c: char| c.is_ascii_alphabetic());
    if safe { text.to_owned() } else { quoted(text) }
}

/// A double-quoted YAML scalar.
fn quoted(text: &str) -> String {
    format!("\"{}\"", visible(text).replace('\\', "\\\\").replace('"', "\\\""))
}
