//! Packet rules for what does not go to the gate: a host's other ways out, shut.

use super::packets::{fill, is_user};
use super::{Export, Filter, PacketsError, header};
use crate::policy::Policy;

impl Policy {
    /// The packet rules that go beside those of [`Place::Host`](super::Place::Host): whatever else ordinary users' programs send
    /// is refused, but for `pass`, as protocol (`tcp`, `udp`) and port. Of the policy they say the digest alone.
    ///
    /// # Errors
    /// [`PacketsError::User`] where `user`, which the gate runs as, cannot be one.
    pub fn rest(&self, filter: Filter, user: &str, pass: &[(&str, u16)]) -> Result<Export, PacketsError> {
        if !is_user(user) {
            return Err(PacketsError::User);
        }
        let passed = |join: &str, between: &str| {
            pass.iter().map(|(protocol, port)| format!("{protocol}{join}{port}")).collect::<Vec<_>>().join(between)
        };
        let (what, template, mut settings) = match filter {
            Filter::Nftables => (
                "nftables --for host-rest",
                NFT,
                vec![
                    ("define free = ".to_owned(), format!("{{ 0, {user} }}")),
                    ("        # elements = ".to_owned(), format!("{{ {} }}", passed(" . ", ", "))),
                ],
            ),
            Filter::Iptables => (
                "iptables --for host-rest",
                SH,
                vec![
                    ("FREE=".to_owned(), format!("\"0 {user}\"")),
                    ("PASSED=".to_owned(), format!("\"{}\"", passed(":", " "))),
                ],
            ),
        };
        if pass.is_empty() {
            settings.truncate(1);
        }
        Ok(Export { text: fill(template, &header(self, what), &settings, false), notes: Vec::new() })
    }
}

pub(super) const NFT: &str = include_str!("../../../../deploy/nftables/host-rest.nft");
pub(super) const SH: &str = include_str!("../../../../deploy/iptables/host-rest.sh");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_the_deployments_file_with_its_settings_changed_and_nothing_else() {
        let policy = Policy::parse("policy.yaml", "version: 1\nrules: []\n", 0).unwrap().policy;
        for (filter, template, wanted) in [
            (Filter::Nftables, NFT, ["define free = { 0, 31415 }", "        elements = { udp . 53, tcp . 53 }"]),
            (Filter::Iptables, SH, ["FREE=\"0 31415\"", "PASSED=\"udp:53 tcp:53\""]),
        ] {
            let text = policy.rest(filter, "31415", &[("udp", 53), ("tcp", 53)]).unwrap().text;
            assert!(text.contains(policy.digest()), "{text}");
            let shipped: Vec<_> = template.lines().collect();
            let new: Vec<_> = text.lines().skip(4).filter(|line| !shipped.contains(line)).collect();
            assert_eq!(new, wanted, "{text}");
            assert_eq!(text.lines().count(), shipped.len() + 3, "{text}");
            let plain = policy.rest(filter, "sekisho", &[]).unwrap().text;
            assert_eq!(plain.lines().filter(|line| !shipped.contains(line)).count(), 2, "{plain}");
            assert_eq!(policy.rest(filter, "a b", &[]), Err(PacketsError::User));
        }
    }
}
