//! Hellos made to measure.

/// A `ClientHello` under construction: each field as it goes on the wire, without its length.
#[derive(Clone)]
pub(crate) struct Hello {
    pub(crate) version: u16,
    pub(crate) session_id: Vec<u8>,
    pub(crate) suites: Vec<u8>,
    pub(crate) compression: Vec<u8>,
    /// `None` leaves out the extensions' length too, as clients before TLS 1.2 may.
    pub(crate) extensions: Option<Vec<(u16, Vec<u8>)>>,
}

pub(crate) const SERVER_NAME: u16 = 0;
pub(crate) const SIGNATURE_ALGORITHMS: u16 = 13;
pub(crate) const ALPN: u16 = 16;
pub(crate) const PRE_SHARED_KEY: u16 = 41;
pub(crate) const SUPPORTED_VERSIONS: u16 = 43;
pub(crate) const ECH: u16 = 0xfe0d;

impl Hello {
    /// The least that this crate and rustls's acceptor both read, without a name.
    pub(crate) fn nameless() -> Self {
        Self {
            version: 0x0303,
            session_id: Vec::new(),
            suites: vec![0x13, 0x01],
            compression: vec![0],
            extensions: Some(vec![(SIGNATURE_ALGORITHMS, vec![0, 2, 4, 3])]),
        }
    }

    /// The same with a name in front.
    pub(crate) fn named(host: &str) -> Self {
        Self::nameless().first(SERVER_NAME, host_name(host.as_bytes()))
    }

    pub(crate) fn first(mut self, kind: u16, data: impl Into<Vec<u8>>) -> Self {
        self.extensions.get_or_insert_default().insert(0, (kind, data.into()));
        self
    }

    pub(crate) fn with(mut self, kind: u16, data: impl Into<Vec<u8>>) -> Self {
        self.extensions.get_or_insert_default().push((kind, data.into()));
        self
    }

    /// The handshake message.
    pub(crate) fn message(&self) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend([0x5a; 32]);
        body.extend(vec8(&self.session_id));
        body.extend(vec16(&self.suites));
        body.extend(vec8(&self.compression));
        if let Some(extensions) = &self.extensions {
            let wire = |(kind, data): &(u16, Vec<u8>)| [&kind.to_be_bytes()[..], &vec16(data)].concat();
            body.extend(vec16(&extensions.iter().flat_map(wire).collect::<Vec<_>>()));
        }
        message(1, &body)
    }

    /// The message in one record.
    pub(crate) fn record(&self) -> Vec<u8> {
        record(&self.message())
    }
}

/// A handshake message.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind], &length[..], body].concat()
}

/// One handshake record.
pub(crate) fn record(fragment: &[u8]) -> Vec<u8> {
    record_of(0x16, fragment)
}

/// One record of any type.
pub(crate) fn record_of(kind: u8, fragment: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1], &vec16(fragment)[..]].concat()
}

/// A message in records of `size` bytes and a shorter last one.
pub(crate) fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(record).collect()
}

/// A `server_name` extension's inside: one `host_name`.
pub(crate) fn host_name(host: &[u8]) -> Vec<u8> {
    server_name(&[(0, host)])
}

/// A `server_name` extension's inside: entries of type and name.
pub(crate) fn server_name(entries: &[(u8, &[u8])]) -> Vec<u8> {
    vec16(&entries.iter().flat_map(|(kind, name)| [&[*kind], &vec16(name)[..]].concat()).collect::<Vec<_>>())
}

/// An ALPN extension's inside.
pub(crate) fn alpn(protocols: &[&[u8]]) -> Vec<u8> {
    vec16(&protocols.iter().flat_map(|protocol| vec8(protocol)).collect::<Vec<_>>())
}

/// A `supported_versions` extension's inside.
pub(crate) fn versions(versions: &[u16]) -> Vec<u8> {
    vec8(&versions.iter().flat_map(|version| version.to_be_bytes()).collect::<Vec<_>>())
}

pub(crate) fn vec8(inside: &[u8]) -> Vec<u8> {
    [&[u8::try_from(inside.len()).unwrap()], inside].concat()
}

pub(crate) fn vec16(inside: &[u8]) -> Vec<u8> {
    [&u16::try_from(inside.len()).unwrap().to_be_bytes()[..], inside].concat()
}

/// `bytes` with the one at `at` replaced.
pub(crate) fn patched(mut bytes: Vec<u8>, at: usize, byte: u8) -> Vec<u8> {
    bytes[at] = byte;
    bytes
}
