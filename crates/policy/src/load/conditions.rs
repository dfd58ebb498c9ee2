//! A rule's conditions besides its names: time, clients, protocols, ports; and the addresses that may be dialled.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::diagnostic::Diagnostic;
use crate::document::{Fields, Node, Reader, Value};
use crate::load::Builder;
use crate::rule::{Access, Action, Protocol, Upstream, order};

/// An expiry that is so near, in seconds, is spoken of.
const SOON: i64 = 14 * 24 * 60 * 60;

/// What is never dialled, whatever a rule says. The gate's address guard is what refuses it, and its tests compare the two.
const NEVER: [IpNet; 9] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 32)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(168, 63, 129, 16), 32)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::BROADCAST, 32)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0), 32)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8)),
];

impl Builder<'_> {
    pub(super) fn expires(&self, reader: &mut Reader<'_>, fields: &Fields<'_>, action: Action) -> Option<i64> {
        let node = fields.get("expires")?;
        let text = reader.text(node, "a date like `2027-03-31`")?;
        let Some(last) = last_second(text) else {
            let fault = Diagnostic::error("bad-date", format!("`{text}` is neither a date nor a full time"));
            let help =
                "write a date, valid through its end in UTC: `2027-03-31`; or a full time: `2027-03-31T18:00:00+09:00`";
            reader.push(fault.help(help), node.span);
            return None;
        };
        if action == Action::Deny {
            let fault =
                Diagnostic::error("expires-on-deny", "a deny rule cannot expire: its passing would open something");
            reader.push(fault.help("remove `expires`, and the rule when its time has come"), node.span);
        } else if self.now > last {
            let fault = Diagnostic::warning("already-expired", "the rule has expired, so it allows nothing");
            reader.push(fault.help("remove the rule, or give it a later date"), node.span);
        } else if last - self.now <= SOON {
            let fault = Diagnostic::warning("expires-soon", "the rule expires within 14 days");
            reader.push(fault.help("renew it with its owner, or let it go"), node.span);
        }
        Some(last)
    }
}

