//! The four transactions of RFC 3261 17 as state machines without effects: a message or a timer goes in, and what its
//! owner has to do comes out. The endpoint keeps them in its tables, arms their timers and sends for them.

mod client;
mod server;

pub use client::{Client, ClientKind, Received};
pub use server::{Repeated, Server, ServerKind, ServerState};

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Which of a transaction's two deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Letter {
    /// Timer A, E or G: send again.
    Retransmit,
    /// Timer B, D, F, H, I, J, K, L or M: the state's end.
    End,
}

/// What the end of a state's time means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fired {
    /// Send the last message again, and arm `Retransmit` anew after this.
    SendAgain(Duration),
    /// No answer came (timers B, F, H): tell the user, and forget the transaction.
    TimedOut,
    /// The transaction has done its work: forget it.
    Done,
    Nothing,
}

/// The deadlines of a state: `None` is not armed; zero ends the state at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadlines {
    pub retransmit: Option<Duration>,
    pub end: Option<Duration>,
}
