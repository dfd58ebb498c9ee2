//! Everything but the listeners: each section has its keys, its bounds and its defaults in one place.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::{IpNet, Ipv6Net};
use sekisho_policy::Diagnostic;
use sekisho_policy::document::Fields;

use super::Builder;
use super::values::is_word;
use crate::nat64::{self, Nat64};
use crate::settings::{AccessFormat, AccessLog, Dns, Endpoint, Limits, Log, Shutdown, Timeouts, Upstream};

pub(super) const DNS: &[&str] = &["servers", "ttl", "serve_stale"];
pub(super) const TTL: &[&str] = &["min", "max"];
pub(super) const UPSTREAM: &[&str] = &["source_addresses", "nat64"];
pub(super) const LIMITS: &[&str] =
    &["connections", "connections_per_client", "undecided", "hello_handshake", "hello_raw"];
pub(super) const TIMEOUTS: &[&str] = &["hello", "connect", "idle", "half_closed"];
pub(super) const ACCESS_LOG: &[&str] = &["path", "format", "queue", "ja4"];
pub(super) const ADMIN: &[&str] = &["bind", "allow"];
pub(super) const HEALTH: &[&str] = &["bind", "allow"];
pub(super) const HEALTH_KEY: &str = "health";
pub(super) const LOG: &[&str] = &["level", "format"];
pub(super) const SHUTDOWN: &[&str] = &["lame_duck", "drain"];

const ADMIN_BIND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9180);

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
const WEEK: u64 = 7 * 24 * HOUR;
/// A deadline shorter than this refuses honest peers on a busy network.
const SHORTEST: Duration = Duration::from_millis(100);

impl Builder<'_, '_> {
    pub(super) fn dns(&mut self, fields: &Fields<'_>) -> Dns {
        let section = self.section(fields, "dns", DNS);
        let mut servers = Vec::new();
        if let Some(node) = section.and_then(|section| section.get("servers"))
            && let Some(items) = self.reader.list(node, "a list of DNS servers")
        {
            for item in items {
                servers.extend(self.reader.parsed::<Server>(item, "bad-address", "a DNS server", "10.0.0.2:53"));
            }
            if items.is_empty() || items.len() > 8 {
                let fault = Diagnostic::error("dns-server-count", format!("`servers` lists {}", items.len()));
                self.reader.push(fault.help("list 1 to 8, or remove `servers` to use the system's"), node.span);
            }
        }
        let ttl = section.and_then(|section| self.section(&section, "ttl", TTL));
        let ttl_min = self.duration_at(ttl.as_ref(), "min", s(0)..=s(HOUR), s(5));
        let ttl_max = self.duration_at(ttl.as_ref(), "max", s(1)..=s(24 * HOUR), s(5 * MINUTE));
        if ttl_min > ttl_max
            && let Some(ttl) = &ttl
        {
            let fault = Diagnostic::error("out-of-range", "`ttl.min` is longer than `ttl.max`");
            self.reader.push(fault.help("the defaults are 5s and 5m"), ttl.span);
        }
        let serve_stale = self.duration_at(section.as_ref(), "serve_stale", s(0)..=s(WEEK), s(HOUR));
        Dns { servers: servers.into_iter().map(|Server(address)| address).collect(), ttl_min, ttl_max, serve_stale }
    }

    pub(super) fn upstream(&mut self, fields: &Fields<'_>) -> Upstream {
        let Some(section) = self.section(fields, "upstream", UPSTREAM) else { return Upstream::default() };
        let mut source_addresses = Vec::new();
        if let Some(node) = section.get("source_addresses")
            && let Some(items) = self.reader.list(node, "a list of this host's addresses")
        {
            for item in items {
                let Some(address) = self.reader.parsed::<IpAddr>(item, "bad-address", "an address", "10.0.0.5") else {
                    continue;
                };
                if let Some(why) = no_source(address) {
                    let fault = Diagnostic::error("bad-source-address", format!("{address} is {why}"));
                    self.reader.push(fault.help("list addresses of this host's interfaces"), item.span);
                } else if source_addresses.contains(&address) {
                    let fault = Diagnostic::error("bad-source-address", format!("{address} is listed twice"));
                    self.reader.push(fault.help("list each address once: they are used in turn"), item.span);
                } else {
                    source_addresses.push(address);
                }
            }
            if items.is_empty() || items.len() > 64 {
                let message = format!("`source_addresses` lists {}", items.len());
                let fault = Diagnostic::error("source-address-count", message);
                self.reader.push(fault.help("list 1 to 64, or remove it to let the kernel choose"), node.span);
            }
        }
        Upstream { source_addresses, nat64: self.nat64(&section) }
    }

