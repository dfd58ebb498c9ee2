//! Finds the process that listens on an address, from `/proc`, for a message that a person can act on.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// `TCP_LISTEN` in the kernel's table.
const LISTEN: &str = "0A";

/// Names the process, or says that another one listens if it belongs to a user whose descriptors are hidden.
pub(super) fn describe(address: SocketAddr) -> String {
    let inodes = listening_inodes(address);
    match inodes.iter().find_map(|inode| process_with(inode)) {
        Some((pid, command)) => format!("process {pid} ({})", command.escape_debug()),
        None => "another process".to_owned(),
    }
}

fn listening_inodes(address: SocketAddr) -> Vec<String> {
    ["/proc/self/net/tcp", "/proc/self/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| table.lines().skip(1).filter_map(|line| listener(line, address)).collect::<Vec<_>>())
        .collect()
}

/// The inode of a line of `/proc/net/tcp`, if it is a listener that stands in the way of `address`.
fn listener(line: &str, address: SocketAddr) -> Option<String> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (ip, port) = fields.next()?.split_once(':')?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    let ip = parse_ip(ip)?;
    let in_the_way = ip == address.ip() || ip.is_unspecified() || address.ip().is_unspecified();
    let port = u16::from_str_radix(port, 16).ok()?;
    (state == LISTEN && port == address.port() && in_the_way).then(|| inode.to_owned())
}

/// The kernel prints an address as 32-bit words in the machine's own byte order.
fn parse_ip(hex: &str) -> Option<IpAddr> {
    let words: Option<Vec<[u8; 4]>> = (0..hex.len() / 8)
        .map(|i| u32::from_str_radix(hex.get(i * 8..i * 8 + 8)?, 16).ok().map(u32::to_ne_bytes))
        .collect();
    match words?.as_slice() {
        [v4] => Some(Ipv4Addr::from(*v4).into()),
        words => Some(Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?).into()),
    }
}

fn process_with(inode: &str) -> Option<(u32, String)> {
    let wanted = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        let holds = fs::read_dir(process.path().join("fd"))
            .ok()?
            .flatten()
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str()));
        let command = || fs::read_to_string(process.path().join("comm")).unwrap_or_default().trim_end().to_owned();
        holds.then(|| (pid, command()))
    })
}
