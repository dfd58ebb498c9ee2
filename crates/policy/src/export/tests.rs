use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;
use sekisho_name::Name;

use super::*;
use crate::rule::{Decision, Request};

const NOW: i64 = 1_795_521_600;

fn policy(rules: &str) -> Policy {
    let text = format!("version: 1\nrules:\n{rules}");
    Policy::parse("p.yaml", &text, NOW).unwrap_or_else(|faults| panic!("{text}\n{faults}")).policy
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

const MIXED: &str = "  - { name: not that, action: deny, hosts: [.secret.example.org] }
  - { name: old, hosts: [old.example.net], expires: 2026-01-01 }
  - name: reports
    clients: [10.20.0.0/16]
    buckets: [{ name: reports, region: ap-northeast-1, endpoints: [regional] }]
  - { name: partners, hosts: ['*.partner.example', .example.org, deep.a.example.com, .example.com], upstream: any }
  - { name: watched, action: deny, mode: audit, hosts: [watched.example.net] }
";

const BY: [(Filter, Means); 4] = [
    (Filter::Nftables, Means::Redirect),
    (Filter::Iptables, Means::Redirect),
    (Filter::Nftables, Means::Tproxy),
    (Filter::Iptables, Means::Tproxy),
];

fn to_gate(filter: Filter, means: Means, place: Place) -> Packets {
    Packets { filter, place, means, gate: 8444, http: None }
}

#[test]
fn every_export_says_from_which_digest_and_is_the_same_each_time() {
    let (policy, again) = (policy(MIXED), policy(MIXED));
    let router = Place::Router { clients: vec![net("10.20.0.0/16")], pass: Vec::new() };
    let places = [router, Place::Host { user: "sekisho".to_owned() }];
    let all = |policy: &Policy| {
        let forward = ["10.0.0.2:53".parse().unwrap()];
        let mut all = vec![policy.squid(NOW), policy.squid_list(&[], NOW), policy.unbound(&forward, NOW)];
        all.push(policy.network_firewall(&[], NOW).unwrap());
        for (filter, means) in BY {
            all.extend(places.iter().map(|place| policy.packets(&to_gate(filter, means, place.clone())).unwrap()));
        }
        all
    };
    let exports = all(&policy);
    for export in &exports {
        assert!(export.text.contains(policy.digest()), "{}", export.text);
    }
    assert_eq!(exports, all(&again));
}

#[test]
fn squid_gets_the_rules_in_order_and_nothing_after_them() {
    let text = policy(MIXED).squid(NOW).text;
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("http_access")).collect();
    assert_eq!(
        lines,
        [
            "http_access deny sekisho_connect sekisho_1_tls sekisho_1_domain !sekisho_underscore",
            "http_access allow sekisho_connect sekisho_3_tls sekisho_3_host sekisho_3_from",
            "http_access allow sekisho_connect sekisho_4_tls sekisho_4_domain !sekisho_underscore",
            "http_access allow sekisho_connect sekisho_4_tls sekisho_4_label !sekisho_underscore",
            "http_access allow sekisho_connect sekisho_5_tls sekisho_5_host",
            "http_access deny all",
        ]
    );
    assert!(text.contains("`old` has expired") && text.contains("`watched` is under audit"), "{text}");
    assert!(!text.contains("old.example.net"), "{text}");
    // Covered by its domain: Squid would only warn of it.
    assert!(!text.contains("deep.a.example.com"), "{text}");
}

#[test]
fn a_flat_list_holds_what_everybody_asked_about_may_reach_and_says_what_it_leaves_out() {
    let policy = policy(MIXED);
    let anybody = policy.domains(&[], NOW);
    assert_eq!(anybody.names, [".example.com", "watched.example.net"]);
    let whys: Vec<_> = anybody.left_out.iter().map(ToString::to_string).collect();
    assert_eq!(whys.len(), 3, "{whys:?}");
    let clients = policy.domains(&[net("10.20.1.0/24")], NOW);
    assert_eq!(clients.names, [".example.com", "reports.s3.ap-northeast-1.amazonaws.com", "watched.example.net"]);
    assert_eq!(policy.domains(&[net("10.0.0.0/8")], NOW).names, anybody.names, "a wider network is not admitted");
}

#[test]
fn a_list_with_nothing_in_it_is_an_error_for_the_firewall() {
    let policy = policy("  - { name: a, clients: [10.0.0.0/8], hosts: [a.example.net] }\n");
    let (error, notes) = policy.network_firewall(&[], NOW).unwrap_err();
    assert_eq!(error, NetworkFirewallError::Nothing);
    assert!(notes.iter().any(|note| note.contains("--clients")), "{notes:?}");
    let export = policy.network_firewall(&[net("10.1.0.0/16")], NOW).unwrap();
    let json: serde_json::Value = serde_json::from_str(&export.text).unwrap();
    let source = "/RuleGroup/RulesSource/RulesSourceList";
    assert_eq!(json.pointer(&format!("{source}/Targets")).unwrap(), &serde_json::json!(["a.example.net"]));
    assert_eq!(json.pointer(&format!("{source}/GeneratedRulesType")).unwrap(), "ALLOWLIST");
    let home = json.pointer("/RuleGroup/RuleVariables/IPSets/HOME_NET/Definition").unwrap();
    assert_eq!(home, &serde_json::json!(["10.1.0.0/16"]));
}

