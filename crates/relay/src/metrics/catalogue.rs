//! Every metric that there is: its name, kind, labels and help. The documentation is compared with this by a test.

use prometheus::proto::MetricType;

/// What is known of a metric beforehand.
#[derive(Clone, Copy, Debug)]
pub struct Described {
    /// Its name.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: MetricType,
    /// Its labels, in order.
    pub labels: &'static [&'static str],
    /// What it means, in one line.
    pub help: &'static str,
}

macro_rules! catalogue {
    ($($constant:ident = $name:literal, $kind:ident, [$($label:literal),*], $help:literal;)*) => {
        $(pub(super) const $constant: Described =
            Described { name: $name, kind: MetricType::$kind, labels: &[$($label),*], help: $help };)*
        /// All of them but the process's own (`process_*`), in the order of the documentation.
        pub const ALL: &[Described] = &[$($constant,)*];
    };
}

catalogue! {
    CONNECTIONS = "sekisho_connections_total", COUNTER, ["listener", "verdict", "reason"],
        "Connections that have ended, by the gate's word on them";
    ACTIVE = "sekisho_connections_active", GAUGE, ["listener"], "Connections that are open";
    DESTINATIONS = "sekisho_destination_matches_total", COUNTER, ["listener", "match"],
        "Connections whose client had dialled an address that is, or is not, one of its name's";
    CONNECTIONS_LIMIT = "sekisho_connections_limit", GAUGE, [], "Connections that may be open";
    CLIENT_LIMIT = "sekisho_connections_per_client_limit", GAUGE, [], "Connections that one client may have open";
    DESCRIPTORS_LIMIT = "sekisho_descriptors_limit", GAUGE, [], "File descriptors that this process may have open";
    DESCRIPTORS = "sekisho_descriptors", GAUGE, [], "File descriptors that this process has open";
    SOURCE_EXHAUSTED = "sekisho_source_exhausted_total", COUNTER, ["source"],
        "Dials that found no port left at a source address";
    BYTES = "sekisho_bytes_total", COUNTER, ["direction"], "Bytes relayed, counted as they move";
    RULE_BYTES = "sekisho_rule_bytes_total", COUNTER, ["rule", "direction"],
        "Bytes of the connections that a rule decided, counted as they end";
    RULE_DECISIONS = "sekisho_rule_decisions_total", COUNTER, ["rule", "decision"],
        "Connections that a rule decided, counted as they end";
    HELLO = "sekisho_hello_seconds", HISTOGRAM, [], "From accept until the hello was whole";
    CONNECT = "sekisho_connect_seconds", HISTOGRAM, [], "Time spent dialling";
    DNS_LOOKUPS = "sekisho_dns_lookups_total", COUNTER, ["result"], "Lookups asked of DNS servers";
    DNS_SECONDS = "sekisho_dns_lookup_seconds", HISTOGRAM, [], "Time that lookups took";
    RELOADS = "sekisho_policy_reloads_total", COUNTER, ["result"], "Attempts to load a changed policy";
    POLICY_INFO = "sekisho_policy_info", GAUGE, ["digest"], "1, with the digest of the policy in force";
    POLICY_RULES = "sekisho_policy_rules", GAUGE, [], "Rules of the policy in force";
    RULE_EXPIRES = "sekisho_rule_expires_timestamp_seconds", GAUGE, ["rule"],
        "The last second in which a rule is valid, of rules that expire";
    POLICY_DIFFERS = "sekisho_policy_differs", GAUGE, [],
        "1 while the policy's files are not what is in force: written in place, or faulty";
    LOST = "sekisho_access_log_lost_total", COUNTER, [], "Access log records that could not be kept";
    READY = "sekisho_ready", GAUGE, [], "1 while this node should get traffic";
    BUILD = "sekisho_build_info", GAUGE, ["version"], "1, with the version of this program";
}
