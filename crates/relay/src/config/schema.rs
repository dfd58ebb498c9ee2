//! A JSON Schema of sekisho.yaml, its keys the reader's own.

use serde_json::{Map, Value, json};

use super::KEYS;

/// The schema, draft 2020-12. Bounds of numbers and durations are `check`'s to say.
pub fn schema() -> Value {
    let mut whole = mapping("");
    if let Value::Object(entries) = &mut whole {
        entries.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        entries.insert("title".to_owned(), json!("sekisho configuration"));
    }
    whole
}

/// A mapping by its key, as in [`KEYS`].
fn mapping(of: &str) -> Value {
    let keys = KEYS.iter().find(|(key, _)| *key == of).map_or(&[][..], |(_, keys)| *keys);
    let value = |key: &str| value(if of.is_empty() { key.to_owned() } else { format!("{of}.{key}") }.as_str());
    let properties: Map<String, Value> = keys.iter().map(|&key| (key.to_owned(), value(key))).collect();
    let required: &[&str] = match of {
        "" => &["listeners", "policy"],
        "listeners" => &["bind", "destination"],
        "listeners.proxy_protocol" | "listeners.health_checks" => &["from"],
        "health" => &["bind"],
        _ => &[],
    };
    json!({ "type": "object", "properties": properties, "additionalProperties": false, "required": required })
}

/// What stands at a key; `true` (anything) for one that this does not know, of which a test finds none.
fn value(key: &str) -> Value {
    let off = || json!({ "anyOf": [{ "const": "off" }, { "const": false }, mapping(key)] });
    match key {
        "listeners" => json!({ "type": "array", "minItems": 1, "maxItems": 64, "items": mapping(key) }),
        "access_log" | "admin" => off(),
        "dns"
        | "dns.ttl"
        | "upstream"
        | "limits"
        | "timeouts"
        | "health"
        | "log"
        | "shutdown"
        | "listeners.proxy_protocol"
        | "listeners.health_checks" => mapping(key),
        "policy" | "listeners.name" | "access_log.path" => json!({ "type": ["string", "number"], "minLength": 1 }),
        "steering" => words(&["off", "cpu"]),
        "refusal_alert" => words(&["access_denied", "unrecognized_name"]),
        "threads" => json!({ "anyOf": [{ "const": "auto" }, { "type": "integer", "minimum": 1, "maximum": 256 }] }),
        "listeners.bind" | "admin.bind" | "health.bind" => json!({ "type": "string", "pattern": ":[0-9]+$" }),
        "listeners.ipv6_only" => json!({ "type": "boolean" }),
        "listeners.socket" => words(&["bind", "handed_over"]),
        "listeners.protocol" => words(&["tls", "http", "connect"]),
        "listeners.destination" => words(&["redirect", "tproxy", "none"]),
        "listeners.port" => json!({ "type": "integer", "minimum": 1, "maximum": 65_535 }),
        "listeners.proxy_protocol.from" | "listeners.health_checks.from" => networks(),
        "listeners.send_proxy_protocol" => words(&["off", "v2"]),
        "listeners.methods" => {
            json!({ "type": "array", "minItems": 1, "items": { "type": "string", "pattern": "^[A-Z]{1,32}$" } })
        }
        "listeners.connect_ports" => {
            json!({ "type": "array", "minItems": 1, "items": { "type": "integer", "minimum": 1, "maximum": 65_535 } })
        }
        "dns.servers" => json!({ "type": "array", "minItems": 1, "maxItems": 8, "items": { "type": "string" } }),
        "upstream.source_addresses" => {
            json!({ "type": "array", "minItems": 1, "maxItems": 64, "items": { "type": "string" } })
        }
        "upstream.nat64" => {
            json!({ "type": "array", "minItems": 1, "maxItems": 8, "items": { "type": "string" } })
        }
        "dns.ttl.min" | "dns.ttl.max" | "dns.serve_stale" | "shutdown.lame_duck" | "shutdown.drain" => duration(),
        key if key.starts_with("limits.") || key == "access_log.queue" => json!({ "type": "integer", "minimum": 1 }),
        key if key.starts_with("timeouts.") => duration(),
        "admin.allow" | "health.allow" => networks(),
        "access_log.ja4" => json!({ "type": "boolean" }),
        "access_log.format" => words(&["json", "squid"]),
        "log.level" => words(&["error", "warn", "info", "debug", "trace"]),
        "log.format" => words(&["text", "json"]),
        _ => Value::Bool(true),
    }
}

fn words(words: &[&str]) -> Value {
    json!({ "enum": words })
}

/// `250ms`, `10s`, `1h 30m`.
fn duration() -> Value {
    json!({ "type": "string", "pattern": "^[0-9]" })
}

fn networks() -> Value {
    json!({ "type": "array", "minItems": 1, "items": { "type": "string" } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_says_what_stands_there() {
        for (of, keys) in KEYS {
            for key in *keys {
                let key = if of.is_empty() { (*key).to_owned() } else { format!("{of}.{key}") };
                assert!(value(&key).is_object(), "{key}");
            }
        }
    }
}
