//! `sekisho check`: every fault of the configuration and of the policy with all its files.

use std::io;
use std::path::Path;

use sekisho_policy::diagnostic::visible;
use sekisho_policy::{Diagnostic, Diagnostics, OnMismatch, Policy, RuleInfo};

use super::{CheckFormat, Done, print, shown};
use crate::config::Config;
use crate::settings::{Destination, Listener, Protocol, Settings};

pub(super) fn check(path: &Path, format: CheckFormat, deny_warnings: bool) -> io::Result<Done> {
    let Config { settings, policy, mut faults } = Config::load(path);
    let (mut good, mut report) = (String::new(), serde_json::Value::Null);
    if let Some(settings) = &settings {
        warn_of_balancers(settings, &mut faults);
    }
    if let Some(policy) = policy {
        match Policy::load(&policy, unix_now()) {
            Ok(loaded) => {
                if let Some(settings) = &settings {
                    warn_of_unknowns(settings, &loaded.policy, &mut faults);
                }
                let (rules, digest) = (loaded.policy.rules().len(), loaded.policy.digest());
                good = format!("{}: {rules} rules, digest {digest}\n", policy.display());
                report = serde_json::json!({ "file": policy.display().to_string(), "rules": rules, "digest": digest });
                faults.extend(loaded.warnings);
            }
            Err(found) => faults.extend(found),
        }
    }
    let wrong = faults.errors() > 0 || (deny_warnings && faults.warnings() > 0);
    let text = match format {
        CheckFormat::Human if faults.is_empty() => format!("no faults\n{good}"),
        CheckFormat::Human if faults.errors() == 0 => format!("{}{good}", shown(&faults, &io::stdout())),
        CheckFormat::Human => shown(&faults, &io::stdout()),
        CheckFormat::Json => format!("{:#}\n", with_policy(faults.json(), report)),
        CheckFormat::Sarif => format!("{:#}\n", faults.sarif()),
        CheckFormat::Github => faults.github(),
    };
    print(text.as_bytes())?;
    Ok(if wrong { Done::Wrong } else { Done::Right })
}

/// The faults' report, with what the policy is where it loads: a job can compare the digest.
fn with_policy(mut faults: serde_json::Value, policy: serde_json::Value) -> serde_json::Value {
    if let Some(object) = faults.as_object_mut().filter(|_| !policy.is_null()) {
        object.insert("policy".to_owned(), policy);
    }
    faults
}

/// Conditions of rules on what no listener of this node learns.
fn warn_of_unknowns(settings: &Settings, policy: &Policy, faults: &mut Diagnostics) {
    let named = |rule: &RuleInfo| (format!("`{}`", visible(&rule.name)), format!("the rule is at {}", rule.place));
    let headers = settings.listeners.iter().any(|listener| listener.proxy_protocol.is_some());
    for rule in policy.rules().iter().filter(|rule| rule.vpc_endpoints.is_some() && !headers) {
        let (name, place) = named(rule);
        let message =
            format!("no listener reads a PROXY header, so the rule {name} with `vpc_endpoints` can never match here");
        let help = "add `proxy_protocol` to the listener behind the balancer, or take `vpc_endpoints` off the rule";
        faults.push(Diagnostic::warning("endpoint-never-known", message).help(help).note(place));
    }
    // Whom a proxy's client dialled is the proxy.
    let direct = || settings.listeners.iter().filter(|listener| !matches!(listener.protocol, Protocol::Connect { .. }));
    let heard = direct().find(|listener| listener.proxy_protocol.is_some());
    let known = direct().any(|listener| !matches!(listener.destination, Destination::None { .. }));
    for rule in policy.rules().iter().filter(|rule| rule.on_mismatch == OnMismatch::Refuse) {
        let (name, place) = named(rule);
        let (code, message, help) = match heard {
            Some(listener) => (
                "mismatch-of-balancer",
                format!(
                    "`on_mismatch: refuse` of the rule {name} compares what the PROXY headers of listener `{}` say that clients dialled",
                    visible(&listener.name)
                ),
                "where clients dial the balancer itself, each connection would be refused: take `on_mismatch` off the rule then",
            ),
            None if !known => (
                "mismatch-never-known",
                format!(
                    "no listener learns what its clients dialled, so `on_mismatch` of the rule {name} does nothing here"
                ),
                "take it off the rule, unless other nodes with this policy have such listeners",
            ),
            None => continue,
        };
        faults.push(Diagnostic::warning(code, message).help(help).note(place));
    }
}

/// A listener that is dialled itself and reads no PROXY header has one client only, unless it is a proxy: that is dialled by
/// its clients.
fn warn_of_balancers(settings: &Settings, faults: &mut Diagnostics) {
    let one_client = |listener: &&Listener| {
        matches!(listener.destination, Destination::None { .. })
            && listener.proxy_protocol.is_none()
            && !matches!(listener.protocol, Protocol::Connect { .. })
    };
    for listener in settings.listeners.iter().filter(one_client) {
        let name = &listener.name;
        let fault = Diagnostic::warning("balancer-is-client", format!("the only client of listener `{name}` is its balancer"))
            .help("`clients` of rules and `limits.connections_per_client` mean the balancer here: leave `clients` out, and raise that limit");
        faults.push(fault);
    }
}

/// Seconds since 1970, UTC.
pub(super) fn unix_now() -> i64 {
    jiff::Timestamp::now().as_second()
}
