//! `/etc/hosts`: addresses with names, or a bare list of names.

use std::net::IpAddr;

use super::draft::{Draft, Host, Part, Rule};

/// Names that are about the host itself.
const OWN: &[&str] = &["localhost", "localhost.localdomain", "broadcasthost", "ip6-localhost", "ip6-loopback"];

pub(super) fn draft(text: &str, file: &str) -> Draft {
    let mut draft = Draft::default();
    draft.top.push(format!("Made by `sekisho import hosts {file}`."));
    draft
        .top
        .push("Addresses do not carry over: the gate resolves names itself, and never reads /etc/hosts.".to_owned());
    let mut shut = Rule { name: format!("sent nowhere by {file}"), deny: true, ..Rule::default() };
    shut.remarks.push("Names that the file sends to no address, or to the host itself.".to_owned());
    let mut open = Rule { name: format!("from {file}"), ..Rule::default() };
    let mut private = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace().peekable();
        let address = words.peek().and_then(|word| word.split('%').next()?.parse::<IpAddr>().ok());
        if address.is_some() {
            words.next();
        }
        let nowhere = address.is_some_and(|address| address.is_unspecified() || address.is_loopback());
        for word in words.filter(|word| !OWN.contains(word) && !word.starts_with("ip6-")) {
            let rule = if nowhere { &mut shut } else { &mut open };
            let mut host = Host::new(word);
            if word.contains('*') || word.starts_with('.') {
                host.fault = Some("a hosts file has no patterns".to_owned());
            } else if address.is_some_and(is_private) {
                private.push(word.to_owned());
            }
            rule.hosts.push(host);
        }
    }
    if !private.is_empty() {
        let names = private.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        open.remarks
            .push(format!("With private addresses in the file: {names}{}", if private.len() > 5 { ", …" } else { "" }));
        open.remarks
            .push("The gate dials such only under `upstream: [NETWORK]`; give them a rule of their own.".to_owned());
    }
    for rule in [shut, open] {
        if !rule.hosts.is_empty() {
            draft.parts.push(Part::Rule(rule));
        }
    }
    draft
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}
