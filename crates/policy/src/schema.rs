//! A JSON Schema of policy.yaml, for editors and for whoever checks the file without this program.
//!
//! Its keys are the reader's own tables, so there is none that only one of the two knows. It says what can be said of the
//! file's structure; what names mean is for `check`.

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use crate::load::{BUCKET_KEYS, CLAIM_KEYS, INCLUDE_KEYS, LINT_KEYS, POLICY_KEYS, RULE_KEYS};
use crate::rule::Access;
use crate::s3::{Form, regions};
use crate::sets;

/// The schema, draft 2020-12. YAML's dates and numbers count as the text that they are written with.
pub fn schema() -> Value {
    let mut policy = object("policy", POLICY_KEYS, &["version", "rules"]);
    add(&mut policy, "$schema", json!("https://json-schema.org/draft/2020-12/schema"));
    add(&mut policy, "title", json!("sekisho policy"));
    let mut rule = object("rule", RULE_KEYS, &["name"]);
    let names = ["buckets", "hosts", "hosts_files"].map(|key| json!({ "required": [key] }));
    add(&mut rule, "anyOf", json!(names));
    // Whoever accepts that anybody's names are reached says why.
    let shared = json!({ "acknowledge": { "type": "array", "contains": { "const": "shared_suffix" } } });
    add(&mut rule, "if", json!({ "required": ["acknowledge"], "properties": shared }));
    add(&mut rule, "then", json!({ "required": ["reason"] }));
    let item = json!({
        "if": { "type": "object", "required": ["include"] },
        "then": closed(&json!({ "include": { "$ref": "#/$defs/include" } })),
        "else": { "$ref": "#/$defs/rule" },
    });
    let mut claim = object("claim", CLAIM_KEYS, &[]);
    add(&mut claim, "oneOf", json!([{ "required": ["allow"] }, { "required": ["refuse"] }]));
    let definitions = json!({
        "item": item,
        "rule": rule,
        "include": object("include", INCLUDE_KEYS, &["set", "region"]),
        "bucket": bucket(),
        "lint": object("lint", LINT_KEYS, &[]),
        "claim": claim,
    });
    add(&mut policy, "$defs", definitions);
    policy
}

/// An item has one subject, and a region unless it is a multi-region access point.
fn bucket() -> Value {
    let mut bucket = object("bucket", BUCKET_KEYS, &[]);
    let regional = ["name", "access_point", "object_lambda", "directory_bucket"];
    let mut subjects: Vec<Value> = regional.iter().map(|key| json!({ "required": [key, "region"] })).collect();
    subjects.push(json!({ "required": ["multi_region_access_point"] }));
    add(&mut bucket, "oneOf", Value::from(subjects));
    bucket
}

/// A mapping with these keys and no others.
fn object(of: &str, keys: &[&str], required: &[&str]) -> Value {
    let properties: Map<String, Value> = keys.iter().map(|&key| (key.to_owned(), value(of, key))).collect();
    let mut object = closed(&Value::Object(properties));
    if !required.is_empty() {
        add(&mut object, "required", json!(required));
    }
    object
}

