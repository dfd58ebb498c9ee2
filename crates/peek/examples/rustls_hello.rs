//! Sends rustls's own hello to a port on loopback, for the corpus: `rustls_hello HOST PORT [FRAGMENT]`.

use std::error::Error;
use std::io::Read as _;
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(host), Some(port)) = (arguments.next(), arguments.next()) else {
        return Err("usage: rustls_hello HOST PORT [FRAGMENT]".into());
    };
    let mut config = ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.max_fragment_size = arguments.next().map(|size| size.parse()).transpose()?;
    let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from(host)?)?;

    let mut socket = TcpStream::connect(("127.0.0.1", port.parse()?))?;
    while client.wants_write() {
        client.write_tls(&mut socket)?;
    }
    // Nothing answers; this waits until the listener closes.
    socket.read_to_end(&mut Vec::new())?;
    Ok(())
}
