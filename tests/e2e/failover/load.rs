//! Connections that are held and connections that come and go, while something happens to the gates.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::Lab;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::peer::{self, HOST, Task};

const LIMIT: Duration = Duration::from_secs(100);
/// Clients that open one connection after another.
const WORKERS: usize = 4;

/// One short connection.
struct Short {
    to: SocketAddr,
    begun: Instant,
    ended: Instant,
    end: Result<()>,
}

/// What became of the load.
pub(super) struct Load {
    short: Vec<Short>,
    held: usize,
    /// Of the held ones, those that served to the end.
    alive: usize,
}

/// What happened meanwhile.
pub(super) struct Told {
    /// Held connections that each gate had.
    pub(super) open: [usize; 2],
    /// Just before the first one was killed.
    pub(super) killed: Instant,
    /// When no more was sent to it.
    pub(super) detected: Instant,
}

/// How far the load has come, and the word to go on.
pub(super) struct Progress {
    opened: AtomicUsize,
    phase: watch::Sender<Phase>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Phase {
    Holding,
    Busy,
    Over,
}

impl Progress {
    /// Held connections that stand.
    pub(super) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }

    /// Short ones may come.
    pub(super) fn begin(&self) {
        self.phase.send_replace(Phase::Busy);
    }
}

/// Holds so many connections to `to` in turn, lets short ones come when told to, and stops when `act` is done.
pub(super) fn under<T>(
    lab: &Lab,
    to: &[SocketAddr],
    held: usize,
    act: impl FnOnce(&Progress) -> Result<T>,
) -> Result<(Load, T)> {
    let progress = Arc::new(Progress { opened: AtomicUsize::new(0), phase: watch::Sender::new(Phase::Holding) });
    std::thread::scope(|scope| {
        let clients = scope.spawn(|| peer::clients(&lab.client, LIMIT, || all(Arc::clone(&progress), to, held)));
        let acted = act(&progress);
        progress.phase.send_replace(Phase::Over);
        let (short, alive) = clients.join().map_err(|_| anyhow::anyhow!("the clients panicked"))???;
        Ok((Load { short, held, alive }, acted?))
    })
}

async fn all(progress: Arc<Progress>, to: &[SocketAddr], held: usize) -> Result<(Vec<Short>, usize)> {
    let in_turn = |count| to.iter().copied().cycle().take(count);
    let holding: Vec<_> = in_turn(held).map(|to| tokio::spawn(hold(Arc::clone(&progress), to))).collect();
    let coming: Vec<_> =
        in_turn(WORKERS).map(|to| tokio::spawn(one_after_another(Arc::clone(&progress), to))).collect();
    let (mut short, mut alive) = (Vec::new(), 0);
    for one in coming {
        short.extend(one.await?);
    }
    for one in holding {
        alive += usize::from(one.await?);
    }
    Ok((short, alive))
}

/// One connection that is used now and then until all is over. Whether it lived so long.
async fn hold(progress: Arc<Progress>, to: SocketAddr) -> bool {
    let mut phase = progress.phase.subscribe();
    let Ok(mut stream) = peer::open(to, HOST, Task::Echo).await else { return false };
    if !answers(&mut stream).await {
        return false;
    }
    progress.opened.fetch_add(1, Ordering::Relaxed);
    loop {
        let over = tokio::time::timeout(Duration::from_millis(300), phase.wait_for(|phase| *phase == Phase::Over));
        let over = over.await.is_ok();
        if !answers(&mut stream).await {
            return false;
        }
        if over {
            return stream.shutdown().await.is_ok();
        }
    }
}

async fn answers(stream: &mut TcpStream) -> bool {
    matches!(tokio::time::timeout(Duration::from_secs(10), peer::ping(stream, b"still")).await, Ok(Ok(())))
}

async fn one_after_another(progress: Arc<Progress>, to: SocketAddr) -> Vec<Short> {
    let mut all = Vec::new();
    let mut phase = progress.phase.subscribe();
    let _ = phase.wait_for(|phase| *phase >= Phase::Busy).await;
    while *phase.borrow_and_update() == Phase::Busy {
        let begun = Instant::now();
        let end = tokio::time::timeout(Duration::from_secs(10), peer::echo_once(to, HOST, b"again")).await;
        let end = end.map_err(anyhow::Error::from).and_then(|end| end);
        all.push(Short { to, begun, ended: Instant::now(), end });
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    all
}

impl Load {
    /// Says what failed, and that nothing did which should not have.
    pub(super) fn judge(&self, by: &str, told: &Told) -> Result<()> {
        let failed: Vec<_> = self.short.iter().filter(|short| short.end.is_err()).collect();
        let open = failed.iter().filter(|short| short.begun < told.killed).count();
        let unknown = failed.iter().filter(|short| (told.killed..told.detected).contains(&short.begun)).count();
        let after: Vec<_> = failed.iter().filter(|short| short.begun >= told.detected).collect();
        let fine = self.short.iter().filter(|short| short.begun >= told.detected && short.end.is_ok());
        let fine: Vec<_> = fine.map(|short| short.to).collect();
        let meanwhile = self.short.iter().filter(|short| (told.killed..told.detected).contains(&short.begun)).count();
        println!(
            "{by}: {} short connections; of those open at the death {open} failed; {unknown} of {meanwhile} in the {:?} until \
             it was found out; {} of {} afterwards. Of {} held, {} were the dead gate's, and {} died",
            self.short.len(),
            told.detected - told.killed,
            after.len(),
            after.len() + fine.len(),
            self.held,
            told.open[0],
            self.held - self.alive,
        );
        let early = failed.iter().find(|short| short.ended < told.killed);
        ensure!(early.is_none(), "one failed while both gates lived: {:?}", early.map(|short| &short.end));
        let late = after.first().map(|short| &short.end);
        ensure!(after.is_empty(), "{} failed after it was found out, the first by {late:?}", after.len());
        ensure!(open <= WORKERS, "{open} connections of {WORKERS} clients were open at one time");
        for to in self.short.iter().map(|short| short.to) {
            ensure!(fine.iter().filter(|fine| **fine == to).count() > 20, "hardly anything went to {to} afterwards");
        }
        ensure!(told.open.iter().sum::<usize>() == self.held, "{:?} are open of {}", told.open, self.held);
        ensure!(
            self.alive == told.open[1],
            "{} of {} live on, and the other gate had {:?}",
            self.alive,
            self.held,
            told.open
        );
        Ok(())
    }

    /// Says that nothing failed.
    pub(super) fn judge_unharmed(&self) -> Result<()> {
        let failed = self.short.iter().find_map(|short| short.end.as_ref().err());
        ensure!(
            failed.is_none() && self.short.len() > 50,
            "of {} short connections one failed: {failed:?}",
            self.short.len()
        );
        ensure!(self.alive == self.held, "{} of {} held connections live on", self.alive, self.held);
        Ok(())
    }
}
