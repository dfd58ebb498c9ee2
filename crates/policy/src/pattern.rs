//! One listed name as an author writes it: `host`, `*.parent`, `.domain`, or `*-ACCOUNT-REGION-an.s3…`.

use std::borrow::Cow;

use sekisho_name::Name;

use crate::index::{self, Shape};
use crate::s3;

/// Reads a listed name. The text that comes back is what the index holds: lowercase, without `*` or the leading dot.
///
/// # Errors
/// What is wrong, in words that follow the name, and what to write instead.
pub(crate) fn parse(text: &str) -> Result<(Shape, Cow<'_, str>), (String, String)> {
    // A list may have a million of these two, so they come first; all else asks what it may be instead.
    let (shape, bare) = text.strip_prefix('.').map_or((Shape::Exact, text), |domain| (Shape::Below, domain));
    let why = match Name::spelling(bare) {
        Ok(name) => return plain(shape, name),
        Err(why) => why,
    };
    if let Some((scheme, rest)) = text.split_once("://") {
        let host = rest.split(['/', ':', '?']).next().unwrap_or_default();
        return Err((format!("is an address with a scheme ({scheme})"), format!("write the host alone: `{host}`")));
    }
    if let Some((host, _)) = text.split_once('/') {
        return Err(("has a path".to_owned(), format!("write the host alone: `{host}`; TLS shows no path")));
    }
    if let Some((host, port)) = text.rsplit_once(':').filter(|(host, _)| !host.contains(':'))
        && port.parse::<u16>().is_ok()
    {
        return Err(("has a port".to_owned(), format!("write `{host}`, and `ports: [{port}]` in the rule")));
    }
    if let Some(rest) = text.strip_prefix("*.") {
        return pattern(Shape::OneLabel, rest);
    }
    if let Some(rest) = text.strip_prefix('.') {
        return pattern(Shape::Below, rest);
    }
    if let Some(rest) = text.strip_prefix('*') {
        // Any first label with this ending: `x` stands for what the wildcard covers.
        let name = Name::parse(&format!("x{rest}")).map_err(|why| (why.to_string(), String::new()))?;
        return match index::ending(name.as_str()) {
            Some(ending) if ending.len() + 1 == name.as_str().len() && s3::of_one_account(name.as_str()) => {
                Ok((Shape::Ending, Cow::Owned(ending.to_owned())))
            }
            _ => Err(("has a `*` that stands for a part of a label".to_owned(), WILDCARDS.to_owned())),
        };
    }
    if text.contains('*') {
        return Err(("has a `*` that is not at its beginning".to_owned(), WILDCARDS.to_owned()));
    }
    Err((why.to_string(), advice(text)))
}

const WILDCARDS: &str = "write `*.domain` for one label, `.domain` for a domain and all below it, or `*-ACCOUNT-REGION-an.s3…` for one account's buckets";

fn pattern(shape: Shape, rest: &str) -> Result<(Shape, Cow<'_, str>), (String, String)> {
    if rest.contains('*') {
        return Err(("has more than one `*`".to_owned(), WILDCARDS.to_owned()));
    }
    plain(shape, Name::spelling(rest).map_err(|why| (why.to_string(), advice(rest)))?)
}

fn plain(shape: Shape, name: Cow<'_, str>) -> Result<(Shape, Cow<'_, str>), (String, String)> {
    if shape != Shape::Exact && name.contains('_') {
        let why = "has an underscore, and no pattern matches a name that has one".to_owned();
        return Err((why, "list the exact names".to_owned()));
    }
    Ok((shape, name))
}

fn advice(text: &str) -> String {
    match text.strip_suffix('.') {
        Some(bare) if Name::parse(bare).is_ok() => format!("write it without the last dot: `{bare}`"),
        _ if text.parse::<std::net::IpAddr>().is_ok() => {
            "list the name that clients ask for: TLS carries no address as a server name".to_owned()
        }
        _ => "write a host name like `bucket.s3.ap-northeast-1.amazonaws.com`".to_owned(),
    }
}

/// A listed name as an author would write it.
pub(crate) fn spell(shape: Shape, text: &str) -> String {
    let prefix = match shape {
        Shape::Exact => "",
        Shape::OneLabel => "*.",
        Shape::Below => ".",
        Shape::Ending => "*",
    };
    format!("{prefix}{text}")
}
