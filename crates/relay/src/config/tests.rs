use std::fs;
use std::time::Duration;

use super::*;
use crate::settings::{AccessFormat, Destination, Methods, Protocol};

/// Reads `text` as a file beside nothing else.
fn load(text: &str) -> Config {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sekisho.yaml");
    fs::write(&path, text).unwrap();
    Config::load(&path)
}

fn settings(text: &str) -> Settings {
    let config = load(text);
    assert_eq!(config.faults.human(), "");
    config.settings.unwrap()
}

fn codes(text: &str) -> Vec<&'static str> {
    let config = load(text);
    assert_eq!(config.settings.is_none(), config.faults.errors() > 0);
    config.faults.iter().map(|fault| fault.code).collect()
}

const LEAST: &str = "listeners:\n  - { bind: \"0.0.0.0:8443\", destination: redirect }\npolicy: policy.yaml\n";

/// The page of the contract, as far as this version goes.
const PAGE: &str = r#"
listeners:
  - bind: "0.0.0.0:8443"
    protocol: tls              # tls | http | connect
    destination: redirect      # redirect | tproxy | none (then `port:` says which port is dialled; default 443)
policy: policy.yaml
dns:
  servers: ["10.0.0.2:53"]
  ttl: { min: 5s, max: 5m }
  serve_stale: 1h
limits:
  connections: 50000
  connections_per_client: 1000
timeouts: { hello: 10s, connect: 10s, idle: 1h }
access_log: { path: access.jsonl, format: json }
admin: { bind: "127.0.0.1:9180" }
health: { bind: "127.0.0.1:9181" }
log: { level: info, format: text }
shutdown: { lame_duck: 10s, drain: 5m }
threads: auto
"#;

#[test]
fn only_listeners_and_policy_are_required() {
    let least = settings(LEAST);
    let page = settings(PAGE);
    assert_eq!(least.listeners[0].destination, Destination::Redirect);
    assert_eq!(&*least.listeners[0].name, "0.0.0.0:8443");
    assert_eq!(least.policy.file_name().unwrap(), "policy.yaml");
    assert!(least.policy.is_absolute());
    // What the page writes out is what is meant without it.
    assert_eq!(format!("{:?}", least.limits), format!("{:?}", page.limits));
    assert_eq!(format!("{:?}", least.timeouts), format!("{:?}", page.timeouts));
    assert_eq!(format!("{:?}", least.shutdown), format!("{:?}", page.shutdown));
    assert_eq!(format!("{:?}", least.log), format!("{:?}", page.log));
    assert_eq!((least.dns.ttl_min, least.dns.ttl_max), (page.dns.ttl_min, page.dns.ttl_max));
    assert_eq!(least.dns.serve_stale, page.dns.serve_stale);
    assert_eq!(least.admin.unwrap().bind, page.admin.unwrap().bind);
    assert!(least.health.is_none());
    assert_eq!(page.health.unwrap().bind, "127.0.0.1:9181".parse().unwrap());
    assert_eq!(least.access_log.unwrap().path, None, "decisions are recorded on stdout");
    assert_eq!(page.access_log.unwrap().path.unwrap().file_name().unwrap(), "access.jsonl");
    assert!(least.threads >= 1);
}

