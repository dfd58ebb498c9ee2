//! Real programs through the gate, in network namespaces. Needs root and what `cargo xtask setup` installs.

mod aws;
mod deploy;
mod dialling;
mod egress;
mod ending;
mod explaining;
mod exports;
mod features;
mod interception;
mod ipv6;
mod lab_itself;
mod messages;
mod mismatch;
mod peer;
mod ports;
mod pressure;
mod raw;
mod reasons;
mod relaying;
mod reloading;
mod resolving;
mod revoking;
mod smuggling;
mod squid;
mod syscalls;
mod ways;
