//! A node's life: settings → policy → sockets → resolver → workers → signals → lame duck → drain.

mod descriptors;
mod keeper;
mod systemd;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sekisho_policy::Diagnostics;
use sekisho_resolve::Resolver;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry};

use crate::admin::{self, Surface};
use crate::config::Config;
use crate::engine::{self, Engine, Sockets};
use crate::features::Features;
use crate::handed::Handed;
use crate::limits::Caps;
use crate::listen::{self, BindError};
use crate::metrics::Metrics;
use crate::node::{Node, Stage};
use crate::own::OwnSockets;
use crate::policy_store::PolicyStore;
use crate::privilege::{self, ShedError};
use crate::recent::Recent;
use crate::record::AccessLog;
use crate::settings::{Destination, Settings};
use crate::shared::Shared;
use crate::sources::{SourceError, Sources};

use keeper::Keeper;

/// Why a node did not start, or ended otherwise than it was told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// `sekisho.yaml` is faulty.
    #[error("the configuration is faulty")]
    Config(Box<Diagnostics>),
    /// The policy is faulty.
    #[error("the policy is faulty")]
    Policy(Box<Diagnostics>),
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Capabilities that have served cannot be given up.
    #[error(transparent)]
    Shed(#[from] ShedError),
    /// An address cannot be dialled from.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The access log cannot be written.
    #[error("cannot open the access log {path}")]
    AccessLog {
        /// Its path.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The resolver did not start.
    #[error(transparent)]
    Resolver(#[from] sekisho_resolve::StartError),
    /// The workers did not start.
    #[error(transparent)]
    Engine(#[from] engine::StartError),
    /// The main thread's runtime could not be made.
    #[error("cannot start the main thread's runtime")]
    Runtime(#[source] io::Error),
    /// A worker or the resolver ended by itself.
    #[error("a worker thread or the resolver ended by itself; what depended on it is lost, and this process with it")]
    ThreadLost,
    /// The process was told to end and did, but not every record reached the access log.
    #[error("not every record reached the access log")]
    RecordsLost,
}

/// Serves until told to stop. Blocks; prints nothing but the operator's log. `threads` is called once this process has
/// the privileges that it keeps: only then may there be other threads.
///
/// # Errors
/// [`RunError`] says why it could not start, or what went wrong at its end.
pub fn run(path: &Path, threads: fn()) -> Result<(), RunError> {
    let handed = Handed::from_environment().map_err(BindError::from)?;
    let Config { settings, faults, .. } = Config::load(path);
    let Some(settings) = settings else { return Err(RunError::Config(Box::new(faults))) };
    start_log(&settings);
    if faults.warnings() > 0 {
        tracing::warn!("the configuration has warnings:\n{}", faults.human());
    }
    descriptors::raise(&settings.limits);
    let (policy, warnings) =
        PolicyStore::open(&settings.policy, settings.threads).map_err(|faults| RunError::Policy(Box::new(faults)))?;
    if warnings.warnings() > 0 {
        tracing::warn!("the policy has warnings:\n{}", warnings.human());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Runtime)?;
    runtime.block_on(serve(settings, Arc::new(policy), handed, threads))
}

async fn serve(settings: Settings, policy: Arc<PolicyStore>, handed: Handed, threads: fn()) -> Result<(), RunError> {
    let sources = Arc::new(Sources::new(&settings.upstream.source_addresses)?);
    let sockets = Sockets::open(&settings, handed)?;
    let admin = settings.admin.as_ref().map(|admin| listen_one(admin.bind)).transpose()?;
    let health = settings.health.as_ref().map(|health| listen_one(health.bind)).transpose()?;
    if settings.listeners.iter().any(|listener| listener.destination == Destination::Tproxy) {
        privilege::shed()?;
    }
    threads();
    let bound = |socket: &Option<tokio::net::TcpListener>| socket.as_ref().and_then(|s| s.local_addr().ok());
    let (admin_at, health_at) = (bound(&admin), bound(&health));
    let listening = sockets.addresses();
    let own = OwnSockets::new(listening.iter().copied().chain(admin_at).chain(health_at));

    let metrics = Metrics::new(&settings);
    let resolver = Resolver::start_observed(resolver_settings(&settings), metrics.dns_observer())?;
    let digest = policy.current().policy.digest().to_owned();
    let log = AccessLog::start(&settings, &digest).map_err(|source| {
        let path = settings.access_log.as_ref().and_then(|log| log.path.as_ref());
        RunError::AccessLog { path: path.map_or("-".to_owned(), |path| path.display().to_string()), source }
    })?;
    // From here on the kernel's own signals reach the loop below, so nothing that was begun is cut short.
    let signals = Signals::new().map_err(RunError::Runtime)?;
    let caps = Caps::new(settings.limits);
    let features = Arc::new(Features::probe());
    let recent = Recent::new(settings.threads);
    let shared = Arc::new(Shared { settings, policy, resolver, log, caps, own, sources, features, recent });
    let node = Arc::new(Node::new(Arc::clone(&shared), metrics, listening.clone()));
    let engine = Engine::start(&shared, node.metrics(), sockets)?;
    for (socket, surface) in [(admin, Surface::Admin), (health, Surface::Health)] {
        if let Some(socket) = socket {
            tokio::spawn(admin::serve(socket, Arc::clone(&node), surface));
        }
    }
    let keeper = Keeper::start(Arc::clone(&shared)).map_err(RunError::Runtime)?;

    for (listener, address) in shared.settings.listeners.iter().zip(&listening) {
        tracing::info!(listener = %listener.name, %address, destination = %listener.destination, "listening");
    }
    let servers = shared.resolver.servers().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let at = |address: Option<std::net::SocketAddr>| address.map_or("off".to_owned(), |address| address.to_string());
    tracing::info!(admin = %at(admin_at), health = %at(health_at), dns = %servers, digest = %digest, "sekisho serves");
    Running { node, engine, keeper, signals }.until_told().await
}

/// Everything that runs, until it is told to end.
struct Running {
    node: Arc<Node>,
    engine: Engine,
    keeper: Keeper,
    signals: Signals,
}

impl Running {
    async fn until_told(mut self) -> Result<(), RunError> {
        systemd::ready(&self.node);
        let told = self.attend(std::future::pending::<()>()).await;
        let mut healthy = !matches!(told, Told::ThreadLost);
        let shutdown = self.node.shared().settings.shutdown;
        if healthy {
            // The balancer has to see that this node is not ready before it stops taking what the balancer still sends.
            tracing::info!(lame_duck = ?shutdown.lame_duck, "told to stop: not ready, still accepting");
            self.node.enter(Stage::LameDuck);
            systemd::stopping();
            let mut told = self.attend(tokio::time::sleep(shutdown.lame_duck)).await;
            self.engine.stop_accepting();
            self.node.enter(Stage::Draining);
            tracing::info!(drain = ?shutdown.drain, open = self.engine.active(), "no longer accepting");
            let drained = self.engine.drained(shutdown.drain);
            if !matches!(told, Told::ThreadLost) {
                told = self.attend(drained).await;
            }
            healthy = !matches!(told, Told::ThreadLost);
        }
        let left = self.engine.active();
        if left > 0 {
            tracing::warn!(left, "connections are cut");
        }
        self.engine.abort();
        self.keeper.stop();
        let written = self.node.shared().log.finish();
        tracing::info!("ended");
        match (healthy, written) {
            (false, _) => Err(RunError::ThreadLost),
            (true, false) => Err(RunError::RecordsLost),
            (true, true) => Ok(()),
        }
    }

    /// Attends to signals until `done`, or until told to stop (once more).
    async fn attend<F: Future>(&mut self, done: F) -> Told {
        let mut done = std::pin::pin!(done);
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                _ = &mut done => return Told::Done,
                _ = self.signals.stop.recv() => return Told::Stop,
                _ = self.signals.interrupt.recv() => return Told::Stop,
                _ = self.signals.reload.recv() => {
                    let serving = self.node.stage() == Stage::Serving;
                    if serving {
                        systemd::reloading();
                    }
                    self.keeper.reload().await;
                    if serving {
                        systemd::ready(&self.node);
                    }
                }
                _ = self.signals.reopen.recv() => self.node.shared().log.reopen(),
                _ = second.tick() => {
                    let workers = self.node.stage() == Stage::Draining || self.engine.healthy();
                    if !workers || !self.node.shared().resolver.is_running() {
                        return Told::ThreadLost;
                    }
                    systemd::alive();
                }
            }
        }
    }
}

/// Why attending ended.
enum Told {
    Done,
    Stop,
    ThreadLost,
}

struct Signals {
    stop: Signal,
    interrupt: Signal,
    reload: Signal,
    reopen: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            stop: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
            reopen: signal(SignalKind::user_defined1())?,
        })
    }
}

