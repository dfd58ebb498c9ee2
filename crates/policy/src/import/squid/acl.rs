//! `acl` lines.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;

use super::super::draft::Host;
use super::super::read;
use super::super::set::{Addresses, PORTS, Set};
use super::{Line, entries, names};
use crate::files::Files;
use crate::load::MAX_LIST_BYTES;

/// What an acl is about.
#[derive(Clone, Debug)]
pub(super) enum Acl {
    Names(Vec<Host>),
    Clients(Addresses),
    Ports(Set),
    /// `method CONNECT`.
    Connect,
    /// Everything.
    All,
    /// What never comes to a gate, or never gets through one.
    Never,
    /// Something that no policy knows, and what.
    Unknown(String),
}

/// Every acl of a configuration, those that Squid defines itself included.
pub(super) fn read_all(lines: &[Line], files: &dyn Files) -> HashMap<String, Acl> {
    let mut own = Addresses::none();
    own.add(IpAddr::from([127, 0, 0, 0]), IpAddr::from([127, 255, 255, 255]));
    own.add(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]));
    let mut all = HashMap::from([
        ("all".to_owned(), Acl::All),
        ("localhost".to_owned(), Acl::Clients(own)),
        ("manager".to_owned(), Acl::Never),
        ("to_localhost".to_owned(), Acl::Never),
        ("to_linklocal".to_owned(), Acl::Never),
    ]);
    for line in lines.iter().filter(|line| line.word() == "acl") {
        let [name, kind, values @ ..] = line.rest() else { continue };
        let acl = one(kind, values, files);
        let joined = match all.remove(name) {
            Some(before) => join(before, acl),
            None => acl,
        };
        all.insert(name.clone(), joined);
    }
    all.entry("CONNECT".to_owned()).or_insert(Acl::Connect);
    all
}

/// Lines of one acl add up.
fn join(before: Acl, more: Acl) -> Acl {
    match (before, more) {
        (Acl::Names(mut before), Acl::Names(more)) => {
            before.extend(more);
            Acl::Names(before)
        }
        (Acl::Clients(mut before), Acl::Clients(more)) => {
            before.join(&more);
            Acl::Clients(before)
        }
        (Acl::Ports(before), Acl::Ports(more)) => Acl::Ports(before.not().and(&more.not()).not()),
        (Acl::Connect, Acl::Connect) => Acl::Connect,
        (Acl::All, Acl::All | Acl::Clients(_)) => Acl::All,
        (Acl::Unknown(why), _) | (_, Acl::Unknown(why)) => Acl::Unknown(why),
        _ => Acl::Unknown("two kinds under one name".to_owned()),
    }
}

fn one(kind: &str, values: &[String], files: &dyn Files) -> Acl {
    let flags = values.iter().take_while(|value| value.starts_with('-')).count();
    let values = values.get(flags..).unwrap_or_default();
    match kind {
        "dstdomain" => match expanded(values, files) {
            Ok(hosts) => Acl::Names(hosts),
            Err(why) => Acl::Unknown(why),
        },
        "src" => clients(values),
        "port" => {
            let mut set = Set::none(PORTS);
            for value in values {
                let (from, to) = value.split_once('-').unwrap_or((value, value));
                let (Ok(from), Ok(to)) = (from.parse::<u16>(), to.parse::<u16>()) else {
                    return Acl::Unknown(format!("the port `{value}`"));
                };
                set.add(from.into(), to.into());
            }
            Acl::Ports(set)
        }
        "method" if values == ["CONNECT"] => Acl::Connect,
        _ => Acl::Unknown(format!("acls of the kind `{kind}`")),
    }
}

/// Values in line, and those of files in quotes.
fn expanded(values: &[String], files: &dyn Files) -> Result<Vec<Host>, String> {
    let mut all = Vec::new();
    for value in values {
        let Some(path) = value.strip_prefix('"') else {
            all.push(names::host(value));
            continue;
        };
        let path = path.strip_suffix('"').unwrap_or(path);
        let text =
            read(Path::new(path), files, MAX_LIST_BYTES).map_err(|error| format!("the list `{path}`: {error}"))?;
        all.extend(entries(&text));
    }
    Ok(all)
}

/// `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `10.0.0.1-10.0.0.9`, `all`, `ipv4`, `ipv6`.
fn clients(values: &[String]) -> Acl {
    let mut set = Addresses::none();
    for value in values {
        if value == "all" {
            return Acl::All;
        }
        let known = match value.as_str() {
            "ipv4" => {
                set.join(&Addresses::every_v4());
                true
            }
            "ipv6" => {
                set.join(&Addresses::every_v6());
                true
            }
            _ => range(value, &mut set).is_some(),
        };
        if !known {
            return Acl::Unknown(format!("the client `{value}`"));
        }
    }
    Acl::Clients(set)
}

fn range(value: &str, set: &mut Addresses) -> Option<()> {
    if let Some((from, to)) = value.split_once('-') {
        // Masked ends of a range do not carry over.
        return set.add(from.parse().ok()?, to.parse().ok()?).then_some(());
    }
    let net = match value.split_once('/') {
        None => IpNet::from(value.parse::<IpAddr>().ok()?),
        Some((address, mask)) => {
            let address = address.parse::<IpAddr>().ok()?;
            let length = match mask.parse::<u8>() {
                Ok(length) => length,
                Err(_) => ipnet::ip_mask_to_prefix(mask.parse().ok()?).ok()?,
            };
            IpNet::new(address, length).ok()?
        }
    };
    // Squid masks what is beyond the length.
    set.add(net.network(), net.broadcast()).then_some(())
}
