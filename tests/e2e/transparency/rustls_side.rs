//! rustls, on threads of this process inside the lab's namespaces. The words are those of `tests/pairs/pair.py`, with
//! `early=yes` (early data is sent, or taken), `fragment=64` (bytes of a record) and `update=yes` (new keys half-way).

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lab::netns::Netns;
use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Resumption};
use rustls::client::{Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, CommonState, HandshakeKind, NamedGroup, RootCertStore, ServerConfig};
use rustls::{ServerConnection, SupportedProtocolVersion, version};

use super::LIMIT;

/// `key=value`, by key.
pub(super) type Words = HashMap<String, String>;

/// A server; stopped on drop.
#[derive(Debug)]
pub(super) struct Server {
    said: Arc<Mutex<String>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Server {
    /// Listens on `port` of every address inside `ns`.
    pub(super) fn start(ns: &Netns, port: u16, words: &Words) -> Result<Self> {
        let config = server(words)?;
        let listener = ns.enter(|| TcpListener::bind(("0.0.0.0", port)))??;
        listener.set_nonblocking(true)?;
        let (said, stop) = (Arc::<Mutex<String>>::default(), Arc::<AtomicBool>::default());
        let (says, stopped) = (Arc::clone(&said), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let Ok((tcp, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                };
                let line = attend(tcp, &config).unwrap_or_else(|error| format!("broken: {error:#}"));
                let mut said = says.lock().unwrap_or_else(PoisonError::into_inner);
                *said = format!("{said}{line}\n");
            }
            Ok(())
        });
        Ok(Self { said, stop, thread: Some(thread) })
    }

    /// A line for each connection so far.
    pub(super) fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn attend(mut tcp: TcpStream, config: &Arc<ServerConfig>) -> Result<String> {
    tcp.set_nonblocking(false)?;
    tcp.set_read_timeout(Some(LIMIT))?;
    let mut tls = ServerConnection::new(Arc::clone(config))?;
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp)?;
    }
    let (mut got, mut early) = (Vec::new(), 0);
    if let Some(mut data) = tls.early_data() {
        early = data.read_to_end(&mut got)?;
    }
    loop {
        while let Some(end) = got.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = got.drain(..=end).collect();
            rustls::Stream::new(&mut tls, &mut tcp).write_all(&reversed(&line))?;
        }
        let mut block = [0; 4096];
        match rustls::Stream::new(&mut tls, &mut tcp).read(&mut block)? {
            0 => break,
            count => got.extend_from_slice(&block[..count]),
        }
    }
    let early = if early > 0 { " early=accepted" } else { "" };
    let line = format!("facts: {}{early}", facts(&tls));
    tls.send_close_notify();
    finish(&mut tcp, |tcp| tls.write_tls(tcp))?;
    Ok(line)
}

/// Calls the server at `to` by the name `host`; a line for each connection.
pub(super) fn call(ns: &Netns, to: SocketAddr, host: &str, words: &Words) -> Result<String> {
    let config = client(words)?;
    let times = words.get("times").map_or(Ok(1), |times| times.parse())?;
    let size: usize = words.get("bytes").map_or(Ok(4), |bytes| bytes.parse())?;
    let line = [&b"ping".repeat(size / 4)[..], b"\n"].concat();
    let answer = if words.get("talk").is_some_and(|talk| talk == "echo") { line.clone() } else { reversed(&line) };
    ns.enter(|| -> Result<String> {
        let mut said = String::new();
        for _ in 0..times {
            said = format!("{said}{}\n", one_call(&config, to, host, words, (&line, &answer))?);
        }
        Ok(said)
    })?
}

fn one_call(
    config: &Arc<ClientConfig>,
    to: SocketAddr,
    host: &str,
    words: &Words,
    (line, answer): (&[u8], &[u8]),
) -> Result<String> {
    let mut tcp = TcpStream::connect(to)?;
    tcp.set_read_timeout(Some(LIMIT))?;
    let mut tls = ClientConnection::new(Arc::clone(config), ServerName::try_from(host.to_owned())?)?;
    let mut early = "";
    if let Some(mut data) = tls.early_data() {
        data.write_all(line)?;
        early = " early=refused";
    }
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp)?;
    }
    if tls.is_early_data_accepted() {
        early = " early=accepted";
    }
    let mut exchanges = if words.contains_key("update") { 2 } else { 1 };
    while exchanges > 0 {
        let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
        if early != " early=accepted" {
            stream.write_all(line)?;
        }
        let mut heard = vec![0; line.len()];
        stream.read_exact(&mut heard)?;
        ensure!(heard == answer, "heard {}", String::from_utf8_lossy(&heard));
        exchanges -= 1;
        if exchanges > 0 {
            tls.refresh_traffic_keys()?;
        }
    }
    let line = format!("facts: {}{early}", facts(&tls));
    tls.send_close_notify();
    finish(&mut tcp, |tcp| tls.write_tls(tcp))?;
    Ok(line)
}

