use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Deadlines, Fired, Letter};
use crate::timer::{TIMER_G, TIMER_H, TIMER_I, TIMER_J, TIMER_L, doubled_to_t2};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerKind {
    Invite,
    NonInvite,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerState {
    /// Trying or Proceeding: no final answer yet.
    Proceeding,
    /// A final answer was sent (of 300 or more for INVITE).
    Completed,
    /// The ACK of that answer came.
    Confirmed,
    /// RFC 6026: a 2xx to INVITE was sent; its user repeats it.
    Accepted,
}

/// A server transaction (RFC 3261 17.2, RFC 6026 8.7).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Server {
    pub kind: ServerKind,
    pub state: ServerState,
    pub reliable: bool,
    #[serde(with = "crate::saved::micros")]
    interval: Duration,
}

/// What a repeated request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeated {
    /// Send the last response again, if there is one.
    SendAgain,
    Absorb,
}

impl Server {
    pub const fn new(kind: ServerKind, reliable: bool) -> Self {
        Self { kind, state: ServerState::Proceeding, reliable, interval: TIMER_G }
    }

    /// A response is about to be sent: the new deadlines, or `None` where this state sends none.
    pub fn respond(&mut self, code: u16) -> Option<Deadlines> {
        if self.state != ServerState::Proceeding {
            return None;
        }
        let (state, deadlines) = match (self.kind, code) {
            (_, 100..=199) => return Some(Deadlines::default()),
            (ServerKind::Invite, 200..=299) => {
                (ServerState::Accepted, Deadlines { retransmit: None, end: Some(TIMER_L) })
            }
            (ServerKind::Invite, _) => {
                let retransmit = (!self.reliable).then_some(TIMER_G);
                (ServerState::Completed, Deadlines { retransmit, end: Some(TIMER_H) })
            }
            (ServerKind::NonInvite, _) => {
                let end = if self.reliable { Duration::ZERO } else { TIMER_J };
                (ServerState::Completed, Deadlines { retransmit: None, end: Some(end) })
            }
        };
        self.state = state;
        Some(deadlines)
    }

    pub const fn repeat(&self) -> Repeated {
        match self.state {
            ServerState::Proceeding | ServerState::Completed => Repeated::SendAgain,
            ServerState::Confirmed | ServerState::Accepted => Repeated::Absorb,
        }
    }

    /// An ACK with the INVITE's branch: the new deadlines if it ends the waiting for it.
    pub fn acknowledge(&mut self) -> Option<Deadlines> {
        if self.kind != ServerKind::Invite || self.state != ServerState::Completed {
            return None;
        }
        self.state = ServerState::Confirmed;
        Some(Deadlines { retransmit: None, end: Some(if self.reliable { Duration::ZERO } else { TIMER_I }) })
    }

    pub fn fire(&mut self, letter: Letter) -> Fired {
        match (letter, self.state) {
            (Letter::Retransmit, ServerState::Completed) => {
                self.interval = doubled_to_t2(self.interval);
                Fired::SendAgain(self.interval)
            }
            (Letter::Retransmit, _) | (Letter::End, ServerState::Proceeding) => Fired::Nothing,
            (Letter::End, ServerState::Completed) if self.kind == ServerKind::Invite => Fired::TimedOut,
            (Letter::End, ServerState::Completed | ServerState::Confirmed | ServerState::Accepted) => Fired::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timer::{T1, T4};

    #[test]
    fn a_refusal_is_repeated_by_timer_g_until_its_ack_or_timer_h() {
        let mut server = Server::new(ServerKind::Invite, false);
        let first = server.respond(486).expect("a final answer is sent");
        assert_eq!(first, Deadlines { retransmit: Some(T1), end: Some(TIMER_H) });
        let intervals: Vec<Fired> = (0..4).map(|_| server.fire(Letter::Retransmit)).collect();
        assert_eq!(intervals, [2, 4, 8, 8].map(|t| Fired::SendAgain(T1 * t)));
        assert_eq!(server.acknowledge(), Some(Deadlines { retransmit: None, end: Some(T4) }));
        assert_eq!(server.acknowledge(), None);
        assert_eq!(server.fire(Letter::End), Fired::Done);
    }

    #[test]
    fn repeated_requests_are_answered_or_absorbed_by_state() {
        let check = |kind, code: Option<u16>, expect: Repeated, end: Option<Duration>| {
            let mut server = Server::new(kind, false);
            let deadlines = code.and_then(|code| server.respond(code));
            assert_eq!(server.repeat(), expect, "{kind:?} {code:?}");
            assert_eq!(deadlines.and_then(|d| d.end), end, "{kind:?} {code:?}");
        };
        check(ServerKind::Invite, None, Repeated::SendAgain, None);
        check(ServerKind::Invite, Some(180), Repeated::SendAgain, None);
        check(ServerKind::Invite, Some(200), Repeated::Absorb, Some(TIMER_L));
        check(ServerKind::Invite, Some(486), Repeated::SendAgain, Some(TIMER_H));
        check(ServerKind::NonInvite, Some(200), Repeated::SendAgain, Some(TIMER_J));
    }

    #[test]
    fn only_one_final_answer_is_sent() {
        let mut server = Server::new(ServerKind::Invite, false);
        assert!(server.respond(200).is_some());
        assert_eq!(server.respond(486), None);
        assert_eq!(server.respond(200), None);
    }
}
