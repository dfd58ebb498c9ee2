//! Holds the documentation to the code, both ways: what the code knows is documented, and what is documented exists.

#[cfg(test)]
mod access_log;
#[cfg(test)]
mod alerts;
#[cfg(test)]
mod architecture;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod config;
#[cfg(test)]
mod learning;
#[cfg(test)]
mod links;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod node;
#[cfg(test)]
mod page;
#[cfg(test)]
mod reasons;
#[cfg(test)]
mod recipes;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod sizing;
#[cfg(test)]
mod source;
