//! AWS Network Firewall: a stateful rule group with a domain list, as `aws network-firewall create-rule-group
//! --cli-input-json` takes it.

use ipnet::IpNet;
use serde_json::json;

use super::{Export, header, lost};
use crate::policy::Policy;

/// Why there is no rule group to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkFirewallError {
    /// A domain list cannot be empty.
    Nothing,
    /// A rule group has room for 30,000 rules, and each domain takes one.
    TooMany(usize),
}

impl std::fmt::Display for NetworkFirewallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("no name of the policy can stand in a domain list"),
            Self::TooMany(count) => {
                write!(f, "{count} domains, and a rule group has room for {CAPACITY}: put names into fewer `.domain`s")
            }
        }
    }
}

impl std::error::Error for NetworkFirewallError {}

/// The most that a stateful rule group may ask for (AWS Network Firewall quotas, read in November 2026).
const CAPACITY: usize = 30_000;

impl Policy {
    /// What all clients of `networks` (empty: of the firewall's own VPC) may reach by TLS on port 443 at `now`, as a
    /// domain list that shuts every other name. The notes say what it does not keep; JSON has no comments.
    ///
    /// # Errors
    /// [`NetworkFirewallError`], notes included, when AWS would take no such list.
    pub fn network_firewall(
        &self,
        networks: &[IpNet],
        now: i64,
    ) -> Result<Export, (NetworkFirewallError, Vec<String>)> {
        let domains = self.domains(networks, now);
        let mut notes: Vec<_> =
            domains.left_out.iter().map(|left| format!("{left}, so it is not in the list")).collect();
        notes.extend(lost(self, now));
        notes.push(
            "a name is not tied to an address: the firewall lets a client dial any server under a listed name"
                .to_owned(),
        );
        notes.push("a domain list looks at TLS on every port".to_owned());
        let count = domains.names.len();
        let fault = match count {
            0 => Some(NetworkFirewallError::Nothing),
            _ if count > CAPACITY => Some(NetworkFirewallError::TooMany(count)),
            _ => None,
        };
        if let Some(fault) = fault {
            return Err((fault, notes));
        }
        // A group's capacity can never be changed, so there is room to grow.
        let capacity = (count * 2).next_multiple_of(100).min(CAPACITY);
        let mut group = json!({
            "RulesSource": {
                "RulesSourceList": {
                    "Targets": domains.names,
                    "TargetTypes": ["TLS_SNI"],
                    "GeneratedRulesType": "ALLOWLIST",
                }
            }
        });
        if !networks.is_empty() {
            let nets: Vec<_> = networks.iter().map(ToString::to_string).collect();
            group["RuleVariables"] = json!({ "IPSets": { "HOME_NET": { "Definition": nets } } });
        }
        let description = header(self, "aws-network-firewall").join(". ");
        let whole = json!({
            "RuleGroupName": "sekisho",
            "Type": "STATEFUL",
            "Capacity": capacity,
            "Description": description,
            "RuleGroup": group,
        });
        Ok(Export { text: format!("{whole:#}\n"), notes })
    }
}
