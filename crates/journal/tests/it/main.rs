//! Logs as the gate writes them, through the library's own door.

#[cfg(test)]
mod common;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod learn;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod usage;
