//! One lookup: both families at once, the answer as soon as it is good enough.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::proto::rr::{self, RecordType};
use sekisho_name::Name;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use crate::cache::Heard;
use crate::message::Reply;
use crate::upstream::Upstream;

/// How long addresses of one family wait for the other's (RFC 8305 §3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// What a lookup tells the thread that began it.
pub(crate) enum Event {
    /// The answer; a family that is `None` follows as [`Event::Late`].
    Answered { name: Name, v4: Option<Heard>, v6: Option<Heard> },
    /// The slower family.
    Late { name: Name, is_v4: bool, heard: Heard },
}

/// Asks for both families of `name` once `permits` lets it, and reports to `events`.
pub(crate) async fn run(name: Name, upstream: Arc<Upstream>, permits: Arc<Semaphore>, events: mpsc::Sender<Event>) {
    // A closed semaphore or channel: the thread is ending and nobody waits any more.
    let Ok(_permit) = permits.acquire_owned().await else { return };
    // The trailing dot makes it absolute: no search list ever applies.
    let Ok(absolute) = rr::Name::from_ascii(format!("{name}.")) else {
        let why = "not a DNS name";
        let _ = events.send(Event::Answered { name, v4: Some(Err(why)), v6: Some(Err(why)) }).await;
        return;
    };
    let mut a = pin!(upstream.ask(&absolute, RecordType::A));
    let mut aaaa = pin!(upstream.ask(&absolute, RecordType::AAAA));
    let (mut v4, mut v6) = (None, None);
    tokio::select! {
        heard = &mut a => v4 = Some(heard),
        heard = &mut aaaa => v6 = Some(heard),
    }
    let patience = if has_addresses(v4.as_ref().or(v6.as_ref())) { RESOLUTION_DELAY } else { Duration::MAX };
    if v4.is_none() {
        v4 = timeout(patience, &mut a).await.ok();
    } else {
        v6 = timeout(patience, &mut aaaa).await.ok();
    }
    let (is_v4, is_v6) = (v4.is_none(), v6.is_none());
    if events.send(Event::Answered { name: name.clone(), v4, v6 }).await.is_err() {
        return;
    }
    let heard = match (is_v4, is_v6) {
        (true, _) => a.await,
        (_, true) => aaaa.await,
        _ => return,
    };
    let _ = events.send(Event::Late { name, is_v4, heard }).await;
}

fn has_addresses(heard: Option<&Heard>) -> bool {
    matches!(heard, Some(Ok(Reply::Addresses { .. })))
}
