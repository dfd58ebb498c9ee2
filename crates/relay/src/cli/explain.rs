//! `sekisho explain`: what the gate would say to one request, and why.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use sekisho_name::Name;
use sekisho_policy::{Decision, Disk, Mode, Policy, Protocol, Request, Upstream};
use sekisho_resolve::Resolver;
use serde::Serialize;
use serde_json::json;

use super::check::unix_now;
use super::{ConfigFile, Done, Format, complain, complain_of, print};
use crate::app::resolver_settings;
use crate::config::Config;
use crate::guard::{Class, Judgement, judge};
use crate::settings::Settings;

/// How long the name servers have.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    /// The host that a client asks for
    host: String,
    /// The client's address [default: 127.0.0.1]
    #[arg(long, value_name = "IP")]
    from: Option<IpAddr>,
    /// The port that it dials [default: 443, or 80 for http]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// The time to decide at, `2027-03-31` (noon UTC) or a full RFC 3339 time [default: now]
    #[arg(long, value_name = "DATE", value_parser = instant)]
    at: Option<i64>,
    /// How it asks
    #[arg(long, value_enum, default_value_t)]
    protocol: Way,
    /// The VPC endpoint that it comes through, as a balancer's PROXY header says
    #[arg(long, value_name = "ID", value_parser = vpc_endpoint)]
    vpce: Option<String>,
    /// Its hello has an `encrypted_client_hello` extension, as browsers' have
    #[arg(long)]
    ech: bool,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Do not ask DNS for the host's addresses
    #[arg(long)]
    no_dns: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Way {
    #[default]
    Tls,
    Http,
    /// Decided as tls
    Connect,
}

/// The policy's explanation and the gate's addresses.
#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    explanation: sekisho_policy::Explanation,
    /// The addresses of a host that is let through, as DNS gives them now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<Address>,
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    unresolved: Option<String>,
    /// The shortest safe edit of the policy that allows the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<sekisho_policy::Patch>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_patch: Option<String>,
}

#[derive(Serialize)]
struct Address {
    address: IpAddr,
    dialled: bool,
    class: &'static str,
}

pub(super) fn explain(arguments: &Arguments) -> io::Result<Done> {
    let Config { settings, faults, .. } = Config::load(&arguments.config.path);
    let Some(settings) = settings else { return Ok(complain_of(&faults)) };
    let now = arguments.at.unwrap_or_else(unix_now);
    let policy = match Policy::load(&settings.policy, now) {
        Ok(loaded) => loaded.policy,
        Err(faults) => return Ok(complain_of(&faults)),
    };
    let name = match Name::parse(&arguments.host) {
        Ok(name) => name,
        Err(why) => {
            if matches!(arguments.format, Format::Json) {
                let refused = json!({
                    "host": arguments.host,
                    "verdict": "refused",
                    "reason": "invalid_name",
                    "detail": why.to_string(),
                });
                print(format!("{refused:#}\n").as_bytes())?;
                return Ok(Done::Wrong);
            }
            complain(&format!(
                "error: `{}` {why}, so the gate refuses it (invalid_name) whatever the policy says; write the plain host name",
                arguments.host.escape_debug()
            ));
            return Ok(Done::Wrong);
        }
    };
    let protocol = match arguments.protocol {
        Way::Http => Protocol::Http,
        Way::Tls | Way::Connect => Protocol::Tls,
    };
    let port = arguments.port.unwrap_or_else(|| protocol.default_port());
    let client = arguments.from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let request =
        Request { name: &name, client, port, protocol, now, vpce: arguments.vpce.as_deref(), ech: arguments.ech };
    let decision = policy.decide(&request);
    let (patch, no_patch) = match Policy::patch(&settings.policy, &Disk, &request, arguments.from.is_none()) {
        Ok(patch) => (patch, None),
        Err(why) => (None, Some(why)),
    };
    let explanation = policy.explain(&request);
    let mut answer = Answer { explanation, addresses: Vec::new(), unresolved: None, patch, no_patch };
    if arguments.from.is_none()
        && answer.explanation.near.iter().any(|miss| miss.by.iter().any(|by| by.starts_with("the client:")))
    {
        answer.explanation.hints.insert(
            0,
            "without `--from` the client is taken to be 127.0.0.1: give the client's own address".to_owned(),
        );
    }
    // A name that is refused is never resolved by the gate, and so not here either.
    if !arguments.no_dns && !matches!(decision, Decision::Refuse { .. }) {
        let upstream = policy.upstream(decision.rule());
        match addresses(&settings, &name, upstream, policy.mode() == Mode::Audit) {
            Ok(found) => answer.addresses = found,
            Err(why) => answer.unresolved = Some(why),
        }
    }
    match arguments.format {
        Format::Json => print(format!("{:#}\n", serde_json::to_value(&answer)?).as_bytes()),
        Format::Human => print(human(&answer).as_bytes()),
    }
}