/// Sends what is left, finishes, and waits for the other side's end.
fn finish(tcp: &mut TcpStream, write: impl FnOnce(&mut TcpStream) -> std::io::Result<usize>) -> Result<()> {
    write(tcp)?;
    tcp.shutdown(Shutdown::Write)?;
    // Its own last words may meet a closed socket.
    let _ = tcp.read_to_end(&mut Vec::new());
    Ok(())
}

fn reversed(line: &[u8]) -> Vec<u8> {
    let mut back: Vec<u8> = line.iter().rev().skip(1).copied().collect();
    back.push(b'\n');
    back
}

fn facts(tls: &CommonState) -> String {
    let version = match tls.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "-",
    };
    let cipher = tls.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())).unwrap_or_default();
    let alpn = tls.alpn_protocol().map(|name| format!(" alpn={}", String::from_utf8_lossy(name))).unwrap_or_default();
    let kind = match tls.handshake_kind() {
        Some(HandshakeKind::Full) => "full",
        Some(HandshakeKind::FullWithHelloRetryRequest) => "retry",
        Some(HandshakeKind::Resumed) => "resumed",
        _ => "-",
    };
    let certificates = tls.peer_certificates().map_or(0, <[_]>::len);
    format!("version={version} cipher={cipher}{alpn} kind={kind} certificates={certificates}")
}

fn server(words: &Words) -> Result<Arc<ServerConfig>> {
    let provider = provider(words)?;
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&versions(words)?)?;
    let builder = if words.get("verify").is_some_and(|verify| verify == "yes") {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(words)?), provider).build()?;
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let (chain, key) = own_certificate(words)?;
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = alpn(words);
    config.max_fragment_size = fragment(words)?;
    if words.contains_key("early") {
        config.max_early_data_size = 16_384;
    }
    Ok(Arc::new(config))
}

fn client(words: &Words) -> Result<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(provider(words)?).with_protocol_versions(&versions(words)?)?;
    let builder = builder.with_root_certificates(roots(words)?);
    let mut config = if words.contains_key("cert") {
        let (chain, key) = own_certificate(words)?;
        builder.with_client_auth_cert(chain, key)?
    } else {
        builder.with_no_client_auth()
    };
    config.alpn_protocols = alpn(words);
    config.max_fragment_size = fragment(words)?;
    config.resumption = Resumption::store(Arc::new(Forgetful(ClientSessionMemoryCache::new(8))));
    config.enable_early_data = words.contains_key("early");
    Ok(Arc::new(config))
}

/// Keeps sessions, but not which key exchange a server wanted: that would spare it the retry, and this is about it.
#[derive(Debug)]
struct Forgetful(ClientSessionMemoryCache);

impl ClientSessionStore for Forgetful {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, server: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.0.set_tls12_session(server, session);
    }

    fn tls12_session(&self, server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(server)
    }

    fn remove_tls12_session(&self, server: &ServerName<'static>) {
        self.0.remove_tls12_session(server);
    }

    fn insert_tls13_ticket(&self, server: ServerName<'static>, session: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(server, session);
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(server)
    }
}

fn provider(words: &Words) -> Result<Arc<CryptoProvider>> {
    let mut provider = ring::default_provider();
    if let Some(groups) = words.get("groups") {
        let group = |name| -> Result<&'static dyn SupportedKxGroup> {
            Ok(match name {
                "X25519" => ring::kx_group::X25519,
                "P-256" => ring::kx_group::SECP256R1,
                "P-384" => ring::kx_group::SECP384R1,
                other => bail!("no group {other}"),
            })
        };
        provider.kx_groups = groups.split(':').map(group).collect::<Result<_>>()?;
    }
    Ok(Arc::new(provider))
}

fn versions(words: &Words) -> Result<Vec<&'static SupportedProtocolVersion>> {
    Ok(match words.get("tls").map(String::as_str) {
        None => vec![&version::TLS12, &version::TLS13],
        Some("1.2") => vec![&version::TLS12],
        Some("1.3") => vec![&version::TLS13],
        Some(other) => bail!("no TLS {other}"),
    })
}

fn roots(words: &Words) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(words.get("ca").context("no ca=")?)?)?;
    Ok(roots)
}

fn own_certificate(words: &Words) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let file = |key: &str| words.get(key).with_context(|| format!("no {key}="));
    Ok((vec![CertificateDer::from_pem_file(file("cert")?)?], PrivateKeyDer::from_pem_file(file("key")?)?))
}

fn alpn(words: &Words) -> Vec<Vec<u8>> {
    words.get("alpn").map(|names| names.split(',').map(|name| name.as_bytes().to_vec()).collect()).unwrap_or_default()
}

fn fragment(words: &Words) -> Result<Option<usize>> {
    Ok(words.get("fragment").map(|size| size.parse()).transpose()?)
}
