//! `ClientHello`s made by hand, each to be wrong in one place.

/// The parts of a hello; every vector is written with its length, so that a wrong one can be given.
#[derive(Clone, Debug)]
pub(super) struct Hello {
    pub(super) version: u16,
    pub(super) session_id: Vec<u8>,
    pub(super) suites: Vec<u8>,
    pub(super) compression: Vec<u8>,
    pub(super) extensions: Vec<u8>,
}

/// The type of a handshake record, and of the hello within.
pub(super) const HANDSHAKE: u8 = 0x16;
pub(super) const CHANGE_CIPHER_SPEC: u8 = 0x14;
const CLIENT_HELLO: u8 = 1;

pub(super) const SERVER_NAME: u16 = 0;
pub(super) const ALPN: u16 = 16;
pub(super) const SUPPORTED_VERSIONS: u16 = 43;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

impl Hello {
    /// One that is right, for this name.
    pub(super) fn to(name: &str) -> Self {
        Self::naming(name.as_bytes())
    }

    /// One that is right, with an ECH extension, whatever is in it.
    pub(super) fn with_ech(name: &str) -> Self {
        let ech = extension(ENCRYPTED_CLIENT_HELLO, &[0x5a; 40]);
        Self::with(&[server_names(&[(0, name.as_bytes())]), ech])
    }

    /// One that names these bytes.
    pub(super) fn naming(name: &[u8]) -> Self {
        Self::with(&[server_names(&[(0, name)])])
    }

    /// One that has these extensions, and TLS 1.3 among its versions.
    pub(super) fn with(extensions: &[Vec<u8>]) -> Self {
        let versions = extension(SUPPORTED_VERSIONS, &[2, 3, 4]);
        Self::with_only(&[extensions.concat(), versions].concat())
    }

    /// One whose extensions block holds these bytes.
    pub(super) fn with_only(extensions: &[u8]) -> Self {
        Self {
            version: 0x0303,
            session_id: vec![0],
            suites: vector16(&[0x13, 0x01]),
            compression: vec![1, 0],
            extensions: vector16(extensions),
        }
    }

    /// The handshake message.
    pub(super) fn message(&self) -> Vec<u8> {
        handshake(CLIENT_HELLO, &self.body())
    }

    /// What the message's header is followed by.
    pub(super) fn body(&self) -> Vec<u8> {
        let random = [7; 32];
        let version = self.version.to_be_bytes();
        let parts = [&version[..], &random, &self.session_id, &self.suites, &self.compression, &self.extensions];
        parts.concat()
    }

    /// On the wire, in one record.
    pub(super) fn bytes(&self) -> Vec<u8> {
        record(HANDSHAKE, &self.message())
    }

    /// On the wire, in records of so many bytes.
    pub(super) fn in_records_of(&self, size: usize) -> Vec<u8> {
        records(&self.message(), size)
    }
}

/// A handshake message of any type.
pub(super) fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let [.., high, middle, low] = body.len().to_be_bytes();
    [&[kind, high, middle, low], body].concat()
}

/// A record.
pub(super) fn record(kind: u8, fragment: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1][..], &vector16(fragment)].concat()
}

/// Handshake bytes in records of so many bytes.
pub(super) fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|fragment| record(HANDSHAKE, fragment)).collect()
}

/// An extension.
pub(super) fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector16(data)].concat()
}

/// A `server_name` extension with these entries: type and name.
pub(super) fn server_names(entries: &[(u8, &[u8])]) -> Vec<u8> {
    let list: Vec<u8> = entries.iter().flat_map(|(kind, name)| [&[*kind][..], &vector16(name)].concat()).collect();
    extension(SERVER_NAME, &vector16(&list))
}

/// An ALPN extension.
pub(super) fn protocols(names: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = names.iter().flat_map(|name| vector8(name)).collect();
    extension(ALPN, &vector16(&list))
}

pub(super) fn vector8(body: &[u8]) -> Vec<u8> {
    let [.., length] = body.len().to_be_bytes();
    [&[length], body].concat()
}

pub(super) fn vector16(body: &[u8]) -> Vec<u8> {
    let [.., high, low] = body.len().to_be_bytes();
    [&[high, low], body].concat()
}
