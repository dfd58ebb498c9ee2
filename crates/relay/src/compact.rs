//! Values that every open connection's record has, in few bytes.

use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::NonZeroU32;
use std::time::Duration;

/// An address and port in 16 bytes, where the standard library's takes 32. IPv6, which is rarer and has a scope besides,
/// is boxed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addr {
    /// IPv4.
    V4(SocketAddrV4),
    /// IPv6.
    V6(Box<SocketAddrV6>),
}

impl Addr {
    /// As the standard library has it.
    pub fn socket(&self) -> SocketAddr {
        match self {
            Self::V4(address) => SocketAddr::V4(*address),
            Self::V6(address) => SocketAddr::V6(**address),
        }
    }

    /// Without the port.
    pub fn ip(&self) -> IpAddr {
        self.socket().ip()
    }
}

impl From<SocketAddr> for Addr {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => Self::V4(address),
            SocketAddr::V6(address) => Self::V6(Box::new(address)),
        }
    }
}

/// Whole microseconds, up to 71 minutes, in 4 bytes also where it is optional.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Micros(
    /// One more than it means.
    NonZeroU32,
);

impl From<Duration> for Micros {
    /// Longer ones become the longest.
    fn from(duration: Duration) -> Self {
        let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
        Self(NonZeroU32::MIN.saturating_add(micros))
    }
}

impl From<Micros> for Duration {
    fn from(micros: Micros) -> Self {
        Self::from_micros(u64::from(micros.0.get() - 1))
    }
}

/// Whole microseconds, as many as a connection may ever last, in 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LongMicros(u64);

impl From<Duration> for LongMicros {
    /// Longer ones become the longest, which is half a million years.
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }
}

impl From<LongMicros> for Duration {
    fn from(micros: LongMicros) -> Self {
        Self::from_micros(micros.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_whole_from_half_the_bytes() {
        assert!(size_of::<Option<Addr>>() * 2 == size_of::<SocketAddr>());
        for text in ["192.0.2.1:443", "[2001:db8::1]:443", "[fe80::1%3]:65535"] {
            let address: SocketAddr = text.parse().unwrap();
            let compact = Addr::from(address);
            assert_eq!((compact.socket(), compact.ip()), (address, address.ip()));
        }
    }

    #[test]
    fn micros_are_cut_down_and_capped() {
        assert_eq!(size_of::<Option<Micros>>(), 4);
        let again = |nanos| Duration::from(Micros::from(Duration::from_nanos(nanos))).as_micros();
        assert_eq!([0, 999, 1000, 2_113_999].map(again), [0, 0, 1, 2113]);
        assert_eq!(again(u64::MAX), u128::from(u32::MAX - 1));
        let long = |duration: Duration| Duration::from(LongMicros::from(duration));
        assert_eq!(long(Duration::from_nanos(7_200_000_000_001_999)), Duration::from_micros(7_200_000_000_001));
        assert_eq!(long(Duration::MAX), Duration::from_micros(u64::MAX));
    }
}
