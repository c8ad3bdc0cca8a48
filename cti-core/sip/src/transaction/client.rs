use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Deadlines, Fired, Letter};
use crate::timer::{T2, TIMER_A, TIMER_B, TIMER_D, TIMER_E, TIMER_F, TIMER_K, TIMER_M, doubled_to_t2};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientKind {
    Invite,
    NonInvite,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientState {
    /// Calling (INVITE) or Trying.
    Waiting,
    Proceeding,
    /// A final answer came (of 300 or more for INVITE).
    Completed,
    /// RFC 6026: a 2xx to INVITE came.
    Accepted,
}

/// A client transaction (RFC 3261 17.1, RFC 6026 8.4).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Client {
    pub kind: ClientKind,
    pub state: ClientState,
    pub reliable: bool,
    #[serde(with = "crate::saved::micros")]
    interval: Duration,
}

/// What a response means to the transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Pass it to the user.
    pub deliver: bool,
    /// Send the ACK of a final answer of 300 or more.
    pub ack: bool,
    /// The state's new deadlines, where it changed.
    pub deadlines: Option<Deadlines>,
}

impl Client {
    /// The transaction with its first deadlines; its request is to be sent now.
    pub fn new(kind: ClientKind, reliable: bool) -> (Self, Deadlines) {
        let (interval, end) = match kind {
            ClientKind::Invite => (TIMER_A, TIMER_B),
            ClientKind::NonInvite => (TIMER_E, TIMER_F),
        };
        let deadlines = Deadlines { retransmit: (!reliable).then_some(interval), end: Some(end) };
        (Self { kind, state: ClientState::Waiting, reliable, interval }, deadlines)
    }

    pub fn receive(&mut self, code: u16) -> Received {
        match (self.kind, self.state) {
            (ClientKind::Invite, ClientState::Waiting | ClientState::Proceeding) => match code {
                100..=199 => self.enter(ClientState::Proceeding, true, false, Deadlines::default()),
                200..=299 => {
                    let end = Deadlines { retransmit: None, end: Some(TIMER_M) };
                    self.enter(ClientState::Accepted, true, false, end)
                }
                _ => {
                    let end = if self.reliable { Duration::ZERO } else { TIMER_D };
                    self.enter(ClientState::Completed, true, true, Deadlines { retransmit: None, end: Some(end) })
                }
            },
            (ClientKind::Invite, ClientState::Completed) => Received { ack: code >= 300, ..Received::default() },
            (ClientKind::Invite, ClientState::Accepted) => {
                Received { deliver: (200..300).contains(&code), ..Received::default() }
            }
            (ClientKind::NonInvite, ClientState::Waiting | ClientState::Proceeding) => match code {
                // Timer F goes on; timer E goes on at T2 (17.1.2.2), from its next firing.
                100..=199 => {
                    self.state = ClientState::Proceeding;
                    Received { deliver: true, ..Received::default() }
                }
                _ => {
                    let end = if self.reliable { Duration::ZERO } else { TIMER_K };
                    self.enter(ClientState::Completed, true, false, Deadlines { retransmit: None, end: Some(end) })
                }
            },
            (ClientKind::NonInvite, ClientState::Completed | ClientState::Accepted) => Received::default(),
        }
    }

    pub fn fire(&mut self, letter: Letter) -> Fired {
        match (letter, self.state) {
            (Letter::Retransmit, ClientState::Waiting) => {
                self.interval = match self.kind {
                    ClientKind::Invite => self.interval * 2,
                    ClientKind::NonInvite => doubled_to_t2(self.interval),
                };
                Fired::SendAgain(self.interval)
            }
            (Letter::Retransmit, ClientState::Proceeding) if self.kind == ClientKind::NonInvite => {
                self.interval = T2;
                Fired::SendAgain(T2)
            }
            (Letter::Retransmit, _) => Fired::Nothing,
            (Letter::End, ClientState::Waiting | ClientState::Proceeding) => Fired::TimedOut,
            (Letter::End, ClientState::Completed | ClientState::Accepted) => Fired::Done,
        }
    }