fn listen_one(address: std::net::SocketAddr) -> Result<tokio::net::TcpListener, BindError> {
    let refused = |source| BindError::Refused { address, source };
    let mut sockets = listen::bind(address, 1)?;
    let socket = sockets.pop().ok_or_else(|| refused(io::ErrorKind::NotFound.into()))?;
    tokio::net::TcpListener::from_std(socket).map_err(refused)
}

/// The resolver's settings: what the file says, and the resolver's own defaults for the rest.
pub(crate) fn resolver_settings(settings: &Settings) -> sekisho_resolve::Settings {
    let dns = &settings.dns;
    sekisho_resolve::Settings {
        servers: dns.servers.clone(),
        ttl_min: dns.ttl_min,
        ttl_max: dns.ttl_max,
        serve_stale: dns.serve_stale,
        ..sekisho_resolve::Settings::default()
    }
}

/// The operator's log, on stderr: this program's own words at the level of the file, and other libraries' warnings; but not
/// those on replies that look forged, which anybody could make by the thousand.
fn start_log(settings: &Settings) {
    use std::io::IsTerminal;
    let level = settings.log.level;
    let of_whom = Targets::new()
        .with_default(Level::WARN)
        .with_target("hickory_net", Level::ERROR)
        .with_targets([("sekisho", level), ("sekisho_resolve", level)]);
    let lines = fmt::layer().with_writer(io::stderr);
    let result = if settings.log.json {
        registry().with(of_whom).with(lines.json().flatten_event(true)).try_init()
    } else {
        registry().with(of_whom).with(lines.with_ansi(io::stderr().is_terminal())).try_init()
    };
    // Only a second node in one process, as in tests, finds a log there already.
    drop(result);
}