/// The last second in which a rule with this `expires` is valid.
pub(super) fn last_second(text: &str) -> Option<i64> {
    // The parsers accept more spellings than the one that a reader is sure of.
    let form = |text: &str, form: &str| {
        text.len() == form.len()
            && text.bytes().zip(form.bytes()).all(|(b, f)| if f == b'0' { b.is_ascii_digit() } else { b == f })
    };
    if form(text, "0000-00-00") {
        let date: Date = text.parse().ok()?;
        let end = TimeZone::UTC.to_timestamp(date.at(23, 59, 59, 0)).ok()?;
        return Some(end.as_second());
    }
    // RFC 3339 §5.6: date-time, with or without a fraction of a second, and always with its offset.
    form(text.get(..19)?, "0000-00-00T00:00:00").then_some(())?;
    let rest = text.get(19..)?;
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let offset = match rest.strip_prefix('.') {
        Some(fraction) => fraction.get(digits(fraction)..).filter(|_| digits(fraction) > 0)?,
        None => rest,
    };
    (offset == "Z" || form(offset, "+00:00") || form(offset, "-00:00")).then_some(())?;
    text.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

impl Reader<'_> {
    /// Networks, sorted, merged and disjoint; a bare address is a network of one.
    pub fn networks(&mut self, node: &Node, key: &str) -> Option<Box<[IpNet]>> {
        let items = self.filled(node, key, "networks like `10.20.0.0/16`")?;
        let read: Vec<(IpNet, &Node)> = items.iter().filter_map(|item| Some((self.network(item)?, item))).collect();
        self.warn_of_overlaps(&read);
        let nets: Vec<IpNet> = read.iter().map(|(net, _)| *net).collect();
        let mut nets = IpNet::aggregate(&nets);
        nets.sort_by_key(|net| order(net.network()));
        Some(nets.into_boxed_slice())
    }

    /// Of two networks in one list, one within the other says nothing, or the wider one says more than was meant.
    fn warn_of_overlaps(&mut self, nets: &[(IpNet, &Node)]) {
        let mut sorted: Vec<_> = nets.iter().collect();
        sorted.sort_by_key(|(net, node)| (order(net.network()), net.prefix_len(), node.span.line, node.span.column));
        // Networks are within one another or apart, so the last one that is within no other is the only candidate.
        let mut outer: Option<&(IpNet, &Node)> = None;
        for item in sorted {
            let (net, node) = item;
            match outer {
                Some((wide, first)) if wide.contains(net) => {
                    let message = if wide == net {
                        format!("`{net}` is listed twice")
                    } else {
                        format!("`{net}` lies within `{wide}`, which is listed too")
                    };
                    let fault =
                        Diagnostic::warning("overlapping-networks", message).help("remove the one that is not meant");
                    self.push(fault.note(format!("the other is on line {}", first.span.line)), node.span);
                }
                _ => outer = Some(item),
            }
        }
    }

    fn network(&mut self, node: &Node) -> Option<IpNet> {
        let text = self.text(node, "a network like `10.20.0.0/16`")?;
        let Some(net) = network(text) else {
            let fault = Diagnostic::error("bad-cidr", format!("`{text}` is neither a network nor an address"));
            self.push(fault.help("write it like `10.20.0.0/16` or `2001:db8::/32`"), node.span);
            return None;
        };
        let right = net.trunc();
        if right != net {
            let fault = Diagnostic::error("cidr-host-bits", format!("`{text}` has address bits beyond its length"));
            self.push(fault.help(format!("write `{right}`, or `{}` for the one address", net.addr())), node.span);
            return None;
        }
        Some(unmapped(net))
    }

    /// VPC endpoints by their ids, sorted.
    pub(super) fn vpc_endpoints(&mut self, node: &Node) -> Option<Box<[Box<str>]>> {
        let items = self.filled(node, "vpc_endpoints", "VPC endpoints like `vpce-0a1b2c3d4e5f67890`")?;
        let mut all: Vec<Box<str>> = items.iter().filter_map(|item| self.vpc_endpoint(item)).map(Box::from).collect();
        all.sort_unstable();
        all.dedup();
        Some(all.into_boxed_slice())
    }

    /// A VPC endpoint's id. AWS has made them of 8 digits, and makes them of 17.
    pub(super) fn vpc_endpoint<'n>(&mut self, node: &'n Node) -> Option<&'n str> {
        let text = self.text(node, "a VPC endpoint's id like `vpce-0a1b2c3d4e5f67890`")?;
        let digits = text.strip_prefix("vpce-").unwrap_or_default();
        if is_vpc_endpoint(text) {
            return Some(text);
        }
        let fault = Diagnostic::error("bad-vpc-endpoint", format!("`{text}` is no VPC endpoint's id"));
        let help = if is_vpc_endpoint(&text.to_ascii_lowercase()) {
            "write it in lower case, as AWS does"
        } else if digits.contains('-') {
            "write the id alone, without what its DNS names have behind it"
        } else {
            "write `vpce-` and the 8 or 17 hexadecimal digits that AWS shows"
        };
        self.push(fault.help(help), node.span);
        None
    }

    pub(super) fn protocols(&mut self, node: &Node) -> Option<Box<[Protocol]>> {
        let items = self.filled(node, "protocols", "protocols")?;
        let mut all = Vec::new();
        for item in items {
            if matches!(&item.value, Value::Scalar { text, .. } if &**text == "connect") {
                let fault = Diagnostic::error("unknown-word", "`connect` is not a protocol of rules");
                self.push(fault.help("write `tls`: what comes by CONNECT counts as TLS"), item.span);
            } else {
                let words = [("tls", Protocol::Tls), ("http", Protocol::Http)];
                all.extend(self.one_of(item, "a protocol", &words));
            }
        }
        all.sort_unstable();
        all.dedup();
        Some(all.into_boxed_slice())
    }

    pub(super) fn access(&mut self, node: &Node) -> Option<Box<[Access]>> {
        let items = self.filled(node, "access", "`read`, `write` and `list`")?;
        let words: Vec<_> = Access::ALL.iter().map(|&access| (access.label(), access)).collect();
        let mut all: Vec<_> = items.iter().filter_map(|item| self.one_of(item, "an access", &words)).collect();
        all.sort_unstable();
        all.dedup();
        Some(all.into_boxed_slice())
    }

    /// A list of ports, sorted.
    pub fn ports(&mut self, node: &Node) -> Option<Box<[u16]>> {
        let items = self.filled(node, "ports", "ports")?;
        let number = |item| self.integer(item, "a port", 1..=65_535).and_then(|port| u16::try_from(port).ok());
        let mut all: Vec<u16> = items.iter().filter_map(number).collect();
        all.sort_unstable();
        all.dedup();
        Some(all.into_boxed_slice())
    }

    pub(super) fn upstream(&mut self, node: &Node) -> Option<Upstream> {
        if let Value::Sequence(items) = &node.value {
            self.warn_of_never(items);
            return self.networks(node, "upstream").map(Upstream::Only);
        }
        if let Value::Scalar { text, .. } = &node.value
            && network(text).is_some()
        {
            self.list(node, "a list of networks")?;
        }
        self.one_of(node, "an upstream", &[("public", Upstreams::Public), ("any", Upstreams::Any)]).map(|word| {
            match word {
                Upstreams::Public => Upstream::Public,
                Upstreams::Any => Upstream::Any,
            }
        })
    }

    /// A network of which no address is ever dialled permits nothing, though it reads as if it did.
    fn warn_of_never(&mut self, items: &[Node]) {
        for item in items {
            let Value::Scalar { text, .. } = &item.value else { continue };
            let Some(net) = network(text).filter(|net| net.trunc() == *net).map(unmapped) else { continue };
            if NEVER.iter().any(|never| never.contains(&net)) {
                let message = format!("no address of `{text}` is ever dialled, whatever a rule says");
                let fault = Diagnostic::warning("never-dialled", message);
                self.push(fault.help("remove it, and list the networks that the hosts are in"), item.span);
            }
        }
    }

    /// A list with at least one item: an empty one could be meant as "none" or as "any".
    pub(super) fn filled<'n>(&mut self, node: &'n Node, key: &str, what: &str) -> Option<&'n [Node]> {
        let items = self.list(node, &format!("a list of {what}"))?;
        if items.is_empty() {
            let fault = Diagnostic::error("empty-list", format!("`{key}` is empty"));
            self.push(fault.help(format!("list something, or remove `{key}`")), node.span);
            return None;
        }
        Some(items)
    }
}

#[derive(Clone, Copy)]
enum Upstreams {
    Public,
    Any,
}

/// Whether a text is a VPC endpoint's id as AWS makes them.
pub fn is_vpc_endpoint(text: &str) -> bool {
    let digits = text.strip_prefix("vpce-").unwrap_or_default();
    matches!(digits.len(), 8 | 17) && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A network or an address in the one spelling that every program reads alike: `010.0.0.0/8`, which some take for
/// 8.0.0.0/8, is none.
fn network(text: &str) -> Option<IpNet> {
    let Some((addr, length)) = text.split_once('/') else { return text.parse::<IpAddr>().ok().map(IpNet::from) };
    let number = length.parse::<u8>().ok().filter(|number| number.to_string() == length)?;
    IpNet::new(addr.parse().ok()?, number).ok()
}

/// A v4-mapped network as the IPv4 network that it is.
fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let v4 = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    v4.and_then(|(addr, length)| Ipv4Net::new(addr, length).ok()).map_or(net, IpNet::V4)
}
