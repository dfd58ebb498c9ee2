//! `sekisho audit`: what an auditor asks of a network. One file a question; `attempt.rs` is how a way out is tried, and
//! `wire.rs` the bytes that are said on it.

mod answer;
mod attempt;
mod egress;
mod wire;

use std::io;

use clap::Subcommand;

use super::Done;

#[derive(Debug, Subcommand)]
pub(super) enum Question {
    /// Try every way out of this host towards hosts of your own, and say which are open; exit status 1 when one is
    Egress(egress::Arguments),
    /// On such a host outside: answer whatever `sekisho audit egress` sends, so that an open way shows
    Answer(answer::Arguments),
}

pub(super) fn audit(question: &Question) -> io::Result<Done> {
    match question {
        Question::Egress(arguments) => egress::egress(arguments),
        Question::Answer(arguments) => answer::answer(arguments),
    }
}

/// The TCP ports that are tried and answered unless others are named: what data is carried out by where nobody looks.
const TCP: &str = "22,25,53,80,443,853,8080,8443";

/// The same for UDP.
const UDP: &str = "53,123,443,853,51820";
