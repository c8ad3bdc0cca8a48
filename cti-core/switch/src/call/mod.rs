//! One call, from the caller's INVITE to its outcome, stage by stage: each file here is one of them.

mod browser;
mod callback;
mod consult;
mod dialing;
mod ending;
mod goodbye;
mod guests;
mod hold;
mod inbound;
mod keys;
mod legs;
mod line;
mod menu;
mod offer_end;
mod offering;
mod room;
mod scripts;
mod sent;
mod supervise;
mod takeover;
mod talking;
mod tally;
mod telling;
mod transfer;
mod voicemail;
mod waiting;
mod wanting_callback;
mod web_phone;
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
use crate::desk::{CallState, CallView, CallerRecords, Candidate, Direction, Joining, OfferCreated, Pop};
use crate::fact::{LegRecord, Outcome, SegmentKind, SegmentRecord};
use crate::input::CommandId;
use crate::limits::SEGMENTS_MAX;
use serde::{Deserialize, Serialize};

pub(crate) use ending::Ending;
pub(crate) use inbound::cut;
pub(crate) use room::{Floor, Guest, Heard, Outside, Role, Tune, Who};
pub(crate) use scripts::{Saved as SavedScript, ScriptId, Scripts};
pub(crate) use sent::{Overflowing, Place, Sent};
pub(crate) use tally::{QueueEntry, Tally};
pub(crate) use voicemail::Voicemail;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Call {
    pub id: CallId,
    pub tenant: TenantId,
    #[serde(default = "inbound")]
    pub direction: Direction,
    /// The customer is being dialled; over with their answer.
    #[serde(default)]
    pub dial: Option<Dial>,
    /// Empty where a phone of our own called.
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
    /// What the recording's sides are made of, as the workers were told.
    #[serde(default)]
    pub recorded_from: Option<[Vec<LegId>; 2]>,
    /// Of agents who have left it already: talk without hold, and hold.
    #[serde(default)]
    pub talk_ms: u64,
    #[serde(default)]
    pub hold_ms: u64,
    /// Where a call that was handed on goes if nobody takes it.
    #[serde(default)]
    pub back: Option<QueueName>,
    /// The limit that sent it to an outside number, and the numbers that a limit sent it to in vain.
    #[serde(default)]
    pub limit: Option<String>,
    #[serde(default)]
    pub unreached: Vec<String>,
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
    /// Handed to an outside number, which is being dialled.
    Sent(Box<Sent>),
    /// The caller leaves a message.
    Voicemail(Box<Voicemail>),
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
    /// They stood in this line before, and came back to their place.
    #[serde(default)]
    pub stood: bool,
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
    /// Who has the call; `None`: the outside number that it was handed to.
    pub agent: Option<AgentName>,
    #[serde(default)]
    pub outside: Option<Outside>,
    pub leg: Leg,
    /// Since when they have it; where it is not given since the call was answered.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// The others, in the order in which they were asked, and how many there ever were.
    #[serde(default)]
    pub guests: Vec<Guest>,
    #[serde(default)]
    pub guests_ever: u32,
    #[serde(default)]
    pub floor: Floor,
    /// The browser of who has the call is away: the others hear music, or each other.
    #[serde(default)]
    pub browser_away: bool,
    /// What the workers were told of each leg.
    #[serde(default)]
    pub heard: BTreeMap<LegId, Heard>,
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
            Stage::Answering(_)
            | Stage::Menu(_)
            | Stage::Goodbye { .. }
            | Stage::Talking(_)
            | Stage::Sent(_)
            | Stage::Voicemail(_) => None,
        }
    }

    pub(crate) fn waiting_mut(&mut self) -> Option<&mut Waiting> {
        match &mut self.stage {
            Stage::Waiting(waiting) => Some(waiting),
            Stage::Answering(_)
            | Stage::Menu(_)
            | Stage::Goodbye { .. }
            | Stage::Talking(_)
            | Stage::Sent(_)
            | Stage::Voicemail(_) => None,
        }
    }

    pub(crate) fn talking(&self) -> Option<&Talking> {
        match &self.stage {
            Stage::Talking(talking) => Some(talking),
            Stage::Answering(_)
            | Stage::Menu(_)
            | Stage::Goodbye { .. }
            | Stage::Waiting(_)
            | Stage::Sent(_)
            | Stage::Voicemail(_) => None,
        }
    }

    pub(crate) fn talking_mut(&mut self) -> Option<&mut Talking> {
        match &mut self.stage {
            Stage::Talking(talking) => Some(talking),
            Stage::Answering(_)
            | Stage::Menu(_)
            | Stage::Goodbye { .. }
            | Stage::Waiting(_)
            | Stage::Sent(_)
            | Stage::Voicemail(_) => None,
        }
    }

    /// The script that the caller is in.
    pub(crate) fn script(&self) -> Option<ScriptId> {
        match &self.stage {
            Stage::Menu(menu) => Some(menu.script),
            Stage::Answering(_)
            | Stage::Waiting(_)
            | Stage::Goodbye { .. }
            | Stage::Talking(_)
            | Stage::Sent(_)
            | Stage::Voicemail(_) => None,
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

    /// Of the call itself, and of being asked to join it.
    pub(crate) fn all_offers(&self) -> impl Iterator<Item = &Offer> {
        self.offers().iter().chain(self.guests().iter().filter_map(Guest::offer))
    }

    pub(crate) fn all_offers_mut(&mut self) -> impl Iterator<Item = &mut Offer> {
        let (offers, guests) = match &mut self.stage {
            Stage::Waiting(waiting) => (waiting.offers.as_mut_slice(), &mut [][..]),
            Stage::Talking(talking) => (&mut [][..], talking.guests.as_mut_slice()),
            Stage::Answering(_) | Stage::Menu(_) | Stage::Goodbye { .. } | Stage::Sent(_) | Stage::Voicemail(_) => {
                (&mut [][..], &mut [][..])
            }
        };
        offers.iter_mut().chain(guests.iter_mut().filter_map(Guest::offer_mut))
    }

    pub(crate) fn offer(&self, offer: OfferId) -> Option<&Offer> {
        self.all_offers().find(|known| known.id == offer)
    }

    pub(crate) fn offer_mut(&mut self, offer: OfferId) -> Option<&mut Offer> {
        self.all_offers_mut().find(|known| known.id == offer)
    }

    pub(crate) fn offer_to(&self, agent: &AgentName) -> Option<&Offer> {
        self.all_offers().find(|offer| offer.agent == *agent)
    }

    /// Whose phone this session rings.
    pub(crate) fn offer_by_session(&self, session: SessionId) -> Option<&Offer> {
        self.all_offers().find(|offer| offer.session() == Some(session))
    }

    /// The leg of somebody beside the customer whose session this is.
    pub(crate) fn other_leg_mut(&mut self, session: SessionId) -> Option<&mut Leg> {
        let is_it = |leg: &&mut Leg| leg.session == Some(session);
        match &mut self.stage {
            Stage::Waiting(waiting) => waiting.offers.iter_mut().filter_map(|offer| offer.leg.as_mut()).find(is_it),
            Stage::Talking(talking) => {
                let Talking { leg, guests, .. } = &mut **talking;
                [leg].into_iter().chain(guests.iter_mut().filter_map(|guest| guest.step.leg_mut())).find(is_it)
            }
            Stage::Sent(sent) => Some(&mut sent.leg).filter(is_it),
            Stage::Answering(_) | Stage::Menu(_) | Stage::Goodbye { .. } | Stage::Voicemail(_) => None,
        }
    }

    /// Every leg beside the customer's.
    pub(crate) fn other_legs(&self) -> Vec<&Leg> {
        match &self.stage {
            Stage::Waiting(waiting) => waiting.offers.iter().filter_map(|offer| offer.leg.as_ref()).collect(),
            Stage::Talking(talking) => {
                let guests = talking.guests.iter().filter_map(|guest| guest.step.leg());
                [&talking.leg].into_iter().chain(guests).collect()
            }
            Stage::Sent(sent) => vec![&sent.leg],
            Stage::Answering(_) | Stage::Menu(_) | Stage::Goodbye { .. } | Stage::Voicemail(_) => Vec::new(),
        }
    }

    /// The outside numbers that it has dialled beside its own customer.
    pub(crate) fn outsiders(&self) -> Vec<&Outside> {
        match &self.stage {
            Stage::Talking(talking) => {
                let guests = talking.guests.iter().filter_map(|guest| match &guest.who {
                    Who::Outside(outside) => Some(outside),
                    Who::Agent(_) | Who::Lead => None,
                });
                talking.outside.iter().chain(guests).collect()
            }
            Stage::Sent(sent) => vec![&sent.outside],
            Stage::Waiting(_) | Stage::Answering(_) | Stage::Menu(_) | Stage::Goodbye { .. } | Stage::Voicemail(_) => {
                Vec::new()
            }
        }
    }

    /// The number that has the call, or is to have it; empty where an agent has it.
    pub(crate) fn outside_number(&self) -> String {
        let outside = match &self.stage {
            Stage::Talking(talking) => talking.outside.as_ref(),
            Stage::Sent(sent) => Some(&sent.outside),
            Stage::Waiting(_) | Stage::Answering(_) | Stage::Menu(_) | Stage::Goodbye { .. } | Stage::Voicemail(_) => {
                None
            }
        };
        outside.map(|outside| outside.number.expose().clone()).unwrap_or_default()
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
            Stage::Answering(_) | Stage::Menu(_) | Stage::Voicemail(_) => CallState::Ivr,
            Stage::Waiting(_) if self.dial.is_some() && self.customer.session.is_some() => CallState::Dialing,
            Stage::Waiting(waiting) if !waiting.offers.is_empty() => CallState::Offering,
            Stage::Waiting(_) | Stage::Goodbye { .. } => CallState::Queued,
            Stage::Talking(talking) if talking.consulted().is_some() => CallState::Consulting,
            Stage::Talking(talking) if talking.members().any(|guest| guest.on().is_some()) => CallState::Conference,
            Stage::Talking(talking) if talking.held_since.is_some() => CallState::Held,
            Stage::Talking(_) => CallState::Talking,
            Stage::Sent(_) => CallState::Dialing,
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
        let Shown { case_kind, ring_until_ms, can_accept, wait_ms, auto_answer } = offer.shown.as_ref()?;
        let guest = self.guests().iter().find(|guest| guest.offer().is_some_and(|known| known.id == offer.id));
        let joining = guest.map(|guest| Joining {
            by: self.talking().and_then(|talking| talking.agent.clone()),
            listen: guest.listen(),
        });
        Some(Box::new(OfferCreated {
            offer_id: offer.id,
            call_id: self.id,
            queue: self.queue.clone().unwrap_or_else(|| QueueName::from("")),
            joining,
            case_kind: case_kind.clone(),
            ring_until_ms: *ring_until_ms,
            auto_answer: *auto_answer,
            can_accept: *can_accept,
            pop: self.pop(*wait_ms),
        }))
    }
}

/// Of a call that its viewer talks on, and of one that is over for them.
impl Call {
    pub(crate) fn view(&self, agent: &AgentName) -> Option<CallView> {
        let talking = self.talking()?;
        let guest = self.guest_of(agent);
        let pop = self.pop(talking.wait_ms);
        Some(CallView {
            call_id: self.id,
            state: self.state(),
            direction: self.direction,
            queue: talking.queue.clone(),
            case_kind: talking.case_kind.clone(),
            leads: talking.agent.as_ref() == Some(agent),
            listens: guest.and_then(Guest::listen),
            aside: talking.floor == Floor::Aside,
            parties: self.parties(agent),
            muted: guest.map_or(talking.muted, |guest| guest.muted),
            recording: talking.recording,
            answered_ms: self.answered.map(Timestamp::as_millis),
            held_since_ms: talking.held_since.map(Timestamp::as_millis),
            ended_ms: None,
            wrapup_until_ms: None,
            cause: None,
            pop,
            ver: self.ver,
        })
    }

    /// For a guest who leaves: who has the call, and how it looks at the end.
    fn left_view(&self, now: Timestamp, talking: &Talking, cause: &str) -> (Option<AgentName>, CallView) {
        let pop = self.pop(talking.wait_ms);
        let view = CallView { leads: false, ..self.handed_view(now, talking, pop, cause) };
        (talking.agent.clone(), view)
    }

    /// For an agent who has had the call, and has it no longer.
    fn handed_view(&self, now: Timestamp, talking: &Talking, pop: Pop, cause: &str) -> CallView {
        CallView {
            call_id: self.id,
            state: CallState::Ended,
            direction: self.direction,
            queue: talking.queue.clone(),
            case_kind: talking.case_kind.clone(),
            leads: true,
            listens: None,
            aside: false,
            parties: Vec::new(),
            muted: false,
            recording: false,
            answered_ms: talking.since.or(self.answered).map(Timestamp::as_millis),
            held_since_ms: None,
            ended_ms: Some(now.as_millis()),
            wrapup_until_ms: None,
            cause: Some(cause.to_owned()),
            pop,
            ver: self.ver + 1,
        }
    }
}

impl Talking {
    pub(crate) fn new(now: Timestamp, agent: Option<AgentName>, leg: Leg, queue: Option<QueueName>) -> Self {
        Self {
            agent,
            outside: None,
            leg,
            since: Some(now),
            guests: Vec::new(),
            guests_ever: 0,
            floor: Floor::Customer,
            browser_away: false,
            heard: BTreeMap::new(),
            wait_ms: 0,
            queue,
            case_kind: None,
            desk_hold: false,
            phone_hold: false,
            held_since: None,
            hold: Duration::ZERO,
            muted: false,
            recording: false,
            whisper: None,
        }
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
