//! The ways in.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use sekisho_policy::Diagnostic;
use sekisho_policy::diagnostic::is_hidden;
use sekisho_policy::document::{Fields, Node, Span};

use super::{Builder, sections};
use crate::settings::{Destination, Listener, Settings};

pub(super) const KEYS: &[&str] = &["name", "bind", "protocol", "destination", "port", "proxy_protocol"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Redirect,
    None,
    Later(&'static str),
}

impl Builder<'_, '_> {
    pub(super) fn listeners(&mut self, fields: &Fields<'_>) -> Vec<Listener> {
        let Some(node) = self.reader.required(fields, "listeners", "the configuration") else { return Vec::new() };
        let Some(items) = self.reader.list(node, "a list of listeners") else { return Vec::new() };
        if items.is_empty() || items.len() > 64 {
            let message = if items.is_empty() { "there is no listener" } else { "there are more than 64 listeners" };
            let fault = Diagnostic::error("listener-count", message);
            self.reader.push(fault.help("list 1 to 64 listeners, each with its `bind`"), node.span);
        }
        let mut names = HashMap::new();
        items.iter().filter_map(|item| self.listener(item, &mut names)).collect()
    }

    fn listener(&mut self, node: &Node, names: &mut HashMap<Arc<str>, u32>) -> Option<Listener> {
        let fields = self.reader.fields(node, "a listener", KEYS)?;
        let bind_node = self.reader.required(&fields, "bind", "a listener");
        let bind = bind_node.and_then(|node| self.address(node));
        if let Some(node) = fields.get("protocol") {
            let protocols = [("tls", None), ("http", Some("http")), ("connect", Some("connect"))];
            if let Some(later) = self.reader.one_of(node, "a protocol", &protocols).flatten() {
                self.later(node.span, &format!("`protocol: {later}`"), "use `tls`");
            }
        }
        if let Some(entry) = fields.entry("proxy_protocol") {
            self.later(
                entry.key_span,
                "`proxy_protocol`",
                "remove it; the balancer then is the listener's only client",
            );
        }
        let destination = self.destination(&fields);
        let bind = bind?;
        let name: Arc<str> = match fields.get("name") {
            Some(node) => self.name(node)?.into(),
            None => bind.to_string().into(),
        };
        if let Some(first) = names.insert(Arc::clone(&name), node.span.line) {
            let fault = Diagnostic::error("duplicate-listener", format!("two listeners are called `{name}`"));
            let fault = fault.help("give each a `bind` and a `name` of its own");
            self.reader.push(fault.note(format!("the first is on line {first}")), node.span);
        }
        self.binds.insert(Arc::clone(&name), bind_node.map_or(node.span, |node| node.span));
        Some(Listener { name, bind, destination: destination? })
    }

    fn name<'n>(&mut self, node: &'n Node) -> Option<&'n str> {
        let name = self.reader.text(node, "a listener's name")?;
        if name.chars().any(is_hidden) || name.chars().count() > 100 {
            let fault = Diagnostic::error("bad-text", "the name is longer than 100 characters or has an invisible one");
            self.reader.push(fault.help("keep it to a few plain words: it is a label in log and metrics"), node.span);
            return None;
        }
        Some(name)
    }

    fn destination(&mut self, fields: &Fields<'_>) -> Option<Destination> {
        let kinds = [("redirect", Kind::Redirect), ("none", Kind::None), ("tproxy", Kind::Later("tproxy"))];
        let node = self.reader.required(fields, "destination", "a listener")?;
        let kind = self.reader.one_of(node, "a destination", &kinds)?;
        let port = match fields.get("port") {
            Some(node) => self.count(node, "a port", 1..=65_535).and_then(|port| u16::try_from(port).ok()),
            None => Some(443),
        };
        match kind {
            Kind::None => port.map(|port| Destination::None { port }),
            Kind::Redirect => {
                if let Some(entry) = fields.entry("port") {
                    let fault = Diagnostic::error(
                        "port-of-redirect",
                        "a `redirect` listener dials the port that its client did",
                    );
                    self.reader.push(fault.help("remove `port`; `bind` says where it listens"), entry.key_span);
                }
                Some(Destination::Redirect)
            }
            Kind::Later(word) => {
                self.later(node.span, &format!("`destination: {word}`"), "use `redirect`");
                None
            }
        }
    }

    /// A part of the contract that this version does not serve: never accepted and then not done.
    fn later(&mut self, span: Span, what: &str, help: &str) {
        let fault = Diagnostic::error("not-in-this-version", format!("{what} is not in this version"));
        self.reader.push(fault.help(help), span);
    }

    /// No two sockets of one process can have one address.
    pub(super) fn refuse_shared_addresses(&mut self, fields: &Fields<'_>, settings: &Settings) {
        let section = |key: &str| fields.get(key).map_or(fields.span, |node| node.span);
        let mut taken: Vec<(SocketAddr, String)> = Vec::new();
        let listeners = settings.listeners.iter().map(|listener| {
            let span = self.binds.get(&listener.name).copied();
            (format!("listener `{}`", listener.name), span.unwrap_or(fields.span), Some(listener.bind))
        });
        let endpoints = [("admin", &settings.admin), (sections::HEALTH_KEY, &settings.health)]
            .map(|(key, endpoint)| (format!("`{key}`"), section(key), endpoint.as_ref().map(|endpoint| endpoint.bind)));
        for (who, span, address) in listeners.chain(endpoints).collect::<Vec<_>>() {
            let Some(address) = address.filter(|address| address.port() != 0) else { continue };
            if let Some((_, by)) = taken.iter().find(|(other, _)| overlap(*other, address)) {
                let fault = Diagnostic::error("shared-address", format!("{who} and {by} both want {address}"));
                self.reader.push(fault.help("give each an address and port of its own"), span);
            }
            taken.push((address, who));
        }
    }
}

/// Whether two sockets would take the same connections. IPv6 ones are IPv6 only.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port()
        && one.is_ipv4() == other.is_ipv4()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}
