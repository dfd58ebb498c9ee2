//! What the bench's programs share: how they speak to each other, the hellos that they send, and what they report.
//!
//! `load` connects, `origin` answers, `floor` relays as barely as can be, `names` resolves. They are small so that what
//! a gate costs stands out against them; each is one thread per core over one epoll, and allocates nothing for an
//! operation.
//!
//! The microbenches in `micro/` use nothing of this.

pub mod figures;
pub mod hello;
pub mod http;
pub mod net;
pub mod poll;
pub mod slots;
pub mod wire;
