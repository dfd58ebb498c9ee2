//! What a client asks for, read out of the first bytes that it sends.
//!
//! Everything here is sans-IO: bytes go in as an argument, an answer comes out. There is no socket, no clock and no
//! task, so each answer depends on the bytes alone and every test can give them in any order and fragmentation.
//!
//! - [`tls`] finds the `ClientHello` and the one host name that it asks for; [`tls::retry`] watches over a second one.
//! - [`http`] finds the one host of a request to a server or to a proxy.
//! - [`proxy`] finds who the client is behind a balancer.
//!
//! Bytes that could be read in two ways are refused, never guessed at: where the gate and the server disagree about
//! the name, the gate has been passed by.

#[doc(hidden)]
pub mod fuzz;
pub mod http;
pub mod proxy;
pub mod tls;
