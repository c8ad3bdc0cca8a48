//! `zongji phone`: a scriptable SIP phone, and the library under it for the demo, the benches and the tests.
//!
//! A [`Phone`] has one thread and any number of lines; each line is one SIP address (a UDP socket or a TCP listener) with a
//! [`cti_sip::Endpoint`] as its user agent. Calls go by a [`CallPlan`] (outgoing) or the line's [`LineConfig`] (incoming):
//! what they say, which digits they press, when they answer and hang up. One 20 ms tick serves the audio of all calls;
//! without calls the thread sleeps.

mod args;
mod audio;
mod figures;
mod run;
mod script;
mod sip;
mod streams;
#[cfg(test)]
mod tests;
mod timers;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use cti_sip::Transport;

pub use args::Args;
pub use audio::Sound;
pub use figures::{CallReport, Direction, Figures, Outcome};
pub use run::run;
pub use script::{CallScript, DIGITS_MAX, Span};
use worker::Worker;

/// Lines of one phone.
pub const LINES_MAX: usize = 1_000;
/// Calls of one phone at once; further ones are refused with 486 or [`PhoneError::Full`].
pub const CALLS_MAX: usize = 10_000;
/// Wishes that wait for the phone's thread.
const COMMANDS_MAX: usize = 4_096;
/// How long `stop` waits for the other side to agree to the end of calls and registrations.
const STOP_WAIT: Duration = Duration::from_secs(2);

/// A call of one phone; never used again within a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallNumber(pub u64);

/// Which line, as counted in `PhoneConfig::lines`.
pub type Line = usize;

#[derive(Clone, Debug, Default)]
pub struct PhoneConfig {
    pub lines: Vec<LineConfig>,
}

/// One SIP address.
#[derive(Clone, Debug)]
pub struct LineConfig {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// UDP or TCP.
    pub transport: Transport,
    /// The user part of its address, and of From where a call names no other.
    pub user: String,
    pub register: Option<Register>,
    pub answer: Answer,
    /// What happens on calls that this line answers.
    pub script: CallScript,
    /// Incoming calls at once; the next hears busy (486).
    pub incoming_max: usize,
}

/// A registration to keep.
#[derive(Clone, Debug)]
pub struct Register {
    /// `sip:127.0.0.1:5060`, with an address for a host.
    pub registrar: String,
    /// The host of the address of record.
    pub domain: String,
    pub user: String,
    pub secret: String,
    pub expires_s: u32,
}

/// What a line does with an incoming call.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Rings so long, then answers.
    After(Span),
    /// Rings until [`Phone::answer`] or the caller's `NOTIFY` with `Event: talk`.
    Manual,
    /// Refuses with this status.
    Reject(u16),
}

/// One outgoing call.
#[derive(Clone, Debug)]
pub struct CallPlan {
    pub line: Line,
    /// `sip:4001001000@127.0.0.1:5060`, with an address for a host.
    pub to: String,
    /// The user of From; the line's own without it.
    pub from: Option<String>,
    pub credentials: Option<(String, String)>,
    /// Gives up where nobody has answered after so long.
    pub ring_max: Option<Duration>,
    pub script: CallScript,
}