    fn nat64(&mut self, section: &Fields<'_>) -> Nat64 {
        let Some(node) = section.get("nat64") else { return Nat64::default() };
        let Some(items) = self.reader.list(node, "a list of a translator's prefixes") else { return Nat64::default() };
        let mut prefixes = Vec::new();
        for item in items {
            let Some(prefix) = self.reader.parsed::<Ipv6Net>(item, "bad-prefix", "a prefix", "64:ff9b::/96") else {
                continue;
            };
            if nat64::is_prefix(prefix) {
                prefixes.push(prefix);
            } else {
                let fault = Diagnostic::error("bad-prefix", format!("{prefix} is no translator's prefix (RFC 6052)"));
                let help = "write a network of 32, 40, 48, 56, 64 or 96 bits whose bits 64 to 71 are zero";
                self.reader.push(fault.help(help), item.span);
            }
        }
        if items.is_empty() || items.len() > 8 {
            let fault = Diagnostic::error("prefix-count", format!("`nat64` lists {}", items.len()));
            self.reader.push(fault.help("list 1 to 8, or remove it where IPv4 is reached as IPv4"), node.span);
        }
        Nat64::new(prefixes)
    }

    pub(super) fn limits(&mut self, fields: &Fields<'_>) -> Limits {
        let section = self.section(fields, "limits", LIMITS);
        let section = section.as_ref();
        Limits {
            connections: self.count_at(section, "connections", 1..=10_000_000, 50_000),
            connections_per_client: self.count_at(section, "connections_per_client", 1..=10_000_000, 1_000),
            undecided: self.count_at(section, "undecided", 1..=10_000_000, 10_000),
            hello_handshake: self.count_at(section, "hello_handshake", 512..=65_536, 16_384),
            hello_raw: self.count_at(section, "hello_raw", 512..=262_144, 32_768),
        }
    }

    pub(super) fn timeouts(&mut self, fields: &Fields<'_>) -> Timeouts {
        let section = self.section(fields, "timeouts", TIMEOUTS);
        let section = section.as_ref();
        Timeouts {
            hello: self.duration_at(section, "hello", SHORTEST..=s(5 * MINUTE), s(10)),
            connect: self.duration_at(section, "connect", SHORTEST..=s(5 * MINUTE), s(10)),
            idle: self.duration_at(section, "idle", s(1)..=s(WEEK), s(HOUR)),
            half_closed: self.duration_at(section, "half_closed", s(1)..=s(WEEK), s(5 * MINUTE)),
        }
    }

    /// Decisions are always recorded: without a word in the file, on stdout.
    pub(super) fn access_log(&mut self, fields: &Fields<'_>) -> Option<AccessLog> {
        if fields.get("access_log").is_some_and(|node| is_word(node, "off")) {
            return None;
        }
        let section = self.section(fields, "access_log", ACCESS_LOG);
        let section = section.as_ref();
        let path = section.and_then(|section| section.get("path"));
        let path = path.and_then(|node| self.reader.text(node, "the access log's path, or `-` for stdout"));
        let formats = [("json", AccessFormat::Json), ("squid", AccessFormat::Squid)];
        let format = section.and_then(|section| section.get("format"));
        let format = format.and_then(|node| self.reader.one_of(node, "a format", &formats)).unwrap_or_default();
        let ja4 = section.and_then(|section| section.entry("ja4"));
        let wanted = ja4.and_then(|entry| self.reader.boolean(&entry.value, "`true` or `false`")).unwrap_or_default();
        if let Some(entry) = ja4.filter(|_| wanted && format == AccessFormat::Squid) {
            let fault = Diagnostic::error("bad-combination", "Squid's form has no place for `ja4`");
            self.reader.push(fault.help("write `format: json`, or remove `ja4`"), entry.key_span);
        }
        Some(AccessLog {
            ja4: wanted,
            path: path.filter(|path| *path != "-").map(|path| self.base.join(path)),
            format,
            queue: self.count_at(section, "queue", 1..=1_000_000, 16_384),
        })
    }

