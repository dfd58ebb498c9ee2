//! Real programs through the gate, in network namespaces. Needs root and what `cargo xtask setup` installs.

mod lab_itself;
