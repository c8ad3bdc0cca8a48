//! Session timers (RFC 4028): a call whose other side is gone without a word ends by itself.
//!
//! Whoever calls us may ask for them, and gets what they ask for; of whom we call we ask them ourselves. The refresh is an UPDATE
//! without a body, or where the peer knows none a re-INVITE with the description as it is.

use std::time::Duration;

use bytes::Bytes;
use cti_base::Timestamp;
use rsip::headers::Header;
use serde::{Deserialize, Serialize};

use super::{EndCauseKind, Ending, Phase, Session, Sessions, timer};
use crate::saved::is_default;
use crate::stack::{SessionTimer, Stack, User};
use crate::wire::{Builder, Message, param};
use crate::{EndCause, Event, SessionId};

/// What we ask for, seconds (RFC 4028 4 recommends it).
pub const SESSION_S: u32 = 1_800;
/// The shortest that we agree to, seconds (RFC 4028 5).
pub const MIN_SE_S: u32 = 90;
/// Longer ones are taken as this, seconds.
const SESSION_MAX_S: u32 = 24 * 3_600;
/// A refresh that was refused for something that passes is tried again after this part of the session's time.
const AGAIN_AFTER_PART: u32 = 8;

/// What both sides agreed to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lasting {
    interval_s: u32,
    /// We refresh; otherwise we wait for theirs.
    #[serde(default, skip_serializing_if = "is_default")]
    ours: bool,
    /// Our description, where the peer knows no UPDATE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sdp: Option<Bytes>,
}

/// `Session-Expires`, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    pub interval_s: u32,
    /// Whether the caller shall refresh, where it says.
    by_caller: Option<bool>,
}

impl Wish {
    pub fn of(message: &Message) -> Option<Self> {
        let value = message.other("Session-Expires")?;
        let interval_s = value.split(';').next()?.trim().parse::<u32>().ok()?.min(SESSION_MAX_S);
        let by_caller = value.split_once(';').and_then(|(_, params)| param(params, "refresher")).and_then(|who| {
            let is = |name: &str| who.eq_ignore_ascii_case(name);
            (is("uac") || is("uas")).then(|| is("uac"))
        });
        Some(Self { interval_s, by_caller })
    }
}

/// Whether an option tag stands in Supported or Require.
pub fn supports(message: &Message, option: &str) -> bool {
    message
        .list(|h| matches!(h, Header::Supported(_) | Header::Require(_)))
        .iter()
        .any(|tag| tag.eq_ignore_ascii_case(option))
}

pub fn allows_update(message: &Message) -> bool {
    message.list(|h| matches!(h, Header::Allow(_))).contains(&"UPDATE")
}

impl Session {
    /// Takes what a request asks for: the first INVITE, or one that refreshes. Its 2xx carries what [`Self::lasting_lines`] writes.
    pub(super) fn asked_to_last(&mut self, request: &Message) {
        let Some(wish) = Wish::of(request).filter(|wish| wish.interval_s >= MIN_SE_S) else { return };
        let able = supports(request, "timer");
        // RFC 4028 9, table 2: the caller may have said who; where it knows no timers it is us. `uac` is whoever sends this request.
        let ours = !able || wish.by_caller == Some(false);
        let sdp = self.lasting.take().and_then(|lasting| lasting.sdp);
        self.update_allowed |= allows_update(request);
        self.lasting = Some(Lasting { interval_s: wish.interval_s, ours, sdp });
    }

    /// What a 2xx to the request says of it.
    pub(super) fn lasting_lines(&self, request: &Message, out: &mut Builder) {
        let Some(lasting) = self.lasting.as_ref().filter(|_| Wish::of(request).is_some()) else { return };
        if !lasting.ours {
            out.line("Require", "timer");
        }
        let who = if lasting.ours { "uas" } else { "uac" };
        out.line("Session-Expires", &format!("{};refresher={who}", lasting.interval_s));
    }

    /// Takes what a 2xx to a request of ours says.
    pub(super) fn agreed_to_last(&mut self, response: &Message, sdp: Option<&Bytes>) {
        self.update_allowed |= allows_update(response);
        let earlier = self.lasting.take().and_then(|lasting| lasting.sdp);
        let wish = Wish::of(response).filter(|wish| wish.interval_s > 0);
        self.lasting = wish.map(|wish| Lasting {
            interval_s: wish.interval_s,
            ours: wish.by_caller != Some(false),
            sdp: sdp.filter(|_| !self.update_allowed).cloned().or(earlier),
        });
    }

