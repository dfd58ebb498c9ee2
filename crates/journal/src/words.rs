//! What to change at the client, by the reason label that the log has (docs/reasons.md has the whole story of each).

/// A reason that no rule can mend, in the log's word, and the change.
pub(crate) fn remedy(reason: &str) -> (&'static str, &'static str) {
    for (label, change) in REMEDIES {
        if *label == reason {
            return (label, change);
        }
    }
    ("other", "see the reasons page")
}

/// What S3 leaves open in the name.
pub(crate) const PATH_STYLE: &str = "the bucket is said inside TLS, where the gate cannot see it. Set virtual-hosted \
    addressing (`aws configure set default.s3.addressing_style virtual`; in boto3 \
    `Config(s3={\"addressing_style\": \"virtual\"})`), and name the bucket with its region: `aws s3 ls` alone and \
    GetBucketLocation are always path-style";
pub(crate) const DOTTED: &str =
    "the bucket's name has a dot, so over TLS SDKs reach it by path. Copy the data to a bucket without one";
pub(crate) const WEBSITE: &str = "S3 websites answer plain HTTP only. Use the bucket's REST name, or plain HTTP";

pub(crate) const UPSTREAM: &str = "its rule allows the name, but not the private address that it leads to (`upstream` in the \
    log). Give that rule `upstream:` with the networks of the interface endpoint";
pub(crate) const REGION: &str = "this version does not know the region. If it is real, list the name in a rule with \
    `acknowledge: [unknown_region]`; if not, correct it at the client";

const REMEDIES: &[(&str, &str)] = &[
    (
        "no_sni",
        "the client sends no server name. Let it use the host's name instead of an address, and a TLS library that sends SNI",
    ),
    ("invalid_name", "the client names an address, or what is no host name. Let it use the host's name"),
    ("not_tls", "what the client sends is not TLS. Let it use https"),
    ("multiple_names", "the hello has several server names. Bring the client's TLS library up to date"),
    ("duplicate_extension", "the hello has an extension twice. Bring the client's TLS library up to date"),
    ("malformed", "the hello's bytes have no single reading. Bring the client's TLS library up to date"),
    ("obsolete_protocol", "the client speaks a protocol older than TLS 1.0. Bring it up to date"),
    ("hello_too_large", "the hello is over the cap. Raise `limits.hello_handshake` if the client is as it should be"),
    ("hello_timeout", "no whole hello came in time. Look at what connects and sends nothing, such as a port scan"),
    ("not_redirected", "the client dialled the gate itself. Let it dial the host, by its name"),
    ("over_connection_limit", "the gate had as many connections as it may. Raise `limits.connections`"),
    ("over_client_limit", "the client had as many connections as it may. Raise `limits.connections_per_client`"),
    (
        "forbidden_address",
        "the name leads to an address that may never be dialled, or that only a rule's `upstream:` can permit",
    ),
    ("denied_by_rule", "a deny rule names it. Take it out of that rule if it is to be reached"),
    ("sni_changed", "the second hello named another host. Bring the client's TLS library up to date"),
    (
        "sni_mismatch",
        "the name inside the tunnel was not the one that CONNECT asked for. Let the client ask for what it wants",
    ),
    (
        "ech_denied",
        "its rule has a word on hellos with an encrypted_client_hello extension. Switch ECH off at the client, or leave `ech` out of \
         that rule",
    ),
    (
        "destination_mismatch",
        "the client dialled an address that is none of the name's. Let it ask the resolver that the gate asks, or find out who \
         dials that address",
    ),
    ("no_rule", "no rule lists it; `--refused` takes such connections too"),
    ("rule_expired", "its rule has expired; `--refused` takes such connections too"),
    ("name_not_found", "the name has no address, so nothing was reached. Correct it at the client"),
    ("dns_failed", "no answer from DNS, so nothing was reached and nothing is learned. Look again when it works"),
    ("connect_failed", "nothing answered at the name's addresses, so nothing is learned. Look again when it does"),
    ("connect_timeout", "nothing answered at the name's addresses, so nothing is learned. Look again when it does"),
    ("ports_exhausted", "the gate had no port left to dial with, so nothing is learned. Look again"),
    ("descriptors_exhausted", "the gate had no descriptor left to dial with, so nothing is learned. Look again"),
    ("client_closed", "the client left before it had asked"),
    ("probe", "a health check, which asked for nothing"),
    ("proxy_header_missing", "its balancer sent no PROXY header. Switch the PROXY protocol on there"),
    ("proxy_header_malformed", "the PROXY header has no single reading. Find out what sends it"),
    (
        "proxy_header_untrusted",
        "the sender may not speak for others. Add the balancer to `proxy_protocol.from`, or let the client dial it",
    ),
    (
        "bad_request",
        "the request is malformed, or two servers would read it differently. Bring the client's HTTP library up to date",
    ),
    ("method_not_allowed", "the listener does not serve the method. Add it to `methods` if it is needed"),
    (
        "target_not_allowed",
        "a CONNECT to an address, or to a port outside `connect_ports`. Let the client ask by name, or add the port",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_that_the_policy_knows_has_a_word() {
        for reason in sekisho_policy::Reason::ALL.iter().filter(|reason| reason.label() != "audit_rule") {
            assert_eq!(remedy(reason.label()).0, reason.label());
        }
        assert_eq!(remedy("of a later version").0, "other");
    }
}