    /// No final answer yet.
    pub const fn is_waiting(&self) -> bool {
        matches!(self.state, ClientState::Waiting | ClientState::Proceeding)
    }

    fn enter(&mut self, state: ClientState, deliver: bool, ack: bool, deadlines: Deadlines) -> Received {
        self.state = state;
        Received { deliver, ack, deadlines: Some(deadlines) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timer::{T1, T4};

    /// Seconds*2 (units of T1) at which an unanswered request goes out again before it times out.
    fn schedule(kind: ClientKind) -> (Vec<u64>, u64) {
        let (mut client, first) = Client::new(kind, false);
        let end = first.end.expect("an end is armed");
        let (mut at, mut next, mut sent) =
            (Duration::ZERO, first.retransmit.expect("a datagram is sent again"), vec![]);
        while at + next < end {
            at += next;
            match client.fire(Letter::Retransmit) {
                Fired::SendAgain(interval) => next = interval,
                other => panic!("{other:?}"),
            }
            sent.push((at.as_millis() / T1.as_millis()) as u64);
        }
        assert_eq!(client.fire(Letter::End), Fired::TimedOut);
        (sent, (end.as_millis() / T1.as_millis()) as u64)
    }

    #[test]
    fn requests_are_sent_again_by_timers_a_and_e_until_b_and_f() {
        assert_eq!(schedule(ClientKind::Invite), (vec![1, 3, 7, 15, 31, 63], 64));
        assert_eq!(schedule(ClientKind::NonInvite), (vec![1, 3, 7, 15, 23, 31, 39, 47, 55, 63], 64));
    }

    #[test]
    fn a_reliable_transport_sends_once_and_waits_for_no_repetition() {
        for kind in [ClientKind::Invite, ClientKind::NonInvite] {
            let (mut client, first) = Client::new(kind, true);
            assert_eq!(first.retransmit, None);
            let received = client.receive(486);
            assert_eq!(received.deadlines.and_then(|d| d.end), Some(Duration::ZERO), "{kind:?}");
        }
    }

    #[test]
    fn every_response_in_every_state_does_what_the_figures_say() {
        use ClientState::{Accepted, Completed, Proceeding, Waiting};
        let check = |kind, state, code, expect_state, deliver, ack, end: Option<Duration>| {
            let (mut client, _) = Client::new(kind, false);
            client.state = state;
            let received = client.receive(code);
            assert_eq!(client.state, expect_state, "{kind:?} {state:?} {code}");
            assert_eq!((received.deliver, received.ack), (deliver, ack), "{kind:?} {state:?} {code}");
            assert_eq!(received.deadlines.and_then(|d| d.end), end, "{kind:?} {state:?} {code}");
        };
        let invite = ClientKind::Invite;
        check(invite, Waiting, 180, Proceeding, true, false, None);
        check(invite, Waiting, 200, Accepted, true, false, Some(TIMER_M));
        check(invite, Waiting, 486, Completed, true, true, Some(TIMER_D));
        check(invite, Proceeding, 183, Proceeding, true, false, None);
        check(invite, Proceeding, 200, Accepted, true, false, Some(TIMER_M));
        check(invite, Proceeding, 603, Completed, true, true, Some(TIMER_D));
        check(invite, Completed, 486, Completed, false, true, None);
        check(invite, Completed, 180, Completed, false, false, None);
        check(invite, Accepted, 200, Accepted, true, false, None);
        check(invite, Accepted, 486, Accepted, false, false, None);
        let other = ClientKind::NonInvite;
        check(other, Waiting, 100, Proceeding, true, false, None);
        check(other, Waiting, 200, Completed, true, false, Some(T4));
        check(other, Proceeding, 500, Completed, true, false, Some(T4));
        check(other, Completed, 200, Completed, false, false, None);
    }
}
