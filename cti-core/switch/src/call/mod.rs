//! One call, from the caller's INVITE to its outcome, stage by stage: each file here is one of them.

mod browser;
mod callback;
mod dialing;
mod ending;
mod goodbye;
mod hold;
mod inbound;

mod legs;
mod menu;
mod offer_end;
mod offering;
mod scripts;
mod talking;
mod tally;
mod telling;
mod waiting;
mod wanting_callback;
mod while_waiting;
mod whisper;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use cti_base::{
    AgentName, CallId, CallbackId, LegId, NodeName, OfferId, Pii, QueueName, RecordingId, TenantId, Timestamp,
};
use cti_media::{Audio, LegMedia, PlayId, sdp};
use cti_sip::SessionId;
use ivr_scripts::Walk;

use crate::config::{AnswerWhen, DialFirst, Route};
use crate::desk::{CallState, CallerRecords, Candidate, Direction, OfferCreated, Pop};
use crate::fact::{LegRecord, Outcome, SegmentKind, SegmentRecord};
use crate::input::CommandId;
use crate::limits::SEGMENTS_MAX;
use serde::{Deserialize, Serialize};

pub(crate) use ending::Ending;
pub(crate) use inbound::cut;
pub(crate) use scripts::{Saved as SavedScript, ScriptId, Scripts};
pub(crate) use tally::{QueueEntry, Tally};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Call {
    pub id: CallId,
    pub tenant: TenantId,
    #[serde(default = "inbound")]
    pub direction: Direction,
    /// The customer is being dialled; over with their answer.
    #[serde(default)]
    pub dial: Option<Dial>,
    pub trunk: String,
    /// The customer's number, whoever calls whom.
    pub from: Pii<String>,
    /// Ours.
    pub to: String,
    pub started: Timestamp,
    pub customer: Leg,
    /// Whether and with what the caller's INVITE is still to be answered.
    pub invite: CallerInvite,
    pub answer_when: AnswerWhen,
    pub stage: Stage,
    pub stage_since: Timestamp,
    pub locale: String,
    pub path: Vec<NodeName>,
    pub vars: BTreeMap<String, String>,
    pub records: Records,
    pub queue: Option<QueueName>,
    pub queued: Option<Timestamp>,
    /// The place in every line counts from here, where that is not when the call was first queued.
    #[serde(default)]
    pub place: Option<Timestamp>,
    /// The caller's order among those who came within one microsecond.
    pub order: u64,
    pub offered: Option<Timestamp>,
    pub answered: Option<Timestamp>,
    pub agent: Option<AgentName>,
    /// How often a queue's limit has passed the call on.
    pub overflows: u32,
    /// How long agents' phones have rung for it, all offers together.
    pub ring: Duration,
    pub segments: Vec<SegmentRecord>,
    /// The stretch that is going on.
    pub open_segment: Option<(SegmentKind, Timestamp)>,
    /// Legs that are over.
    pub legs: Vec<LegRecord>,
    pub recording: Option<RecordingId>,
    pub plays: u64,
    /// What plays to the caller and is to be heard of; music is not.
    pub playing: Option<Playing>,
    pub setup_measured: bool,
    pub ver: u32,
    #[serde(default)]
    pub tally: Tally,
}

/// The dialling of a callback's customer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Dial {
    pub callback: CallbackId,
    pub first: DialFirst,
    /// The trunk's host that is asked, and those that were.
    pub host: String,
    pub tried: Vec<String>,
    /// The customer's phone was heard of.
    pub progressed: bool,
}

