//! The ways in.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use sekisho_peek::http::MAX_METHOD;
use sekisho_policy::Diagnostic;
use sekisho_policy::diagnostic::is_hidden;
use sekisho_policy::document::{Fields, Node};

use super::{Builder, sections};
use crate::settings::{Destination, Listener, Methods, Protocol, Settings};

pub(super) const KEYS: &[&str] = &[
    "name",
    "bind",
    "ipv6_only",
    "socket",
    "protocol",
    "destination",
    "port",
    "proxy_protocol",
    "send_proxy_protocol",
    "health_checks",
    "methods",
    "connect_ports",
];
pub(super) const PROXY_PROTOCOL: &[&str] = &["from"];
pub(super) const HEALTH_CHECKS: &[&str] = &["from"];

/// What a request may do unless the listener says otherwise.
const METHODS: [&str; 2] = ["GET", "HEAD"];
/// Where a CONNECT may go unless the listener says otherwise.
const CONNECT_PORTS: [u16; 1] = [443];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Redirect,
    Tproxy,
    None,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Speech {
    Tls,
    Http,
    Connect,
}

impl Speech {
    const ALL: [(&'static str, Self); 3] = [("tls", Self::Tls), ("http", Self::Http), ("connect", Self::Connect)];

    const fn word(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Connect => "connect",
        }
    }
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
        let speech = fields.get("protocol").and_then(|node| self.reader.one_of(node, "a protocol", &Speech::ALL));
        let speech = speech.unwrap_or(Speech::Tls);
        let destination = self.destination(&fields, speech);
        let proxy_protocol = self.networks_from(&fields, "proxy_protocol", PROXY_PROTOCOL);
        let health_checks = self.networks_from(&fields, "health_checks", HEALTH_CHECKS).unwrap_or_default();
        let send_proxy_protocol = self.sends_proxy_protocol(&fields);
        let protocol = self.protocol(&fields, speech);
        self.refuse_nonsense(&fields, speech, destination);
        self.refuse_checks_among_clients(&fields, proxy_protocol.as_deref(), &health_checks);
        let bind = bind?;
        let name: Arc<str> = match fields.get("name") {
            Some(node) => self.name(node)?.into(),
            None => bind.to_string().into(),
        };
        let handed_over = self.handed_over(&fields, &name);
        if let Some(first) = names.insert(Arc::clone(&name), node.span.line) {
            let fault = Diagnostic::error("duplicate-listener", format!("two listeners are called `{name}`"));
            let fault = fault.help("give each a `bind` and a `name` of its own");
            self.reader.push(fault.note(format!("the first is on line {first}")), node.span);
        }
        self.binds.insert(Arc::clone(&name), bind_node.map_or(node.span, |node| node.span));
        let dual_stack = self.dual_stack(&fields, bind);
        Some(Listener {
            name,
            bind,
            dual_stack,
            protocol,
            destination: destination?,
            proxy_protocol,
            send_proxy_protocol,
            health_checks,
            handed_over,
        })
    }

