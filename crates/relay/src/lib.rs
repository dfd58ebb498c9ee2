//! sekisho: a transparent, SNI-inspecting TLS passthrough gateway.

mod accept;
mod admin;
pub mod app;
pub mod cli;
pub mod compact;
pub mod config;
mod connection;
mod decide;
mod destination;
mod dial;
pub mod engine;
pub mod features;
pub mod guard;
pub mod limits;
pub mod listen;
mod live;
mod lookup;
pub mod metrics;
pub mod node;
pub mod outcome;
pub mod own;
pub mod policy_store;
pub mod reason;
pub mod recent;
pub mod record;
mod revoke;
pub mod settings;
pub mod shared;
mod sniff;
pub mod sources;
mod steering;
mod stop;
#[cfg(test)]
mod testing;
mod transfer;
mod worker;