/// Prompts that play once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Playing {
    pub id: PlayId,
    pub audio: Vec<Audio>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// A late offer's 200 is out; its ACK brings the caller's side. Then the call goes this way.
    Answering(Route),
    Menu(Box<Menu>),
    Waiting(Box<Waiting>),
    /// The caller hears a last word: a limit was reached, or they are called back.
    Goodbye {
        cause: String,
        #[serde(default = "overflowed")]
        outcome: Outcome,
    },
    Talking(Box<Talking>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Menu {
    pub walk: Walk,
    /// The script as it was when the caller came in: a change does not move the ground under them.
    pub script: ScriptId,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Waiting {
    pub queue: QueueName,
    /// Into this queue.
    pub entered: Timestamp,
    /// What the script asked for beyond the queue's own.
    pub wish: Wish,
    /// What the records know decides on whom is asked first: they have a moment for it, and the caller stands in no line yet.
    #[serde(default)]
    pub entering: bool,
    /// The comfort message that is due next, and one that came while something else was said.
    #[serde(default)]
    pub comfort_next: Option<usize>,
    #[serde(default)]
    pub comfort: Option<usize>,
    /// The agents who are being offered it, at most `RING_ALL_MAX`; all at once, and the first to answer has it.
    pub offers: Vec<Offer>,
}

/// What a caller asks of a queue beyond its own rules.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Wish {
    /// Added to the queue's.
    pub priority: i32,
    /// Beside the queue's: the higher level of both counts.
    pub requires: BTreeMap<String, u8>,
    /// This agent and nobody else.
    pub agent: Option<AgentName>,
}

/// The ringing of one agent with this call.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Offer {
    pub id: OfferId,
    pub agent: AgentName,
    pub step: OfferStep,
    /// What the desk was shown; none before `OfferStep::Shown`.
    pub shown: Option<Shown>,
    pub ringing_since: Timestamp,
    pub leg: Option<Leg>,
    /// The phone has sent a provisional answer.
    pub rings: bool,
    /// The desk has accepted, which waits for the phone's early dialog.
    pub accepted: bool,
    /// The desk's command that is to be answered then.
    pub accept: Option<CommandId>,
}