fn closed(properties: &Value) -> Value {
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn add(object: &mut Value, key: &str, value: Value) {
    if let Value::Object(entries) = object {
        entries.insert(key.to_owned(), value);
    }
}

/// What stands at a key of a kind of mapping; `true` (anything) for one that this does not know, of which a test finds none.
fn value(of: &str, key: &str) -> Value {
    let (mut value, about) = match (of, key) {
        ("policy", "version") => (json!({ "const": 1 }), "the version of this form"),
        ("policy", "mode") => {
            (words(&["enforce", "audit"]), "`audit` lets through what would be refused, and records it")
        }
        ("policy", "on_revoke") => {
            (words(&["keep", "close"]), "what happens to open connections that would be refused now")
        }
        ("policy", "lint") => (reference("lint"), "what each rule must have"),
        ("policy", "rules") => {
            (json!({ "type": "array", "items": reference("item") }), "in order: the first that matches decides")
        }
        ("policy", "tests") => (
            json!({ "type": "array", "items": reference("claim") }),
            "claims that are proved whenever the policy is loaded",
        ),
        ("rule" | "include", "name") => (line(), "the rule's name in log, metrics and `explain`"),
        ("rule" | "include", "owner") => (line(), "who answers for it"),
        ("rule" | "include", "ticket") => (line(), "where it was asked for"),
        ("rule" | "include", "reason") => (line(), "what it is for"),
        ("rule" | "include", "expires") => (time(), "the last day, through 23:59:59 UTC, or the last second"),
        ("rule" | "include", "clients") => (networks(), "who may use it; anybody, unless given"),
        ("rule" | "include", "vpc_endpoints") => (
            filled(&vpc_endpoint()),
            "the VPC endpoints through which it may be used, as a balancer's PROXY header says",
        ),
        ("rule", "buckets") => (filled(&reference("bucket")), "what S3 names"),
        ("rule", "hosts") => {
            (filled(&text()), "names, `*.domain` for one label, `.domain` for a domain and all below it")
        }
        ("rule", "hosts_files") => (filled(&text()), "Squid dstdomain lists, relative to the policy's directory"),
        ("rule" | "include", "action") => (words(&["allow", "deny"]), "what it does when it decides"),
        ("rule" | "include", "mode") => {
            (words(&["enforce", "audit"]), "`audit` lets through and records, whatever the action")
        }
        ("rule" | "include", "protocols") => (filled(&words(&["tls", "http"])), "how the client asks"),
        ("rule" | "include", "ports") => (filled(&port()), "the ports; 443 for tls and 80 for http, unless given"),
        ("rule" | "include", "upstream") => (upstream(), "which resolved addresses may be dialled"),
        ("include", "bucket_upstream") => (upstream(), "the same for the set's buckets"),
        ("rule" | "include", "ech") => {
            (words(&["allow", "log", "deny"]), "what becomes of a hello with an `encrypted_client_hello` extension")
        }
        ("rule" | "include", "on_mismatch") => {
            (words(&["record", "refuse"]), "what becomes of a client that dialled none of the name's addresses")
        }
        ("rule", "access") => (filled(&accesses()), "what exported AWS policies permit"),
        ("rule" | "include", "acknowledge") => (
            json!({ "type": "array", "items": words(&["path_style", "unknown_region", "shared_suffix", "lookalike"]) }),
            "what this rule accepts although the lint refuses it",
        ),
        ("include", "set") => {
            let names: Vec<&str> = sets::all().iter().map(|set| set.name.as_str()).collect();
            (words(&names), "a built-in rule set")
        }
        ("include" | "bucket", "region") => (region(), "its region"),
        ("bucket", "name") => (text(), "a bucket, or `*-ACCOUNT-REGION-an` for all of one account's"),
        ("bucket", "access_point") => (text(), "an access point, by its name or its alias"),
        ("bucket", "object_lambda") => (text(), "an Object Lambda access point, by its name or its alias"),
        ("bucket", "multi_region_access_point") => (text(), "a multi-region access point, by its alias"),
        ("bucket", "directory_bucket") => (text(), "a directory bucket (S3 Express One Zone)"),
        ("bucket", "account") => (text(), "whose access point it is: 12 digits"),
        ("bucket", "outpost") => (text(), "the outpost that the access point is on"),
        ("bucket", "endpoints") => {
            let forms: Vec<&str> = Form::WORDS.iter().map(|(word, _)| *word).collect();
            (filled(&words(&forms)), "which of its names")
        }
        ("bucket", "vpce") => (filled(&text()), "its names at these interface endpoints"),
        ("lint", "require") => (
            json!({ "type": "array", "items": words(&["owner", "ticket", "reason"]) }),
            "a rule without one of these is an error",
        ),
        ("claim", "allow") => (text(), "this host is let through"),
        ("claim", "refuse") => (text(), "this host is not"),
        ("claim", "from") => (text(), "the client's address; every client, unless given"),
        ("claim", "at") => (time(), "when: a date means its noon, UTC"),
        ("claim", "port") => (port(), "which port"),
        ("claim", "protocol") => (words(&["tls", "http"]), "how it asks"),
        ("claim", "vpce") => (vpc_endpoint(), "the VPC endpoint that it came through; whatever it is, unless given"),
        ("claim", "reason") => (words(&["no_rule", "denied_by_rule", "rule_expired"]), "why it is refused"),
        _ => return Value::Bool(true),
    };
    add(&mut value, "description", json!(about));
    value
}

fn reference(to: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{to}") })
}

/// Plain words: YAML takes some texts for numbers or for truth values.
fn text() -> Value {
    json!({ "type": ["string", "number", "boolean"], "minLength": 1 })
}

fn accesses() -> Value {
    let labels: Vec<&str> = Access::ALL.iter().map(|access| access.label()).collect();
    words(&labels)
}

/// A text of one line.
fn line() -> Value {
    json!({ "type": ["string", "number", "boolean"], "minLength": 1, "maxLength": 200 })
}

fn words(words: &[&str]) -> Value {
    json!({ "enum": words })
}

fn filled(items: &Value) -> Value {
    json!({ "type": "array", "minItems": 1, "items": items })
}

fn networks() -> Value {
    filled(&json!({ "type": "string", "pattern": "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$" }))
}

fn upstream() -> Value {
    json!({ "anyOf": [words(&["public", "any"]), networks()] })
}

fn vpc_endpoint() -> Value {
    json!({ "type": "string", "pattern": "^vpce-([0-9a-f]{8}|[0-9a-f]{17})$" })
}

fn port() -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": 65_535 })
}

fn time() -> Value {
    let time = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2}))?$";
    json!({ "type": "string", "pattern": time })
}

/// One that is known, for editors to complete; or what looks like one.
fn region() -> Value {
    let known: Vec<&str> = regions::all().collect();
    json!({ "anyOf": [words(&known), { "type": "string", "pattern": "^[a-z]+(-[a-z]+)+-[0-9]+$" }] })
}