#[test]
fn every_value_is_taken() {
    let all = settings(
        "listeners:\n  - { name: pair, bind: \"127.0.0.1:1\", destination: none, port: 8443 }\npolicy: /etc/p.yaml\n\
         dns: { servers: [10.0.0.2, \"[2001:db8::1]:5353\"], ttl: { min: 0s, max: 90s }, serve_stale: 0s }\n\
         upstream: { source_addresses: [10.0.0.5, \"2001:db8::5\", 10.0.0.6] }\n\
         limits: { connections: 9, connections_per_client: 8, undecided: 7, hello_handshake: 600, hello_raw: 700 }\n\
         timeouts: { hello: 250ms, connect: 1s, idle: 2s, half_closed: 3s }\nrefusal_alert: unrecognized_name\n\
         access_log: { path: \"-\", format: squid, queue: 5 }\nadmin: off\nhealth: { bind: \"[::]:9181\", allow: [10.0.0.1, \"2001:db8::/32\"] }\n\
         log: { level: debug, format: json }\nshutdown: { lame_duck: 0s, drain: 1s }\nthreads: 3\nsteering: cpu\n",
    );
    assert_eq!(&*all.listeners[0].name, "pair");
    assert_eq!(all.listeners[0].destination, Destination::None { port: 8443 });
    assert_eq!(all.policy, PathBuf::from("/etc/p.yaml"));
    assert_eq!(all.dns.servers, ["10.0.0.2:53".parse().unwrap(), "[2001:db8::1]:5353".parse().unwrap()]);
    assert_eq!((all.dns.ttl_max, all.dns.serve_stale), (Duration::from_secs(90), Duration::ZERO));
    let sources: Vec<_> = all.upstream.source_addresses.iter().map(ToString::to_string).collect();
    assert_eq!(sources, ["10.0.0.5", "2001:db8::5", "10.0.0.6"]);
    assert_eq!((all.limits.connections, all.limits.undecided, all.limits.hello_raw), (9, 7, 700));
    assert_eq!((all.timeouts.hello, all.timeouts.half_closed), (Duration::from_millis(250), Duration::from_secs(3)));
    assert_eq!(all.refusal_alert, RefusalAlert::UnrecognizedName);
    let log = all.access_log.unwrap();
    assert_eq!((log.path, log.format, log.queue), (None, AccessFormat::Squid, 5));
    assert!(!log.ja4 && settings(&format!("{LEAST}access_log: {{ ja4: true }}\n")).access_log.unwrap().ja4);
    assert!(all.admin.is_none() && all.log.json && all.log.level == tracing::Level::DEBUG);
    let health = all.health.unwrap();
    assert!(health.admits("10.0.0.1".parse().unwrap()) && !health.admits("10.0.0.2".parse().unwrap()));
    assert!(all.steering && !settings(LEAST).steering);
    assert_eq!((all.threads, all.shutdown.lame_duck), (3, Duration::ZERO));
}

#[test]
fn all_faults_are_told_at_once_and_the_policy_is_still_known() {
    let config = load(
        "listeners:\n  - { bind: \"0.0.0.0\", destination: tproxy }\n  - { bind: \"[::]:1\", destination: redirect, port: 1 }\n\
         policy: p.yaml\nthreads: many\nlimits: { connections: 0, conections: 5 }\ntimeouts: { idle: 10 }\n",
    );
    let found: Vec<_> = config.faults.iter().map(|fault| (fault.code, fault.location.as_ref().unwrap().line)).collect();
    assert_eq!(
        found,
        [
            ("bad-address", 2),
            ("port-of-redirect", 3),
            ("wrong-type", 5),
            ("wrong-type", 6),
            ("unknown-key", 6),
            ("bad-duration", 7),
        ],
        "{}",
        config.faults.human()
    );
    assert!(config.settings.is_none());
    assert_eq!(config.policy.unwrap().file_name().unwrap(), "p.yaml");
}

#[test]
fn every_way_in_has_its_values() {
    let listeners = |text: &str| settings(&format!("listeners:\n{text}policy: p\n")).listeners;
    let all = listeners(
        "  - { bind: \"0.0.0.0:1\", destination: redirect, protocol: http }\n\
         \x20 - { bind: \"0.0.0.0:2\", destination: none, protocol: http, methods: [GET, PUT, GET] }\n\
         \x20 - { bind: \"0.0.0.0:3\", destination: none, protocol: connect }\n\
         \x20 - { bind: \"0.0.0.0:4\", destination: none, protocol: connect, connect_ports: [8443, 443], methods: [GET] }\n\
         \x20 - { bind: \"0.0.0.0:5\", destination: none, proxy_protocol: { from: [10.0.0.0/24, \"2001:db8::1\"] } }\n\
         \x20 - { bind: \"[::]:6\", destination: tproxy, name: front, socket: handed_over }\n\
         \x20 - { bind: \"0.0.0.0:6\", destination: redirect, send_proxy_protocol: v2, health_checks: { from: [10.0.0.9] } }\n\
         \x20 - { bind: \"0.0.0.0:7\", destination: redirect, send_proxy_protocol: off }\n",
    );
    assert_eq!((all[5].destination, all[5].handed_over, all[0].handed_over), (Destination::Tproxy, true, false));
    let methods = |names: &[&str]| -> Methods { names.iter().map(|&name| name.into()).collect() };
    assert_eq!(all[0].protocol, Protocol::Http(methods(&["GET", "HEAD"])));
    assert_eq!(all[1].protocol, Protocol::Http(methods(&["GET", "PUT"])));
    assert_eq!(all[1].destination, Destination::None { port: 80 });
    assert_eq!(all[2].protocol, Protocol::Connect { ports: [443].into(), methods: methods(&["GET", "HEAD"]) });
    assert_eq!(all[3].protocol, Protocol::Connect { ports: [443, 8443].into(), methods: methods(&["GET"]) });
    let from: Vec<_> = all[4].proxy_protocol.as_ref().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        (from, all[4].destination),
        (vec!["10.0.0.0/24".into(), "2001:db8::1/128".into()], Destination::None { port: 443 })
    );
    let sends: Vec<_> = all.iter().map(|listener| listener.send_proxy_protocol).collect();
    assert_eq!(sends, [false, false, false, false, false, false, true, false]);
    let checker = |text: &str| all[6].is_checked_from(text.parse().unwrap());
    assert!(checker("10.0.0.9") && !checker("10.0.0.8") && !all[0].is_checked_from("10.0.0.9".parse().unwrap()));
}