    /// Only the wildcard of IPv6 stands for addresses of both families.
    fn dual_stack(&mut self, fields: &Fields<'_>, bind: SocketAddr) -> bool {
        let Some(entry) = fields.entry("ipv6_only") else { return false };
        let dual = self.reader.boolean(&entry.value, "whether IPv4 is left out") == Some(false);
        if dual && bind.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
            let message = format!("{bind} is no address that could take IPv4 and IPv6");
            let help = format!("write `bind: \"[::]:{}\"`, or remove `ipv6_only`", bind.port());
            self.reader.push(Diagnostic::error("bad-combination", message).help(help), entry.key_span);
        }
        dual
    }

    /// A socket that is handed over is known by its name, of which systemd's `FileDescriptorName=` takes the printable
    /// ASCII characters but for the colon.
    fn handed_over(&mut self, fields: &Fields<'_>, name: &str) -> bool {
        let Some(node) = fields.get("socket") else { return false };
        let words = [("bind", false), ("handed_over", true)];
        let handed_over = self.reader.one_of(node, "where a socket comes from", &words).unwrap_or_default();
        if handed_over && !name.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b':') {
            let message = format!("no socket can be handed over by the name `{name}`");
            let help = "give the listener a `name` of ASCII characters without a colon, the FileDescriptorName= of its socket unit";
            self.reader.push(Diagnostic::error("bad-socket-name", message).help(help), node.span);
        }
        handed_over
    }

    fn protocol(&mut self, fields: &Fields<'_>, speech: Speech) -> Protocol {
        let methods = fields.get("methods").and_then(|node| self.methods(node));
        let methods = methods.unwrap_or_else(|| METHODS.map(Box::from).into());
        let ports = fields.get("connect_ports").and_then(|node| self.reader.ports(node));
        let ports = ports.map_or_else(|| CONNECT_PORTS.into(), Arc::from);
        match speech {
            Speech::Tls => Protocol::Tls,
            Speech::Http => Protocol::Http(methods),
            Speech::Connect => Protocol::Connect { ports, methods },
        }
    }

    fn methods(&mut self, node: &Node) -> Option<Methods> {
        let items = self.reader.list(node, "a list of HTTP methods")?;
        let mut methods: Vec<Box<str>> = Vec::new();
        for item in items {
            let Some(method) = self.reader.text(item, "an HTTP method") else { continue };
            // CONNECT has a listener of its own, and TRACE would show a client what is added on the way.
            let plain =
                !method.is_empty() && method.len() <= MAX_METHOD && method.bytes().all(|b| b.is_ascii_uppercase());
            if !plain || matches!(method, "CONNECT" | "TRACE") {
                let fault = Diagnostic::error("bad-method", format!("`{method}` is no method that is served here"));
                self.reader.push(fault.help("write it as it is sent: GET, HEAD, PUT"), item.span);
            } else if !methods.iter().any(|known| **known == *method) {
                methods.push(method.into());
            }
        }
        if items.is_empty() {
            let fault = Diagnostic::error("empty-list", "`methods` lists nothing, so no request would be served");
            self.reader.push(fault.help("list methods, or remove `methods` for GET and HEAD"), node.span);
        }
        Some(methods.into())
    }

    /// The `from` of the mapping at `key`.
    fn networks_from(&mut self, fields: &Fields<'_>, key: &str, known: &[&str]) -> Option<Arc<[IpNet]>> {
        let section = self.section(fields, key, known)?;
        let node = self.reader.required(&section, "from", &format!("`{key}`"))?;
        self.reader.networks(node, "from").map(Arc::from)
    }

    fn sends_proxy_protocol(&mut self, fields: &Fields<'_>) -> bool {
        let versions = [("off", false), ("v2", true)];
        let node = fields.get("send_proxy_protocol");
        node.and_then(|node| self.reader.one_of(node, "a version to send", &versions)).unwrap_or_default()
    }

    /// A balancer without its header is a fault that must be heard of, and would pass for a health check.
    fn refuse_checks_among_clients(&mut self, fields: &Fields<'_>, balancers: Option<&[IpNet]>, checks: &[IpNet]) {
        let both =
            |check: &IpNet| balancers.into_iter().flatten().any(|net| net.contains(check) || check.contains(net));
        let Some(entry) = fields.entry("health_checks").filter(|_| checks.iter().any(both)) else { return };
        let message = "connections from `proxy_protocol.from` carry clients, so not all of them are health checks";
        let fault = Diagnostic::error("bad-combination", message);
        let help =
            "remove these from `health_checks`: what a balancer's header says is its own is known as a check anyway";
        self.reader.push(fault.help(help), entry.key_span);
    }

    /// Combinations that would do something else than their words say.
    fn refuse_nonsense(&mut self, fields: &Fields<'_>, speech: Speech, destination: Option<Destination>) {
        let intercepts = destination.is_some_and(|destination| !matches!(destination, Destination::None { .. }));
        let word = speech.word();
        let mut refuse = |key: &str, message: String, help: &str| {
            if let Some(entry) = fields.entry(key) {
                self.reader.push(Diagnostic::error("bad-combination", message).help(help), entry.key_span);
            }
        };
        if intercepts && speech == Speech::Connect {
            let message = "a `connect` listener is dialled itself, so nothing redirects to it".to_owned();
            refuse("destination", message, "write `destination: none`");
        }
        if intercepts {
            let message = "a PROXY header says what the client dialled, and so does the kernel here".to_owned();
            refuse("proxy_protocol", message, "write `destination: none` for a listener behind a balancer");
        }
        if speech == Speech::Connect {
            let message = "a `connect` listener dials the port that its client names".to_owned();
            refuse("port", message, "remove `port`; `connect_ports` says which ports may be named");
        } else {
            let message = format!("`connect_ports` means nothing to a `{word}` listener");
            refuse("connect_ports", message, "remove it, or write `protocol: connect`");
        }
        if speech == Speech::Tls {
            let message = "`methods` means nothing to a `tls` listener, which sees no request".to_owned();
            refuse("methods", message, "remove it, or write `protocol: http`");
        }
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

    fn destination(&mut self, fields: &Fields<'_>, speech: Speech) -> Option<Destination> {
        let kinds = [("redirect", Kind::Redirect), ("tproxy", Kind::Tproxy), ("none", Kind::None)];
        let node = self.reader.required(fields, "destination", "a listener")?;
        let kind = self.reader.one_of(node, "a destination", &kinds)?;
        let port = match fields.get("port") {
            Some(node) => self.count(node, "a port", 1..=65_535).and_then(|port| u16::try_from(port).ok()),
            None => Some(if speech == Speech::Http { 80 } else { 443 }),
        };
        let (word, destination) = match kind {
            Kind::None => return port.map(|port| Destination::None { port }),
            Kind::Redirect => ("redirect", Destination::Redirect),
            Kind::Tproxy => ("tproxy", Destination::Tproxy),
        };
        if let Some(entry) = fields.entry("port") {
            let message = format!("a `{word}` listener dials the port that its client did");
            let fault = Diagnostic::error("port-of-redirect", message);
            self.reader.push(fault.help("remove `port`; `bind` says where it listens"), entry.key_span);
        }
        Some(destination)
    }

    /// No two sockets of one process can have one address.
    pub(super) fn refuse_shared_addresses(&mut self, fields: &Fields<'_>, settings: &Settings) {
        let section = |key: &str| fields.get(key).map_or(fields.span, |node| node.span);
        let mut taken: Vec<(SocketAddr, bool, String)> = Vec::new();
        let listeners = settings.listeners.iter().map(|listener| {
            let span = self.binds.get(&listener.name).copied();
            (
                format!("listener `{}`", listener.name),
                span.unwrap_or(fields.span),
                Some(listener.bind),
                listener.dual_stack,
            )
        });
        let endpoints =
            [("admin", &settings.admin), (sections::HEALTH_KEY, &settings.health)].map(|(key, endpoint)| {
                (format!("`{key}`"), section(key), endpoint.as_ref().map(|endpoint| endpoint.bind), false)
            });
        for (who, span, address, dual) in listeners.chain(endpoints).collect::<Vec<_>>() {
            let Some(address) = address.filter(|address| address.port() != 0) else { continue };
            let shares =
                |(other, other_dual, _): &&(SocketAddr, bool, String)| overlap((*other, *other_dual), (address, dual));
            if let Some((.., by)) = taken.iter().find(shares) {
                let fault = Diagnostic::error("shared-address", format!("{who} and {by} both want {address}"));
                self.reader.push(fault.help("give each an address and port of its own"), span);
            }
            taken.push((address, dual, who));
        }
    }
}

/// Whether two sockets, each of which takes both families or its own alone, would take the same connections.
fn overlap((one, one_dual): (SocketAddr, bool), (other, other_dual): (SocketAddr, bool)) -> bool {
    one.port() == other.port()
        && (one.is_ipv4() == other.is_ipv4() || one_dual || other_dual)
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}
