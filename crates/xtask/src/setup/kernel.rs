//! What the lab needs of the kernel, tried in a namespace that is gone afterwards.

use std::path::Path;

use anyhow::{Context, Result, bail};
use lab::netns::Netns;

const NAT: &str = "
table inet probe {
    chain probe_nat {
        type nat hook prerouting priority dstnat
        ip saddr 10.20.0.0/24 tcp dport 443 redirect to :8443
    }
    chain probe_quic {
        type filter hook forward priority filter
        udp dport 443 reject
    }
}";

/// Fails with what is missing and what to do about it.
pub(super) fn check(iptables: bool) -> Result<()> {
    if !Path::new("/proc/net/if_inet6").exists() {
        bail!("the kernel has no IPv6, which the lab uses: boot without `ipv6.disable=1`");
    }
    let ns = Netns::create("probe").context(
        "this machine does not let us make network namespaces. In a container, start it with `--privileged`; otherwise \
         the kernel needs CONFIG_NET_NS",
    )?;
    ns.run("ip", ["link", "add", "north", "type", "veth", "peer", "name", "south"])
        .context("the kernel has no veth interfaces: try `modprobe veth` (CONFIG_VETH)")?;
    ns.run("nft", [NAT]).context(
        "the kernel's nf_tables cannot redirect: try `modprobe -a nf_tables nft_chain_nat nft_redir nft_reject_inet` \
         (CONFIG_NF_TABLES_INET, CONFIG_NFT_NAT, CONFIG_NFT_REDIR, CONFIG_NFT_REJECT)",
    )?;
    for program in ["iptables", "ip6tables"].iter().filter(|_| iptables) {
        let rule =
            ["-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "443", "-j", "REDIRECT", "--to-ports", "8443"];
        ns.run(program, rule).with_context(|| {
            format!("{program} cannot redirect: try `modprobe -a nft_compat xt_REDIRECT xt_tcpudp` (CONFIG_NFT_COMPAT)")
        })?;
    }
    Ok(())
}