    /// The description that a refresh by re-INVITE has to repeat.
    pub(super) fn describes(&mut self, sdp: &Bytes) {
        let update_allowed = self.update_allowed;
        if let Some(lasting) = self.lasting.as_mut().filter(|lasting| lasting.ours && !update_allowed) {
            lasting.sdp = Some(sdp.clone());
        }
    }

    /// The session's time begins anew: a 2xx went out or came in.
    pub(super) fn lasts(&mut self, stack: &mut Stack, now: Timestamp) {
        let after = self.lasting.as_ref().map(|lasting| {
            let whole = Duration::from_secs(u64::from(lasting.interval_s));
            // RFC 4028 10: half of it for a refresh; the end comes a third of it or 32 s before it is over.
            if lasting.ours { whole / 2 } else { whole - (whole / 3).min(Duration::from_secs(32)) }
        });
        self.wake_to_last(stack, now, after);
    }

    fn wake_to_last(&mut self, stack: &mut Stack, now: Timestamp, after: Option<Duration>) {
        stack.timers.cancel(&mut self.slots.lasting);
        if let Some(after) = after {
            self.slots.lasting = timer(stack, now + after, self.id, SessionTimer::Lasting);
        }
    }

    fn refresh(&mut self, stack: &mut Stack, now: Timestamp, authorization: Option<(&'static str, String)>) {
        let Some(lasting) = &self.lasting else { return };
        let interval_s = lasting.interval_s;
        if let Some(sdp) = lasting.sdp.clone().filter(|_| !self.update_allowed) {
            if self.queued.is_none() && self.outgoing.is_none() {
                self.refreshing = true;
                self.queued = Some(sdp);
                self.next_reoffer(stack, now);
            }
            return;
        }
        self.send_within(stack, now, rsip::Method::Update, User::Refresh(self.id), |stack, flow, mut out| {
            out.line("Contact", &stack.contact(flow, "")).line("Supported", "timer");
            out.line("Session-Expires", &format!("{interval_s};refresher=uac"));
            if let Some((name, value)) = &authorization {
                out.line(name, value);
            }
            out.end()
        });
    }
}

impl Sessions {
    /// Time to refresh, or theirs did not come.
    pub(super) fn lasting_fired(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId) {
        let talking = |session: &&mut Session| session.phase == Phase::Talking && session.hangup.is_none();
        let Some(session) = self.all.get_mut(&id).filter(talking) else { return };
        session.slots.lasting = None;
        match session.lasting.as_ref().map(|lasting| lasting.ours) {
            Some(true) => {
                session.auth_tries = 0;
                session.refresh(stack, now, None);
            }
            Some(false) => {
                session.ending = Ending::Cause(EndCauseKind::Gone);
                session.send_bye(stack, now, None, None);
            }
            None => {}
        }
    }

    /// The answer to our UPDATE that refreshes.
    pub fn refreshed(
        &mut self,
        stack: &mut Stack,
        now: Timestamp,
        id: SessionId,
        code: u16,
        message: Option<&Message>,
    ) {
        let talking = |session: &&mut Session| session.phase == Phase::Talking;
        let Some(session) = self.all.get_mut(&id).filter(talking) else { return };
        let min_se = || message?.other("Min-SE")?.split(';').next()?.trim().parse::<u32>().ok();
        match (code, message) {
            (100..=199, _) => {}
            (200..=299, Some(message)) => {
                session.dialog.refresh_target(message);
                if Wish::of(message).is_some() {
                    session.agreed_to_last(message, None);
                }
                session.lasts(stack, now);
            }
            (422, _) => {
                let min_se = min_se().filter(|min| *min <= SESSION_MAX_S);
                if let Some(lasting) = &mut session.lasting
                    && let Some(min_se) = min_se.filter(|min| *min > lasting.interval_s)
                {
                    lasting.interval_s = min_se;
                    session.refresh(stack, now, None);
                }
            }
            (401 | 407, Some(message)) => {
                let uri = session.dialog.target().to_owned();
                if let Some(authorization) = session.authorization(stack, "UPDATE", &uri, message) {
                    session.refresh(stack, now, Some(authorization));
                }
            }
            // RFC 3261 12.2.1.2: the peer has no such dialog, or is gone.
            (408 | 481, _) => {
                session.send_bye(stack, now, None, None);
                self.finish(stack, id, Event::Ended { session: id, cause: EndCause::Gone });
            }
            _ => {
                let part = |lasting: &Lasting| Duration::from_secs(u64::from(lasting.interval_s / AGAIN_AFTER_PART));
                let after = session.lasting.as_ref().map(part);
                session.wake_to_last(stack, now, after);
            }
        }
    }
}