#[test]
fn a_socket_for_both_families_shares_its_port_with_neither() {
    let with = |other: &str, form: &str| {
        let both = format!("{{ bind: \"[::]:1\", destination: none{form} }}");
        codes(&format!("listeners:\n  - {both}\n  - {{ bind: \"{other}\", destination: none }}\npolicy: p\n"))
    };
    for other in ["0.0.0.0:1", "10.0.0.1:1"] {
        assert!(with(other, "").is_empty(), "{other}");
        assert_eq!(with(other, ", ipv6_only: false"), ["shared-address"], "{other}");
    }
    assert!(with("10.0.0.1:2", ", ipv6_only: false").is_empty());
}

#[test]
fn ways_in_that_make_no_sense_are_refused() {
    for (keys, codes_of) in [
        ("destination: redirect, protocol: connect", &["bad-combination"][..]),
        ("destination: redirect, proxy_protocol: { from: [10.0.0.0/24] }", &["bad-combination"]),
        ("destination: none, protocol: connect, port: 443", &["bad-combination"]),
        ("destination: none, connect_ports: [443]", &["bad-combination"]),
        ("destination: none, methods: [GET]", &["bad-combination"]),
        ("destination: none, protocol: http, methods: []", &["empty-list"]),
        ("destination: none, protocol: http, methods: [get]", &["bad-method"]),
        ("destination: none, protocol: http, methods: [CONNECT]", &["bad-method"]),
        ("destination: none, protocol: http, methods: [TRACE]", &["bad-method"]),
        ("destination: none, proxy_protocol: {}", &["missing-key"]),
        ("destination: none, proxy_protocol: { from: [] }", &["empty-list"]),
        ("destination: none, proxy_protocol: { from: [10.0.0.0/33] }", &["bad-cidr"]),
        ("destination: tproxy", &[]),
        ("destination: tproxy, protocol: http", &[]),
        ("destination: tproxy, port: 443", &["port-of-redirect"]),
        ("destination: tproxy, protocol: connect", &["bad-combination"]),
        ("destination: tproxy, proxy_protocol: { from: [10.0.0.0/24] }", &["bad-combination"]),
        ("destination: tproxy, socket: handed_over, name: front", &[]),
        ("destination: none, socket: bind", &[]),
        ("destination: none, socket: systemd", &["unknown-word"]),
        ("destination: none, ipv6_only: true", &[]),
        ("destination: none, ipv6_only: false", &["bad-combination"]),
        ("destination: none, ipv6_only: maybe", &["wrong-type"]),
        // What the listener is called where it has no name of its own has a colon.
        ("destination: none, socket: handed_over", &["bad-socket-name"]),
        ("destination: none, socket: handed_over, name: \"a:b\"", &["bad-socket-name"]),
        ("destination: none, socket: handed_over, name: 関所", &["bad-socket-name"]),
        ("destination: none, send_proxy_protocol: v1", &["unknown-word"]),
        ("destination: none, health_checks: {}", &["missing-key"]),
        ("destination: none, health_checks: { from: [] }", &["empty-list"]),
        (
            "destination: none, proxy_protocol: { from: [10.0.0.0/24] }, health_checks: { from: [10.1.0.1, 10.0.0.9] }",
            &["bad-combination"],
        ),
        (
            "destination: none, proxy_protocol: { from: [10.0.0.9] }, health_checks: { from: [10.0.0.0/24] }",
            &["bad-combination"],
        ),
    ] {
        let text = format!("listeners:\n  - {{ bind: \"0.0.0.0:1\", {keys} }}\npolicy: p\n");
        assert_eq!(codes(&text), codes_of, "{keys}");
    }
}

