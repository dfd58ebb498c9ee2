//! The servers: which one is asked, when the next one is, and which are passed over for now.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::tcp::TcpClientStream;
use hickory_resolver::net::udp::UdpClientStream;
use hickory_resolver::net::xfer::{DnsHandle, DnsRequestSender, FirstAnswer};
use hickory_resolver::proto::op::{DnsResponse, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::message::{self, MAX_CHAIN, Reply};

/// For how long a server that kept silent is asked only after the others.
const PENALTY: Duration = Duration::from_secs(30);

/// The configured servers and what is known of their health.
pub(crate) struct Upstream {
    servers: Vec<Arc<Server>>,
    timeout: Duration,
    attempts: usize,
    started: Instant,
}

struct Server {
    address: SocketAddr,
    /// Zero while the server answers; otherwise the millisecond since the start at which it is to be tried again.
    probe_at: AtomicU64,
}

impl Upstream {
    pub(crate) fn new(servers: &[SocketAddr], timeout: Duration, attempts: usize) -> Self {
        let server = |&address| Arc::new(Server { address, probe_at: AtomicU64::new(0) });
        Self {
            servers: servers.iter().map(server).collect(),
            timeout,
            attempts: attempts.max(1),
            started: Instant::now(),
        }
    }

    /// Asks for `name`'s addresses of one family, following a chain that a server leaves open.
    ///
    /// # Errors
    /// What the last server that was heard said, or that none answered.
    pub(crate) async fn ask(&self, name: &Name, family: RecordType) -> Result<Reply, &'static str> {
        let (mut name, mut walked, mut chain_ttl) = (name.clone(), 0, Duration::MAX);
        loop {
            match self.ask_once(&name, family).await? {
                Reply::Follow { target, hops, ttl } => {
                    walked += hops;
                    if walked > MAX_CHAIN {
                        return Err("the CNAME chain is too long");
                    }
                    (name, chain_ttl) = (target, chain_ttl.min(ttl));
                }
                Reply::Addresses { ips, ttl } => return Ok(Reply::Addresses { ips, ttl: ttl.min(chain_ttl) }),
                none => return Ok(none),
            }
        }
    }

    /// One question. The next server is asked as soon as one fails, and after half a timeout of silence beside the
    /// silent one; the first usable reply wins.
    async fn ask_once(&self, name: &Name, family: RecordType) -> Result<Reply, &'static str> {
        let order = self.order();
        let mut plan = order.iter().cycle().take(order.len() * self.attempts);
        let mut running = JoinSet::new();
        let mut last = "no server answered in time";
        loop {
            let next = plan.next();
            match next {
                Some(server) => {
                    running.spawn(server.clone().exchange(name.clone(), family, self.timeout));
                }
                None if running.is_empty() => return Err(last),
                None => {}
            }
            tokio::select! {
                Some(done) = running.join_next() => match done {
                    Ok(Ok(reply)) => return Ok(reply),
                    Ok(Err(error)) => last = error,
                    Err(_) => last = "a query was aborted",
                },
                () = sleep(self.timeout / 2), if next.is_some() => {
                    if let Some(server) = next {
                        self.suspect(server);
                    }
                }
            }
        }
    }

    /// The servers that answer, in the configured order, then those that did not. One whose penalty is over is
    /// first sent a question that nobody waits for.
    fn order(&self) -> Vec<Arc<Server>> {
        let mut order = self.servers.clone();
        order.sort_by_key(|server| server.probe_at.load(Ordering::Relaxed) != 0);
        let now = self.millis();
        for server in &order {
            let probe_at = server.probe_at.load(Ordering::Relaxed);
            if probe_at != 0 && probe_at <= now {
                self.suspect(server);
                tokio::spawn(server.clone().exchange(Name::root(), RecordType::NS, self.timeout));
            }
        }
        order
    }

    fn suspect(&self, server: &Server) {
        server.probe_at.store(self.millis() + millis(PENALTY), Ordering::Relaxed);
    }

    fn millis(&self) -> u64 {
        millis(self.started.elapsed())
    }
}

impl Server {
    /// One question to this server: UDP, then TCP where the reply was cut (RFC 7766 §5), and without EDNS where it
    /// is not understood (RFC 6891 §6.2.2).
    async fn exchange(self: Arc<Self>, name: Name, family: RecordType, limit: Duration) -> Result<Reply, &'static str> {
        let mut response = self.send(&name, family, limit, true).await?;
        if matches!(response.response_code, ResponseCode::FormErr | ResponseCode::NotImp) {
            response = self.send(&name, family, limit, false).await?;
        }
        self.probe_at.store(0, Ordering::Relaxed);
        message::read(&response, &name, family)
    }

    async fn send(
        &self,
        name: &Name,
        family: RecordType,
        limit: Duration,
        edns: bool,
    ) -> Result<DnsResponse, &'static str> {
        let question = message::question(name, family, edns);
        // Every question has a socket of its own on a random port, and a random id (RFC 5452 §9.2).
        let mut udp = UdpClientStream::builder(self.address, TokioRuntimeProvider::default())
            .with_timeout(Some(limit))
            .with_max_retries(1)
            .build();
        let response = udp.send_message(question.clone()).first_answer().await.map_err(|e| transport(&e))?;
        if !response.truncation {
            return Ok(response);
        }
        // It owns the connection's task, so it stays until the answer is there.
        let provider = TokioRuntimeProvider::default();
        let over_tcp = async {
            let tcp = TcpClientStream::exchange(self.address, None, limit, None, provider.clone());
            tcp.await?.send(question).first_answer().await
        };
        timeout(limit, over_tcp).await.map_err(|_| "timeout over TCP")?.map_err(|e| transport(&e))
    }
}

fn transport(error: &NetError) -> &'static str {
    match error {
        NetError::Timeout => "no server answered in time",
        NetError::Io(_) | NetError::NoConnections | NetError::Busy => "no server can be reached",
        NetError::Proto(_) => "a malformed reply",
        _ => "the exchange with the server failed",
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