#[test]
fn the_packet_rules_are_the_deployments_files_with_their_settings_changed_and_nothing_else() {
    let policy = policy("  - { name: a, clients: [10.1.0.0/16], hosts: [a.example.net], ports: [443, 9443] }\n");
    let router = Place::Router { clients: Vec::new(), pass: vec![("udp", 53)] };
    let host = Place::Host { user: "31415".to_owned() };
    let nft_ports = ["define https = { 443, 9443 }", "define gate = 8444"];
    let nets = ["define clients4 = { 10.1.0.0/16 }", "define clients6 = { 2001:db8::/32 }"];
    let passed = "        elements = { udp . 53 }";
    let gates = "GATES=\"443:8444 9443:8444\"";
    for (filter, means) in BY {
        let templates = match means {
            Means::Redirect => [packets::NFT_ROUTER, packets::NFT_HOST, packets::SH_ROUTER, packets::SH_HOST],
            Means::Tproxy => [
                packets::NFT_TPROXY_ROUTER,
                packets::NFT_TPROXY_HOST,
                packets::SH_TPROXY_ROUTER,
                packets::SH_TPROXY_HOST,
            ],
        };
        let expected = match filter {
            Filter::Nftables => [
                (&router, templates[0], [&nets[..], &nft_ports, &[passed]].concat()),
                (&host, templates[1], [&["define gate_user = 31415"][..], &nft_ports].concat()),
            ],
            Filter::Iptables => [
                (&router, templates[2], vec!["CLIENTS4=\"10.1.0.0/16\"", "CLIENTS6=\"\"", gates, "PASSED=\"udp:53\""]),
                (&host, templates[3], vec!["GATE_USER=\"31415\"", gates]),
            ],
        };
        for (place, template, wanted) in expected {
            let export = policy.packets(&to_gate(filter, means, place.clone())).unwrap();
            let (given, shipped): (Vec<_>, Vec<_>) = (export.text.lines().collect(), template.lines().collect());
            let new: Vec<_> = given.iter().skip(4).filter(|line| !shipped.contains(line)).copied().collect();
            assert_eq!(new, wanted, "{}", export.text);
            assert_eq!(given.len(), shipped.len() + 3, "{}", export.text);
        }
    }
}

#[test]
fn plain_http_goes_to_a_port_of_its_own_by_every_rule_that_tls_goes_by() {
    let rules = "  - { name: a, clients: [10.1.0.0/16], hosts: [a.example.net], protocols: [tls, http] }\n";
    let both = policy(rules);
    for (filter, means) in BY {
        let tls = to_gate(filter, means, Place::Router { clients: Vec::new(), pass: Vec::new() });
        let with_http = Packets { http: Some(8080), ..tls.clone() };
        let (tls, with_http) = (both.packets(&tls).unwrap().text, both.packets(&with_http).unwrap().text);
        if filter == Filter::Iptables {
            assert_eq!(with_http, tls.replace("GATES=\"443:8444\"", "GATES=\"443:8444 80:8080\""));
            continue;
        }
        // Each line that has the port of TLS, and its twin.
        let twins: Vec<_> = tls.lines().filter(|line| line.contains("$https")).collect();
        assert!(twins.len() >= 4, "{tls}");
        for line in twins {
            let twin = line.replace("$https", "$http").replace(":$gate", ":$gate_http");
            assert!(with_http.contains(&format!("{line}\n{twin}\n")), "{with_http}");
        }
        assert!(
            with_http.contains("\ndefine https = 443\ndefine http = 80\ndefine gate = 8444\ndefine gate_http = 8080\n")
        );
    }
    // The port that SSM's agent asks on is the gate's also where no rule opens it: what is refused is recorded.
    let none = policy("  - { name: a, clients: [10.1.0.0/16], hosts: [a.example.net] }\n");
    let host = to_gate(Filter::Iptables, Means::Redirect, Place::Host { user: "u".to_owned() });
    let with_http = |http| Packets { http: Some(http), ..host.clone() };
    assert!(none.packets(&with_http(8080)).unwrap().text.contains("\nGATES=\"443:8444 80:8080\"\n"));
    assert_eq!(none.packets(&with_http(8444)), Err(PacketsError::SharedPort(8444)));
    assert_eq!(none.packets(&with_http(443)), Err(PacketsError::GatePort(443)));
    let shared = rules.replace("protocols", "ports: [8000], protocols");
    assert_eq!(policy(&shared).packets(&with_http(8080)), Err(PacketsError::SharedPort(8000)));
}