/// What a phone tells whoever started it.
#[derive(Clone, Debug)]
pub enum PhoneEvent {
    /// Seconds until it ends, or the status that refused it.
    Registered {
        line: Line,
        result: Result<u32, u16>,
    },
    /// A call comes in; `from` is the caller's number.
    Incoming {
        line: Line,
        call: CallNumber,
        from: String,
    },
    /// The other side rings.
    Ringing {
        call: CallNumber,
    },
    Answered {
        call: CallNumber,
    },
    /// The other side pressed a key (RFC 4733 or INFO).
    Digit {
        call: CallNumber,
        digit: char,
    },
    /// The last event of a call.
    Ended {
        call: CallNumber,
        report: Box<CallReport>,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum PhoneError {
    #[error("the phone has no line {0}")]
    NoLine(Line),
    #[error("{LINES_MAX} lines at most")]
    TooManyLines,
    #[error("the phone can not listen on {address}: {source}; choose another --listen address")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("the phone's thread could not start: {0}")]
    Start(io::Error),
    #[error("the phone has too much to do: call less often")]
    Full,
    #[error("the phone has stopped")]
    Stopped,
}

pub(crate) enum Command {
    Dial(CallNumber, Box<CallPlan>),
    Answer(CallNumber),
    Hangup(CallNumber),
    Press(CallNumber, String),
    Stop,
}

/// A phone that runs. Dropping it stops it.
pub struct Phone {
    commands: SyncSender<Command>,
    waker: Arc<mio::Waker>,
    numbers: Arc<AtomicU64>,
    figures: Arc<Mutex<Figures>>,
    addresses: Vec<SocketAddr>,
    thread: Option<JoinHandle<()>>,
}

impl Phone {
    /// Binds every line and starts the thread. `events` is called on that thread and must not block.
    pub fn start(config: PhoneConfig, events: impl FnMut(PhoneEvent) + Send + 'static) -> Result<Self, PhoneError> {
        if config.lines.len() > LINES_MAX {
            return Err(PhoneError::TooManyLines);
        }
        let (commands, inbox) = sync_channel(COMMANDS_MAX);
        let figures = Arc::new(Mutex::new(Figures::default()));
        let numbers = Arc::new(AtomicU64::new(1));
        let worker = Worker::new(config, inbox, Arc::clone(&figures), Arc::clone(&numbers), Box::new(events))?;
        let (waker, addresses) = (worker.waker(), worker.addresses());
        let thread =
            std::thread::Builder::new().name("phone".into()).spawn(move || worker.run()).map_err(PhoneError::Start)?;
        Ok(Self { commands, waker, numbers, figures, addresses, thread: Some(thread) })
    }

    /// Where each line listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Begins a call. Its `Ended` comes whatever becomes of it.
    pub fn dial(&self, plan: CallPlan) -> Result<CallNumber, PhoneError> {
        if plan.line >= self.addresses.len() {
            return Err(PhoneError::NoLine(plan.line));
        }
        let call = CallNumber(self.numbers.fetch_add(1, Ordering::Relaxed));
        self.send(Command::Dial(call, Box::new(plan)))?;
        Ok(call)
    }

    /// Answers a call that rings; nothing for any other.
    pub fn answer(&self, call: CallNumber) -> Result<(), PhoneError> {
        self.send(Command::Answer(call))
    }

    /// Ends a call, whatever its state.
    pub fn hangup(&self, call: CallNumber) -> Result<(), PhoneError> {
        self.send(Command::Hangup(call))
    }

    /// Presses keys (`0-9 * # A-D`, `,` pauses a second) after those that are still to be pressed, [`DIGITS_MAX`] in all.
    pub fn press(&self, call: CallNumber, digits: &str) -> Result<(), PhoneError> {
        self.send(Command::Press(call, digits.to_owned()))
    }

    /// What all calls came to so far.
    pub fn figures(&self) -> Figures {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Hangs up, takes registrations back, waits for the other side's agreement at most two seconds.
    pub fn stop(mut self) -> Figures {
        self.end();
        self.figures()
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        // A full queue is emptied soon; a thread that is gone has stopped.
        while let Err(PhoneError::Full) = self.send(Command::Stop) {
            std::thread::yield_now();
        }
        if thread.join().is_err() {
            tracing::error!("the phone's thread ended by a panic");
        }
    }

    fn send(&self, command: Command) -> Result<(), PhoneError> {
        let sent = self.commands.try_send(command);
        // Woken even when the queue is full: it is what empties it.
        let woken = self.waker.wake();
        match (sent, woken) {
            (Ok(()), Ok(())) => Ok(()),
            (Err(TrySendError::Full(_)), _) => Err(PhoneError::Full),
            (Err(TrySendError::Disconnected(_)), _) | (Ok(()), Err(_)) => Err(PhoneError::Stopped),
        }
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.end();
    }
}
