//! sekisho: a transparent, SNI-inspecting TLS passthrough gateway.

mod destination;
mod dial;
pub mod guard;
pub mod limits;
pub mod listen;
mod live;
pub mod outcome;
pub mod own;
pub mod reason;
pub mod settings;
mod sniff;
mod transfer;