#[test]
fn sockets_that_would_take_each_others_connections() {
    for (text, code) in [
        ("admin: { bind: \"127.0.0.1:8443\" }\n", "shared-address"),
        ("health: { bind: \"0.0.0.0:9180\" }\n", "shared-address"),
        ("admin: { bind: \"10.0.0.1:9180\" }\n", "admin-open"),
        ("admin: { bind: \"127.0.0.1:9180\", allow: [] }\n", "empty-list"),
        ("admin: { bind: \"127.0.0.1:9180\", allow: [10.0.0.0/33] }\n", "bad-cidr"),
        ("health: {}\n", "missing-key"),
        ("health: { bind: \"127.0.0.1:9\", allow: [] }\n", "empty-list"),
        ("dns: { servers: [] }\n", "dns-server-count"),
        ("dns: { ttl: { min: 10s, max: 5s } }\n", "out-of-range"),
        ("timeouts: { hello: 0s }\n", "out-of-range"),
        ("access_log: { format: squid, ja4: true }\n", "bad-combination"),
        ("access_log: { ja4: always }\n", "wrong-type"),
    ] {
        assert_eq!(codes(&format!("{LEAST}{text}")), [code], "{text}");
    }
    let two = "listeners:\n  - { bind: \"0.0.0.0:1\", destination: redirect }\n  - { bind: \"0.0.0.0:1\", destination: redirect }\npolicy: p\n";
    assert_eq!(codes(two), ["duplicate-listener", "shared-address"]);
    assert_eq!(codes("listeners: []\npolicy: p\n"), ["listener-count"]);
}

#[test]
fn addresses_that_nothing_can_be_dialled_from() {
    for (list, code) in [
        ("[]", "source-address-count"),
        ("[10.0.0.5:443]", "bad-address"),
        ("[0.0.0.0]", "bad-source-address"),
        ("[\"::\"]", "bad-source-address"),
        ("[224.0.0.1]", "bad-source-address"),
        ("[255.255.255.255]", "bad-source-address"),
        ("[\"ff02::1\"]", "bad-source-address"),
        ("[127.0.0.1]", "bad-source-address"),
        ("[\"fe80::1\"]", "bad-source-address"),
        ("[\"::ffff:10.0.0.5\"]", "bad-source-address"),
        ("[10.0.0.5, 10.0.0.6, 10.0.0.5]", "bad-source-address"),
    ] {
        assert_eq!(codes(&format!("{LEAST}upstream: {{ source_addresses: {list} }}\n")), [code], "{list}");
    }
    let many: Vec<_> = (1..=65).map(|host| format!("10.0.0.{host}")).collect();
    let text = format!("{LEAST}upstream: {{ source_addresses: [{}] }}\n", many.join(", "));
    assert_eq!(codes(&text), ["source-address-count"]);
}

#[test]
fn prefixes_that_are_no_translators() {
    for (list, codes_of) in [
        ("[\"64:ff9b::/96\", \"2001:db8:64::/48\"]", &[][..]),
        ("[]", &["prefix-count"]),
        ("[\"64:ff9b::\"]", &["bad-prefix"]),
        ("[10.0.0.0/8]", &["bad-prefix"]),
        ("[\"64:ff9b::/80\"]", &["bad-prefix"]),
        ("[\"64:ff9b::1/96\"]", &["bad-prefix"]),
    ] {
        assert_eq!(codes(&format!("{LEAST}upstream: {{ nat64: {list} }}\n")), codes_of, "{list}");
    }
}

#[test]
fn files_that_are_no_configuration() {
    assert_eq!(codes(""), ["wrong-type"]);
    assert_eq!(codes("{}"), ["missing-key", "missing-key"]);
    assert_eq!(codes("a: &a [*a]"), ["yaml-anchor"]);
    let missing = Config::load(Path::new("/nonexistent/sekisho.yaml"));
    assert_eq!(missing.faults.iter().map(|fault| fault.code).collect::<Vec<_>>(), ["unreadable-file"]);
}