fn human(answer: &Answer) -> String {
    let mut out = answer.explanation.to_string();
    // Writing to a String cannot fail.
    if !answer.addresses.is_empty() {
        out.push_str("\naddresses:\n");
        for Address { address, dialled, class } in &answer.addresses {
            let verdict = if *dialled {
                "may be dialled"
            } else if *class == Class::Never.label() {
                "forbidden_address: no `upstream:` permits it"
            } else {
                "forbidden_address: not permitted by the rule's `upstream:`"
            };
            let _ = writeln!(out, "  {address}  {class}, {verdict}");
        }
    }
    if let Some(why) = &answer.unresolved {
        let _ = writeln!(out, "\naddresses: none: {why}");
    }
    if let Some(sekisho_policy::Patch { about, diff, opens }) = &answer.patch {
        let _ = write!(out, "\nshortest safe edit, {about}:\n{diff}\nit opens:\n");
        for line in opens {
            let _ = writeln!(out, "  {line}");
        }
    }
    if let Some(why) = &answer.no_patch {
        let _ = writeln!(out, "\nno patch: {why}");
    }
    out
}

/// Asks the node's own servers, and the guard about each address.
fn addresses(settings: &Settings, name: &Name, upstream: &Upstream, audit: bool) -> Result<Vec<Address>, String> {
    let resolver = Resolver::start(resolver_settings(settings)).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(|e| e.to_string())?;
    let resolved = runtime.block_on(async { tokio::time::timeout(PATIENCE, resolver.resolve(name)).await });
    let resolved = match resolved {
        Ok(Ok(resolved)) => resolved,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("no answer in time".to_owned()),
    };
    let judged = resolved.answer.addresses.iter().map(|&address| {
        let judgement = judge(address, upstream, audit, &settings.upstream.nat64);
        Address {
            address,
            dialled: !matches!(judgement, Judgement::Forbidden(_)),
            class: crate::guard::class_of(address, &settings.upstream.nat64).label(),
        }
    });
    Ok(judged.collect())
}

fn vpc_endpoint(text: &str) -> Result<String, String> {
    let valid = sekisho_policy::is_vpc_endpoint(text);
    valid.then(|| text.to_owned()).ok_or("write `vpce-` and the 8 or 17 hexadecimal digits that AWS shows".to_owned())
}

/// A date (its noon, UTC) or a full time, in Unix seconds.
pub(super) fn instant(text: &str) -> Result<i64, String> {
    if let Ok(date) = text.parse::<Date>()
        && text.len() == "2027-03-31".len()
    {
        let noon = TimeZone::UTC.to_timestamp(date.at(12, 0, 0, 0)).map_err(|error| error.to_string())?;
        return Ok(noon.as_second());
    }
    let time: Timestamp = text.parse().map_err(|_| "write `2027-03-31` or `2027-03-31T18:00:00+09:00`".to_owned())?;
    Ok(time.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_its_noon() {
        assert_eq!(instant("1970-01-02"), Ok(86_400 + 43_200));
        assert_eq!(instant("1970-01-02T00:00:00Z"), Ok(86_400));
        assert_eq!(instant("1970-01-02T09:00:00+09:00"), Ok(86_400));
        assert!(instant("tomorrow").is_err());
        assert!(instant("2027-02-30").is_err());
    }
}