#[test]
fn packet_rules_that_the_policy_leaves_open_are_refused() {
    let any = policy("  - { name: a, hosts: [a.example.net] }\n");
    let router = |gate| {
        let place = Place::Router { clients: Vec::new(), pass: Vec::new() };
        Packets { gate, ..to_gate(Filter::Nftables, Means::Redirect, place) }
    };
    assert_eq!(any.packets(&router(8443)), Err(PacketsError::AnyClient));
    assert_eq!(any.packets(&router(443)), Err(PacketsError::GatePort(443)));
    let http = policy("  - { name: a, hosts: [a.example.net], protocols: [http] }\n");
    assert_eq!(http.packets(&router(8443)), Err(PacketsError::NoPorts));
    for user in ["", "-x", "a b", "$(id)", "a\"b", "a\nb"] {
        let place = Place::Host { user: user.to_owned() };
        let packets = to_gate(Filter::Iptables, Means::Tproxy, place);
        assert_eq!(any.packets(&packets), Err(PacketsError::User), "{user:?}");
    }
}

/// What Unbound makes of a question: the longest zone that it lies in.
fn answered(config: &str, name: &str) -> bool {
    let zones: std::collections::HashMap<_, _> =
        config.lines().filter_map(|line| line.trim().strip_prefix("local-zone: \"")?.split_once(".\" ")).collect();
    let mut names = std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, rest)| rest));
    let zone = names.find_map(|name| zones.get(name));
    zone.is_some_and(|kind| *kind == "transparent")
}

proptest! {
    #[test]
    fn no_list_opens_what_the_policy_shuts_and_unbound_answers_for_all_that_it_opens(rules in rules()) {
        let (policy, rules) = sound(&rules);
        let asked = [net("10.0.0.0/24")];
        let list = policy.domains(&asked, NOW).names;
        let unbound = policy.unbound(&[], NOW).text;
        for host in hosts() {
            let name = Name::parse(&host).unwrap();
            let open = |client: &str, port, protocol| {
                let client: IpAddr = client.parse().unwrap();
                [None, Some("vpce-0a1b2c3d")].map(|vpce| {
                    let request = Request { name: &name, client, port, protocol, now: NOW, vpce, ech: false };
                    !matches!(policy.decide(&request), Decision::Refuse { .. })
                })
            };
            let listed = list.iter().any(|item| match item.strip_prefix('.') {
                Some(domain) => host == domain || host.ends_with(item),
                None => &host == item,
            });
            if listed {
                for client in ["10.0.0.0", "10.0.0.255", "10.0.0.77"] {
                    prop_assert!(open(client, 443, Protocol::Tls) == [true; 2], "{host} for {client}\n{rules}\n{list:?}");
                }
            }
            for (port, protocol) in [(443, Protocol::Tls), (80, Protocol::Http), (9443, Protocol::Tls)] {
                for client in ["10.0.0.1", "10.0.1.1", "192.0.2.1"] {
                    if open(client, port, protocol) != [false; 2] {
                        prop_assert!(answered(&unbound, &host), "{host}\n{rules}\n{unbound}");
                    }
                }
            }
        }
    }
}

/// Rules over few names, so that they meet.
fn rules() -> impl Strategy<Value = Vec<String>> {
    let host = prop::sample::select(vec![
        "a.x.test",
        ".a.x.test",
        "\"*.x.test\"",
        ".x.test",
        "b.a.x.test",
        ".b.a.x.test",
        "\"*.a.x.test\"",
        "y.test",
        ".y.test",
    ]);
    let hosts = prop::collection::btree_set(host, 1..4);
    let rest = prop::sample::select(vec![
        "",
        ", clients: [10.0.0.0/16]",
        ", clients: [10.0.0.0/25]",
        ", ports: [443, 9443]",
        ", protocols: [http, tls]",
        ", mode: audit",
        ", vpc_endpoints: [vpce-0a1b2c3d]",
        ", protocols: [http]",
    ]);
    let rule = (prop::sample::select(vec!["allow", "allow", "deny"]), hosts, rest);
    let rules = prop::collection::vec(rule, 1..8);
    rules.prop_map(|rules| {
        let rule = |(number, (action, hosts, rest)): (usize, (&str, BTreeSet<&str>, &str))| {
            let hosts: Vec<_> = hosts.into_iter().collect();
            format!("  - {{ name: r{number}, action: {action}, hosts: [{}]{rest} }}\n", hosts.join(", "))
        };
        rules.into_iter().enumerate().map(rule).collect()
    })
}

/// The policy of those rules that `check` takes, one after the other.
fn sound(rules: &[String]) -> (Policy, String) {
    let mut kept = String::new();
    for rule in rules {
        let more = format!("{kept}{rule}");
        if Policy::parse("p.yaml", &format!("version: 1\nrules:\n{more}"), NOW).is_ok() {
            kept = more;
        }
    }
    // The first is always sound: nothing comes before it.
    (policy(&kept), kept)
}

fn hosts() -> Vec<String> {
    ["x.test", "a.x.test", "c.x.test", "b.a.x.test", "c.a.x.test", "d.b.a.x.test", "y.test", "z.y.test", "test"]
        .map(str::to_owned)
        .to_vec()
}
