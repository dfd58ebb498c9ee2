//! Why a request is not served.

use std::fmt;

/// Why a request is refused before any policy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It is malformed or has two readings.
    Bad(Fault),
    /// A CONNECT to an address instead of a name.
    Target,
}

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// More than [`super::MAX_HEAD`] bytes or [`super::MAX_HEADERS`] lines.
    HeadTooLarge,
    /// No method, target and version with single spaces, or a method of more than [`super::MAX_METHOD`] bytes.
    RequestLine,
    /// A version other than 1.0 and 1.1.
    Version,
    /// A carriage return by itself.
    BareCr,
    /// A line feed by itself.
    BareLf,
    /// A header line that goes on in the next.
    Folded,
    /// A control character.
    Control,
    /// A header line without a name, or with a byte in it that no name has, such as a space before the colon.
    HeaderLine,
    /// A target of a form that is not for this listener.
    TargetForm,
    /// A target with a byte that none has.
    TargetByte,
    /// No `Host`.
    NoHost,
    /// Several.
    SeveralHosts,
    /// One that is no name with an optional port.
    Host,
    /// The target names another host or port than `Host`.
    HostsDiffer,
    /// A `Content-Length` that is no number.
    ContentLength,
    /// Several.
    SeveralContentLengths,
    /// A `Transfer-Encoding`: no two servers need agree where its body ends.
    TransferEncoding,
    /// A body where the method has none.
    Body,
    /// `Connection` would take away a header that decides (RFC 9110 §7.6.1).
    Connection,
    /// A header whose name some servers take for one that decides, such as `Content_Length`.
    LookAlike,
}

impl Refusal {
    /// The reason's label in log, metric and docs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Bad(_) => "bad_request",
            Self::Target => "target_not_allowed",
        }
    }

    /// A few words more.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Target => "an address instead of a name",
            Self::Bad(fault) => match fault {
                Fault::HeadTooLarge => "a head over the cap",
                Fault::RequestLine => "no request line",
                Fault::Version => "neither HTTP/1.0 nor HTTP/1.1",
                Fault::BareCr => "a bare CR",
                Fault::BareLf => "a bare LF",
                Fault::Folded => "a folded line",
                Fault::Control => "a control character",
                Fault::HeaderLine => "a malformed header line",
                Fault::TargetForm => "a target of another form",
                Fault::TargetByte => "a malformed target",
                Fault::NoHost => "no Host",
                Fault::SeveralHosts => "several Hosts",
                Fault::Host => "a Host that is no name",
                Fault::HostsDiffer => "target and Host differ",
                Fault::ContentLength => "a malformed Content-Length",
                Fault::SeveralContentLengths => "several Content-Lengths",
                Fault::TransferEncoding => "a Transfer-Encoding",
                Fault::Body => "a body where the method has none",
                Fault::Connection => "a Connection that names a header which decides",
                Fault::LookAlike => "a header that looks like one which decides",
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
