//! Why there is no header to go by.

use std::fmt;

/// Why bytes are not a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// They begin as something else.
    Missing,
    /// They begin as a header and are none.
    Malformed(Fault),
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Version 1: no end of line within 107 bytes (§2.1).
    LineTooLong,
    /// Version 1: a byte that no header line holds, a line feed by itself included.
    Character,
    /// Version 1: a protocol other than `TCP4`, `TCP6` and `UNKNOWN`.
    Protocol,
    /// Version 1: more or fewer words than the protocol has, or spaces that are not single.
    Words,
    /// Version 1: an address that is none of its family, or is written in an ambiguous way.
    Address,
    /// Version 1: no decimal number from 0 to 65535, or one with leading zeros.
    Port,
    /// Version 2: the version nibble is not 2 (§2.2).
    Version,
    /// Version 2: neither `LOCAL` nor `PROXY`.
    Command,
    /// Version 2: a family and transport that is no TCP.
    Family,
    /// Version 2: too short for the addresses of its family.
    Length,
    /// Version 2: longer than [`super::MAX_HEADER`].
    TooLong,
    /// Version 2: type-length-values that do not fill the rest exactly (§2.2.x).
    Values,
    /// Version 2: a checksum that is not four bytes, or is there twice, or is wrong (§2.2.3).
    Checksum,
    /// Version 2: a VPC endpoint's id that is none, or two of them.
    Endpoint,
}

impl Refusal {
    /// The reason's label in log, metric and docs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Missing => "proxy_header_missing",
            Self::Malformed(_) => "proxy_header_malformed",
        }
    }

    /// A few words more.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Missing => "the first bytes are no PROXY header",
            Self::Malformed(fault) => match fault {
                Fault::LineTooLong => "no end of line within 107 bytes",
                Fault::Character => "a byte that no header line holds",
                Fault::Protocol => "a protocol other than TCP4, TCP6 and UNKNOWN",
                Fault::Words => "too many or too few words",
                Fault::Address => "an address that is none",
                Fault::Port => "a port that is none",
                Fault::Version => "neither version 1 nor 2",
                Fault::Command => "neither LOCAL nor PROXY",
                Fault::Family => "no TCP addresses",
                Fault::Length => "too short for its addresses",
                Fault::TooLong => "longer than 16 KiB",
                Fault::Values => "values that do not fit their length",
                Fault::Checksum => "a wrong checksum",
                Fault::Endpoint => "a VPC endpoint id that is none",
            },
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail())
    }
}

impl std::error::Error for Refusal {}
