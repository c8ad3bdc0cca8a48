//! What agents do at their desks: states, offers, hold, mute, wrap-up, and now and then something that makes no sense.

use std::time::Duration;

use cti_base::{CallId, OfferId, Rng};
use cti_switch::desk::{Command, WantedState};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub fn state(rng: &mut Rng) -> Command {
    let reason = |reason: &str| Some(reason.to_owned());
    match rng.below(10) {
        0 => Command::SetState { state: WantedState::Break, reason: reason("meal") },
        1 => Command::SetState { state: WantedState::Break, reason: reason("a reason that nobody declared") },
        2 => Command::SetState { state: WantedState::Offline, reason: None },
        _ => Command::SetState { state: WantedState::Ready, reason: None },
    }
}

/// An offer is shown: what the agent does about it, each so long after.
pub fn on_offer(rng: &mut Rng, offer_id: OfferId) -> Vec<(Duration, Command)> {
    match rng.below(20) {
        0..=2 => vec![(ms(300 + rng.below(4_000)), Command::Reject { offer_id, reason: Some("busy".into()) })],
        3..=8 => vec![(ms(rng.below(4_000)), Command::Accept { offer_id })],
        // Twice, as an impatient hand does.
        9 => vec![(ms(500), Command::Accept { offer_id }), (ms(520), Command::Accept { offer_id })],
        10 => vec![(ms(5), Command::Reject { offer_id, reason: None })],
        _ => Vec::new(),
    }
}

/// The call is connected.
pub fn on_answer(rng: &mut Rng, call_id: CallId) -> Vec<(Duration, Command)> {
    let at = ms(200 + rng.below(6_000));
    let later = at + ms(rng.below(5_000));
    match rng.below(12) {
        0..=2 => vec![(at, Command::Hold { call_id }), (later, Command::Retrieve { call_id })],
        3 => vec![(at, Command::Hold { call_id })],
        4 => vec![(at, Command::Mute { call_id }), (later, Command::Unmute { call_id })],
        5 => vec![(at, Command::Retrieve { call_id })],
        6 => vec![(later, Command::Hangup { call_id })],
        7 => vec![(at, Command::FinishWrapup { call_id, disposition: None })],
        _ => Vec::new(),
    }
}

/// Wrap-up has begun.
pub fn on_wrapup(rng: &mut Rng, call_id: CallId) -> Vec<(Duration, Command)> {
    let at = ms(rng.below(8_000));
    let finish =
        |disposition: Option<&str>| Command::FinishWrapup { call_id, disposition: disposition.map(str::to_owned) };
    match rng.below(8) {
        0 => vec![(at, Command::ExtendWrapup { call_id })],
        1 => vec![(at, finish(Some("a word that nobody declared")))],
        2 => vec![(at, finish(None)), (at + ms(1), finish(None))],
        3..=5 => vec![(at, finish(Some("resolved")))],
        _ => Vec::new(),
    }
}
