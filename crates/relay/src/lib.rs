//! sekisho: a transparent, SNI-inspecting TLS passthrough gateway.

pub mod outcome;
pub mod reason;
pub mod settings;
