//! Rows that the policy decides, enforced and in audit mode.

use lab::dns::Behaviour;
use lab::gate::UPSTREAM;

use super::hello::Hello;
use super::stage::{Gets, Row, Upstream, nothing};

/// The rules under which the rows of this file and of [`super::by_address`] are proved, with `mode` before them.
pub(super) fn policy(mode: &str) -> String {
    format!(
        "version: 1\nmode: {mode}\nrules:
  - {{ name: not that one, action: deny, hosts: [denied.example] }}
  - {{ name: looked at, action: deny, mode: audit, hosts: [looked-at.example], {UPSTREAM} }}
  - {{ name: last year's, expires: 2020-01-01, hosts: [expired.example] }}
  - {{ name: on trial, mode: audit, hosts: [trial.example], {UPSTREAM} }}
  - {{ name: here only, clients: [10.99.0.0/16], hosts: [elsewhere.example], {UPSTREAM} }}
  - {{ name: other port, ports: [8443], hosts: [port.example], {UPSTREAM} }}
  - {{ name: own, ports: [8443, 9180], hosts: [own.example, admin.example], upstream: any }}
  - {{ name: public, hosts: [.public.example] }}
  - {{ name: any, hosts: [.any.example], upstream: any }}
  - {{ name: no ech, ech: deny, hosts: [.plain.example], {UPSTREAM} }}
  - {{ name: ech noted, ech: log, hosts: [noted.example], {UPSTREAM} }}
  - {{ name: steady, on_mismatch: refuse, hosts: [.steady.example], {UPSTREAM} }}
  - {{ name: too late, hosts: [.plain.example, noted.example, .steady.example, late.example], {UPSTREAM} }}
  - {{ name: listed, hosts: [.listed.example], {UPSTREAM} }}
"
    )
}

/// One that is refused with access denied, whoever the rule is.
const fn refused(reason: &'static str, host: &'static str, what: &'static str) -> Row {
    Row {
        what,
        verdict: "refused",
        reason,
        detail: None,
        host: Some(host),
        rule: None,
        gets: Gets::Alert(49),
        upstream: Upstream::Untouched,
        prepare: nothing,
        act: |_| anyhow::bail!("this row has no client"),
    }
}

/// One that is let through and recorded.
const fn audited(reason: &'static str, host: &'static str, what: &'static str) -> Row {
    Row { verdict: "audited", gets: Gets::Served, upstream: Upstream::Reached, ..refused(reason, host, what) }
}

const DENIED: Row = Row {
    rule: Some("not that one"),
    act: |stage| stage.ask_for("denied.example"),
    ..refused("denied_by_rule", "denied.example", "a deny rule")
};
const EXPIRED: Row = Row {
    rule: Some("last year's"),
    act: |stage| stage.ask_for("expired.example"),
    ..refused("rule_expired", "expired.example", "a rule past its date")
};
const NO_RULE: Row = Row {
    act: |stage| stage.ask_for("other.example"),
    ..refused("no_rule", "other.example", "a name that no rule has")
};

const ECH: Row = Row {
    rule: Some("no ech"),
    act: |stage| stage.say(&Hello::with_ech("a.plain.example").bytes()),
    ..refused("ech_denied", "a.plain.example", "a hello with ECH, and a rule that does not take it")
};
/// The client dials an address that the gate's DNS does not give.
const ELSEWHERE: Row = Row {
    rule: Some("steady"),
    detail: Some("no recent answer has the address that the client dialled"),
    prepare: |stage| stage.resolves("a.steady.example", &["198.18.1.70"]).map(|()| Vec::new()),
    act: |stage| stage.ask_for("a.steady.example"),
    ..refused("destination_mismatch", "a.steady.example", "an address that is none of the name's")
};

/// With every word of the policy enforced.
pub(super) const ENFORCED: &[Row] = &[
    NO_RULE,
    Row {
        act: |stage| stage.say_to("[2001:db8:18::1:1]:443", &Hello::to("other.example").bytes()),
        ..refused("no_rule", "other.example", "the same over IPv6")
    },
    Row { act: |stage| stage.ask_for("OTHER.Example"), ..refused("no_rule", "other.example", "the same in capitals") },
    Row {
        act: |stage| stage.ask_for("elsewhere.example"),
        ..refused("no_rule", "elsewhere.example", "a rule for other clients")
    },
    Row { act: |stage| stage.ask_for("port.example"), ..refused("no_rule", "port.example", "a rule for another port") },
    DENIED,
    EXPIRED,
    ECH,
    ELSEWHERE,
    Row {
        rule: Some("ech noted"),
        act: |stage| stage.use_by(&Hello::with_ech("noted.example")),
        ..audited("ech_denied", "noted.example", "a hello with ECH, and a rule that notes it")
    },
    Row {
        rule: Some("on trial"),
        act: |stage| stage.use_host("trial.example"),
        ..audited("audit_rule", "trial.example", "an allow rule in audit mode")
    },
    Row {
        rule: Some("looked at"),
        act: |stage| stage.use_host("looked-at.example"),
        ..audited("denied_by_rule", "looked-at.example", "a deny rule in audit mode")
    },
];

/// With `refusal_alert: unrecognized_name`.
pub(super) const OTHER_ALERT: &[Row] = &[
    Row { gets: Gets::Alert(112), ..NO_RULE },
    Row { gets: Gets::Alert(112), ..DENIED },
    Row { gets: Gets::Alert(112), ..EXPIRED },
    Row { gets: Gets::Alert(112), ..ECH },
    // The policy did allow the name.
    ELSEWHERE,
];

/// In audit mode: let through if the policy alone would refuse it. No rule, or one without `upstream`, permits public
/// addresses; private ones are let through here.
pub(super) const AUDITED: &[Row] = &[
    Row {
        prepare: |stage| stage.resolves("other.example", &["10.99.0.1"]).map(|()| Vec::new()),
        act: |stage| stage.use_host("other.example"),
        ..audited("no_rule", "other.example", "no rule, a private address")
    },
    Row {
        prepare: |stage| stage.resolves("another.example", &["52.219.0.1"]).map(|()| Vec::new()),
        act: |stage| stage.use_host("another.example"),
        ..audited("no_rule", "another.example", "no rule, a public address")
    },
    Row {
        prepare: |stage| stage.resolves("denied.example", &["52.219.0.2"]).map(|()| Vec::new()),
        act: |stage| stage.use_host("denied.example"),
        ..Row { rule: DENIED.rule, ..audited("denied_by_rule", "denied.example", "a deny rule") }
    },
    Row {
        prepare: |stage| stage.resolves("expired.example", &["52.219.0.3"]).map(|()| Vec::new()),
        act: |stage| stage.use_host("expired.example"),
        ..Row { rule: EXPIRED.rule, ..audited("rule_expired", "expired.example", "a rule past its date") }
    },
    Row {
        act: |stage| stage.use_by(&Hello::with_ech("b.plain.example")),
        ..Row { rule: ECH.rule, ..audited("ech_denied", "b.plain.example", "a hello with ECH") }
    },
    Row {
        prepare: |stage| stage.resolves("b.steady.example", &["198.18.1.71"]).map(|()| Vec::new()),
        act: |stage| stage.use_host("b.steady.example"),
        rule: ELSEWHERE.rule,
        detail: ELSEWHERE.detail,
        ..audited("destination_mismatch", "b.steady.example", "an address that is none of the name's")
    },
    Row {
        prepare: |stage| stage.resolves("a.public.example", &["10.99.0.2"]).map(|()| Vec::new()),
        act: |stage| stage.use_host("a.public.example"),
        ..forbidden("private address", "a.public.example")
    },
    Row {
        prepare: |stage| stage.resolves("b.public.example", &["100.64.0.2"]).map(|()| Vec::new()),
        act: |stage| stage.use_host("b.public.example"),
        ..forbidden("carrier-grade NAT address", "b.public.example")
    },
    Row {
        prepare: |stage| stage.resolves("c.public.example", &["fd99::2"]).map(|()| Vec::new()),
        act: |stage| stage.use_host("c.public.example"),
        ..forbidden("unique local address", "c.public.example")
    },
    // What no mode lets through.
    Row {
        prepare: |stage| stage.resolves("d.public.example", &["169.254.169.254"]).map(|()| Vec::new()),
        act: |stage| stage.ask_for("d.public.example"),
        detail: Some("address that is never dialled"),
        rule: Some("public"),
        ..refused("forbidden_address", "d.public.example", "the metadata service in audit mode")
    },
    Row {
        prepare: |stage| stage.resolves("e.public.example", &["127.0.0.1"]).map(|()| Vec::new()),
        act: |stage| stage.ask_for("e.public.example"),
        detail: Some("loopback address"),
        rule: Some("public"),
        ..refused("forbidden_address", "e.public.example", "loopback in audit mode")
    },
    Row {
        prepare: |stage| stage.resolves("f.example", &["198.18.1.9"]).map(|()| Vec::new()),
        act: |stage| stage.ask_for("f.example"),
        detail: Some("reserved address"),
        ..refused("forbidden_address", "f.example", "no rule and a reserved address in audit mode")
    },
    Row {
        prepare: |stage| {
            stage.answers("g.example", Behaviour::NxDomain);
            Ok(Vec::new())
        },
        act: |stage| stage.ask_for("g.example"),
        verdict: "failed",
        detail: Some("the name has no address"),
        gets: Gets::Alert(112),
        ..refused("name_not_found", "g.example", "no rule and no such name in audit mode")
    },
];

const fn forbidden(detail: &'static str, host: &'static str) -> Row {
    Row { detail: Some(detail), rule: Some("public"), ..audited("forbidden_address", host, detail) }
}
