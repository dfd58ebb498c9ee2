//! A rule group of AWS Network Firewall: what `describe-rule-group` prints, what `create-rule-group` takes, or the rule
//! group alone.

use ipnet::IpNet;
use serde_json::Value;

use super::ImportError;
use super::draft::{Draft, Host, Part, Rule};

pub(super) fn draft(text: &str, file: &str) -> Result<Draft, ImportError> {
    let json: Value = serde_json::from_str(text).map_err(|error| ImportError::NotARuleGroup(error.to_string()))?;
    let group = json.get("RuleGroup").unwrap_or(&json);
    let wrong = || ImportError::NotARuleGroup("there is no `RulesSource` in it".to_owned());
    let source = group.get("RulesSource").filter(|source| source.is_object()).ok_or_else(wrong)?;
    let mut draft = Draft::default();
    draft.top.push(format!("Made by `sekisho import aws-network-firewall {file}`."));
    for (key, what) in [
        ("RulesString", "Suricata rules (RulesString) do not carry over: write what they open as rules"),
        ("StatefulRules", "stateful rules by address (StatefulRules) do not carry over: rules here are about names"),
        ("StatelessRulesAndCustomActions", "stateless rules do not carry over: rules here are about names"),
    ] {
        if source.get(key).is_some_and(|value| !value.is_null()) {
            draft.lose(what);
        }
    }
    let Some(list) = source.get("RulesSourceList").filter(|list| list.is_object()) else { return Ok(draft) };
    draft.parts.push(Part::Rule(rule(list, group, &json, file)));
    Ok(draft)
}

fn rule(list: &Value, group: &Value, json: &Value, file: &str) -> Rule {
    let named = ["/RuleGroupName", "/RuleGroupResponse/RuleGroupName"];
    let name = named.iter().find_map(|pointer| json.pointer(pointer)?.as_str()).unwrap_or(file);
    let mut rule = Rule { name: name.to_owned(), ..Rule::default() };
    rule.hosts = texts(list.get("Targets")).map(Host::new).collect();
    for host in rule.hosts.iter_mut().filter(|host| host.text.contains('*')) {
        host.fault = Some("a domain list has no `*`".to_owned());
    }
    let kinds: Vec<_> = texts(list.get("TargetTypes")).collect();
    rule.protocols = [("TLS_SNI", "tls"), ("HTTP_HOST", "http")]
        .into_iter()
        .filter(|(kind, _)| kinds.contains(kind))
        .map(|(_, word)| word)
        .collect();
    match list.get("GeneratedRulesType").and_then(Value::as_str) {
        Some("ALLOWLIST") => {}
        Some("DENYLIST" | "REJECTLIST") => {
            rule.deny = true;
            rule.remarks.push(
                "A list of what is shut: the firewall lets everything else through, and this policy nothing."
                    .to_owned(),
            );
        }
        other => rule.fault = Some(format!("GeneratedRulesType `{}` is not known", other.unwrap_or_default())),
    }
    if rule.protocols.is_empty() {
        rule.fault = Some("TargetTypes has neither TLS_SNI nor HTTP_HOST".to_owned());
    }
    rule.remarks.push("The firewall looks at every port; here TLS is on 443 and HTTP on 80.".to_owned());
    match group.pointer("/RuleVariables/IPSets/HOME_NET/Definition") {
        None => {
            rule.remarks.push("Without HOME_NET the firewall means its own VPC; add that as `clients:`.".to_owned());
        }
        Some(nets) => {
            let nets: Vec<_> = texts(Some(nets)).collect();
            let read: Vec<IpNet> =
                nets.iter().filter_map(|net| net.parse::<IpNet>().ok()).map(|net| net.trunc()).collect();
            // One that cannot be read, or that is excepted by a `!`, would make the others mean something else.
            if read.len() == nets.len() && !read.is_empty() {
                rule.clients = Some(IpNet::aggregate(&read));
            } else {
                rule.fault = Some(format!("HOME_NET `{}` cannot be read", nets.join(", ")));
            }
        }
    }
    rule
}

fn texts(value: Option<&Value>) -> impl Iterator<Item = &str> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}
