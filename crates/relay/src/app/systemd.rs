//! What systemd is told, where it listens (`Type=notify`); nothing elsewhere.

use sd_notify::NotifyState;

use crate::node::Node;

pub(super) fn ready(node: &Node) {
    let active = node.shared().policy.current();
    let digest = active.policy.digest();
    let status = format!("policy {}, {} rules", digest.get(..12).unwrap_or(digest), active.policy.rules().len());
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

pub(super) fn reloading() {
    // `Type=notify-reload` wants the time with it.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("lame duck: not ready, still accepting")]);
}

pub(super) fn alive() {
    if sd_notify::watchdog_enabled().is_some() {
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    // Without `NOTIFY_SOCKET` this does nothing and is no error.
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "cannot notify systemd");
    }
}