/// What stands in an offer's frame beside the call's own: the frame can be made again as it was.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Shown {
    pub case_kind: Option<String>,
    pub ring_until_ms: u64,
    pub can_accept: bool,
    pub wait_ms: u64,
    #[serde(default)]
    pub auto_answer: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OfferStep {
    /// The agent is reserved; the customer of a callback is being dialled.
    Dialing,
    /// The agent is reserved; the records are being asked.
    Records,
    /// The frame is on its way to the desk's socket.
    Shown,
    /// The phone's INVITE is out.
    Inviting,
    /// The agent of a callback has answered and hears the customer's phone ring.
    Answered,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Talking {
    pub agent: AgentName,
    pub leg: Leg,
    /// As the pop says it: how long the caller had waited when the offer was shown.
    pub wait_ms: u64,
    pub queue: Option<QueueName>,
    pub case_kind: Option<String>,
    /// The desk asked for hold.
    pub desk_hold: bool,
    /// The agent's phone holds by re-INVITE.
    pub phone_hold: bool,
    pub held_since: Option<Timestamp>,
    pub hold: Duration,
    pub muted: bool,
    pub recording: bool,
    /// What the agent hears before the caller is joined.
    #[serde(default)]
    pub whisper: Option<PlayId>,
}

/// One side's dialog and media.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Leg {
    pub id: LegId,
    /// `None` once the dialog is over or was never opened.
    pub session: Option<SessionId>,
    pub started: Timestamp,
    pub answered: Option<Timestamp>,
    pub local: sdp::Local,
    pub media: Option<LegMedia>,
    /// Our offer is in a 2xx; the ACK brings the answer.
    pub awaits_answer: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum CallerInvite {
    /// Not answered. `None` is a late offer.
    Open { answer: Option<Bytes>, rung: bool },
    /// 200 is sent.
    Accepted,
    /// There is none: the customer is called by us.
    Dialing,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Records {
    /// Asked; the answer is to come.
    Asked(Timestamp),
    Known(CallerRecords),
    /// They could not be asked.
    Unknown,
}

const fn overflowed() -> Outcome {
    Outcome::Overflowed
}

const fn inbound() -> Direction {
    Direction::Inbound
}

impl Call {
    pub(crate) fn waiting(&self) -> Option<&Waiting> {
        match &self.stage {
            Stage::Waiting(waiting) => Some(waiting),
            Stage::Answering(_) | Stage::Menu(_) | Stage::Goodbye { .. } | Stage::Talking(_) => None,
        }
    }

    pub(crate) fn waiting_mut(&mut self) -> Option<&mut Waiting> {
        match &mut self.stage {
            Stage::Waiting(waiting) => Some(waiting),
            Stage::Answering(_) | Stage::Menu(_) | Stage::Goodbye { .. } | Stage::Talking(_) => None,
        }
    }

    pub(crate) fn talking(&self) -> Option<&Talking> {
        match &self.stage {
            Stage::Talking(talking) => Some(talking),
            Stage::Answering(_) | Stage::Menu(_) | Stage::Goodbye { .. } | Stage::Waiting(_) => None,
        }
    }

    pub(crate) fn talking_mut(&mut self) -> Option<&mut Talking> {
        match &mut self.stage {
            Stage::Talking(talking) => Some(talking),
            Stage::Answering(_) | Stage::Menu(_) | Stage::Goodbye { .. } | Stage::Waiting(_) => None,
        }
    }

    /// The script that the caller is in.
    pub(crate) fn script(&self) -> Option<ScriptId> {
        match &self.stage {
            Stage::Menu(menu) => Some(menu.script),
            Stage::Answering(_) | Stage::Waiting(_) | Stage::Goodbye { .. } | Stage::Talking(_) => None,
        }
    }

    /// Since when its place in a line counts.
    pub(crate) fn place(&self) -> Option<Timestamp> {
        self.place.or(self.queued)
    }

    /// None while nobody is being offered the call.
    pub(crate) fn offers(&self) -> &[Offer] {
        self.waiting().map_or(&[], |waiting| waiting.offers.as_slice())
    }

    pub(crate) fn offers_mut(&mut self) -> &mut [Offer] {
        self.waiting_mut().map_or(&mut [], |waiting| waiting.offers.as_mut_slice())
    }

    pub(crate) fn is_offered(&self) -> bool {
        !self.offers().is_empty()
    }

    pub(crate) fn offer(&self, offer: OfferId) -> Option<&Offer> {
        self.offers().iter().find(|known| known.id == offer)
    }

    pub(crate) fn offer_mut(&mut self, offer: OfferId) -> Option<&mut Offer> {
        self.offers_mut().iter_mut().find(|known| known.id == offer)
    }

    pub(crate) fn offer_to(&self, agent: &AgentName) -> Option<&Offer> {
        self.offers().iter().find(|offer| offer.agent == *agent)
    }

    /// Whose phone this session rings.
    pub(crate) fn offer_by_session(&self, session: SessionId) -> Option<&Offer> {
        self.offers().iter().find(|offer| offer.session() == Some(session))
    }

    /// The agent whose phone rings, where it is only one.
    pub(crate) fn ringing_agent(&self) -> Option<&AgentName> {
        match self.offers() {
            [only] => Some(&only.agent),
            _ => None,
        }
    }

    /// Nobody is on the line yet: a callback's customer is dialled, or is to be.
    pub(crate) fn is_dialing(&self) -> bool {
        self.dial.is_some()
    }

    /// Who called whom: the customer's number and ours, as the direction has them.
    pub(crate) fn ends(&self) -> (String, String) {
        let (theirs, ours) = (self.from.expose().clone(), self.to.clone());
        match self.direction {
            Direction::Inbound | Direction::Internal => (theirs, ours),
            Direction::Outbound => (ours, theirs),
        }
    }

    pub(crate) fn is_accepted(&self) -> bool {
        matches!(self.invite, CallerInvite::Accepted)
    }

    pub(crate) fn state(&self) -> CallState {
        match &self.stage {
            Stage::Answering(_) | Stage::Menu(_) => CallState::Ivr,
            Stage::Waiting(_) if self.dial.is_some() && self.customer.session.is_some() => CallState::Dialing,
            Stage::Waiting(waiting) if !waiting.offers.is_empty() => CallState::Offering,
            Stage::Waiting(_) | Stage::Goodbye { .. } => CallState::Queued,
            Stage::Talking(talking) if talking.held_since.is_some() => CallState::Held,
            Stage::Talking(_) => CallState::Talking,
        }
    }

    /// Ends the stretch that is going on and begins the next one.
    pub(crate) fn segment(&mut self, now: Timestamp, next: Option<SegmentKind>) {
        if let Some((kind, since)) = self.open_segment.take()
            && self.segments.len() < SEGMENTS_MAX
        {
            let with_agent = matches!(kind, SegmentKind::Ringing | SegmentKind::Talk | SegmentKind::Hold);
            let ringing = self.ringing_agent().cloned();
            self.segments.push(SegmentRecord {
                kind,
                queue: if kind == SegmentKind::Ivr { None } else { self.queue.clone() },
                agent: if with_agent { ringing.or_else(|| self.agent.clone()) } else { None },
                started_ms: since.as_millis(),
                ended_ms: now.as_millis(),
            });
        }
        self.open_segment = next.map(|kind| (kind, now));
    }

    /// No phone rings for it any more: on to the next stretch.
    pub(crate) fn end_ringing(&mut self, now: Timestamp, next: Option<SegmentKind>) {
        if let Some((SegmentKind::Ringing, since)) = self.open_segment {
            self.ring += now.since(since);
        }
        self.segment(now, next);
    }

    /// The one customer that matched, if exactly one did.
    pub(crate) fn customer(&self) -> Option<&Candidate> {
        match &self.records {
            Records::Known(known) => match known.candidates.as_slice() {
                [only] => Some(only),
                _ => None,
            },
            Records::Asked(_) | Records::Unknown => None,
        }
    }

    pub(crate) fn customer_id(&self) -> Option<String> {
        Some(self.customer()?.customer_id.clone())
    }

    /// The script's variable `value`, else the customer's own class.
    pub(crate) fn value_class(&self) -> Option<String> {
        self.vars.get("value").cloned().or_else(|| self.customer()?.value_class.clone())
    }

    /// What the desk paints. Records, path and variables are the call's own, and are kept once.
    pub(crate) fn pop(&self, wait_ms: u64) -> Pop {
        let (candidates, records_known) = match &self.records {
            Records::Known(known) => (known.candidates.clone(), !known.from_memory),
            Records::Asked(_) | Records::Unknown => (Vec::new(), false),
        };
        Pop {
            number: self.from.clone(),
            region: None,
            candidates,
            records_known,
            ivr_path: self.path.clone(),
            wait_ms,
            vars: self.vars.clone(),
        }
    }

    /// Queued to answered, or until now.
    pub(crate) fn wait_ms(&self, now: Timestamp) -> u64 {
        let waited_until = self.answered.unwrap_or(now);
        self.queued.map_or(0, |queued| waited_until.since(queued).as_millis() as u64)
    }

    /// The frame of this offer, once it is shown.
    pub(crate) fn frame(&self, offer: &Offer) -> Option<Box<OfferCreated>> {
        let waiting = self.waiting()?;
        let Shown { case_kind, ring_until_ms, can_accept, wait_ms, auto_answer } = offer.shown.as_ref()?;
        Some(Box::new(OfferCreated {
            offer_id: offer.id,
            call_id: self.id,
            queue: waiting.queue.clone(),
            case_kind: case_kind.clone(),
            ring_until_ms: *ring_until_ms,
            auto_answer: *auto_answer,
            can_accept: *can_accept,
            pop: self.pop(*wait_ms),
        }))
    }
}

impl Offer {
    pub(crate) const fn new(now: Timestamp, id: OfferId, agent: AgentName) -> Self {
        Self {
            id,
            agent,
            step: OfferStep::Records,
            shown: None,
            ringing_since: now,
            leg: None,
            rings: false,
            accepted: false,
            accept: None,
        }
    }

    /// Whether the phone is asked to answer without the agent.
    pub(crate) fn answers_by_itself(&self) -> bool {
        self.shown.as_ref().is_some_and(|shown| shown.auto_answer)
    }

    pub(crate) fn session(&self) -> Option<SessionId> {
        self.leg.as_ref()?.session
    }
}