    pub(super) fn admin(&mut self, fields: &Fields<'_>) -> Option<Endpoint> {
        if fields.get("admin").is_some_and(|node| is_word(node, "off")) {
            return None;
        }
        let section = self.section(fields, "admin", ADMIN);
        let bind = section.and_then(|section| section.get("bind"));
        let bind = bind.and_then(|node| self.address(node)).unwrap_or(ADMIN_BIND);
        let allow = section.and_then(|section| self.allow(&section));
        if allow.is_none()
            && !bind.ip().is_loopback()
            && let Some(node) = fields.get("admin")
        {
            let fault =
                Diagnostic::warning("admin-open", format!("whoever reaches {bind} may read the admin endpoint"));
            self.reader.push(fault.help("add `allow: [NETWORK]`; for a balancer, `health:` is enough"), node.span);
        }
        Some(Endpoint { bind, allow: allow.unwrap_or_default() })
    }

    pub(super) fn health(&mut self, fields: &Fields<'_>) -> Option<Endpoint> {
        let section = self.section(fields, HEALTH_KEY, HEALTH)?;
        let allow = self.allow(&section).unwrap_or_default();
        let node = self.reader.required(&section, "bind", "`health`")?;
        self.address(node).map(|bind| Endpoint { bind, allow })
    }

    /// Who may read an endpoint; `None` where nothing is said.
    fn allow(&mut self, section: &Fields<'_>) -> Option<Vec<IpNet>> {
        let node = section.get("allow")?;
        let items = self.reader.list(node, "a list of networks")?;
        if items.is_empty() {
            let fault = Diagnostic::error("empty-list", "`allow` admits nobody");
            self.reader.push(fault.help("list networks, or remove `allow` to admit whoever reaches it"), node.span);
        }
        let network = |item| self.reader.parsed::<Network>(item, "bad-cidr", "a network", "10.0.0.0/8");
        Some(items.iter().filter_map(network).map(|Network(net)| net).collect())
    }

    pub(super) fn log(&mut self, fields: &Fields<'_>) -> Log {
        use tracing::Level;
        let levels = [
            ("error", Level::ERROR),
            ("warn", Level::WARN),
            ("info", Level::INFO),
            ("debug", Level::DEBUG),
            ("trace", Level::TRACE),
        ];
        let section = self.section(fields, "log", LOG);
        let level = section.and_then(|section| section.get("level"));
        let level = level.and_then(|node| self.reader.one_of(node, "a level", &levels)).unwrap_or(Level::INFO);
        let format = section.and_then(|section| section.get("format"));
        let json = format.and_then(|node| self.reader.one_of(node, "a format", &[("text", false), ("json", true)]));
        Log { level, json: json.unwrap_or(false) }
    }

    pub(super) fn shutdown(&mut self, fields: &Fields<'_>) -> Shutdown {
        let section = self.section(fields, "shutdown", SHUTDOWN);
        Shutdown {
            lame_duck: self.duration_at(section.as_ref(), "lame_duck", s(0)..=s(HOUR), s(10)),
            drain: self.duration_at(section.as_ref(), "drain", s(0)..=s(24 * HOUR), s(5 * MINUTE)),
        }
    }
}

/// Why no server can be dialled from `address`, whichever host it is on.
fn no_source(address: IpAddr) -> Option<&'static str> {
    let (broadcast, link_local, mapped) = match address {
        IpAddr::V4(v4) => (v4.is_broadcast(), false, false),
        IpAddr::V6(v6) => (false, v6.is_unicast_link_local(), v6.to_ipv4_mapped().is_some()),
    };
    [
        (address.is_unspecified(), "no address of its own: it stands for all"),
        (address.is_multicast() || broadcast, "the address of many hosts"),
        (address.is_loopback(), "a loopback address, from which no other host is reached"),
        (link_local, "a link-local address, from which no routed host is reached"),
        (mapped, "an IPv4 address in IPv6's spelling: write it as IPv4"),
    ]
    .into_iter()
    .find_map(|(is, why)| is.then_some(why))
}

/// A network, or one address.
struct Network(IpNet);

impl std::str::FromStr for Network {
    type Err = ipnet::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self(ip.into()));
        }
        text.parse().map(Self)
    }
}

/// A DNS server: an address, with port 53 unless another is written.
struct Server(SocketAddr);

impl std::str::FromStr for Server {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self((ip, 53).into()));
        }
        text.parse().map(Self)
    }
}
