//! What the system tells a server by signals.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT alike, SIGUSR2, and SIGHUP. Made first of all: a signal that comes before would end the program.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    upgrade: Signal,
    reload: Signal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    End,
    Upgrade,
    /// Certificates are to be read again.
    Reload,
}

impl Signals {
    /// Must be called within a runtime.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            upgrade: signal(SignalKind::user_defined2())?,
            reload: signal(SignalKind::hangup())?,
        })
    }

    pub async fn next(&mut self) -> Told {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Told::End,
            _ = self.interrupt.recv() => Told::End,
            _ = self.upgrade.recv() => Told::Upgrade,
            _ = self.reload.recv() => Told::Reload,
        }
    }

    /// The next one that ends the program.
    pub async fn end(&mut self) {
        while self.next().await != Told::End {
            tracing::warn!("this server is ending: it becomes no new program and reads nothing again");
        }
    }
}
