//! Everyone who is on a call, and who hears whom: what each leg hears follows from the call's state alone.
//!
//! **Change the state, then [`Engine::arrange`]: it tells the media workers what has become different.** There are at most two
//! conversations in a call: the customer's, and the one aside that its agent has with somebody consulted. Who is in neither
//! hears music.

use std::collections::BTreeMap;

use cti_base::{AgentName, CallId, LegId, OfferId, Pii, Timestamp};
use cti_media::{Audio, Hears, MediaCommand, PlayId, PromptRef, Side};
use cti_sip::SessionId;
use serde::{Deserialize, Serialize};

use super::{Call, Leg, Offer, Stage, Talking};
use crate::desk::{Listen, PartyKind, PartyState, PartyView};
use crate::engine::Engine;

/// Somebody beside the customer and whoever has the call.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Guest {
    /// Within the call.
    pub number: u32,
    pub who: Who,
    pub role: Role,
    pub step: Step,
    /// Until then they are rung.
    pub until: Timestamp,
    pub muted: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Who {
    Agent(AgentName),
    Outside(Outside),
    /// Whoever has the call themselves.
    Lead,
}

/// A number that was dialled through a trunk: it counts on both until it is let go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outside {
    pub number: Pii<String>,
    pub trunk: String,
    pub host: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Talks with the agent aside, or waits while the agent is with the customer.
    Consulted,
    /// Of the conference.
    Member,
    Supervisor(Listen),
    /// The other line of the phone of whoever has the call: by it they talk with who is consulted.
    Line,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Step {
    /// An agent is being offered it.
    Ringing(Box<Offer>),
    /// An outside number is being dialled.
    Dialing(Box<Leg>),
    On(Box<Leg>),
}

/// With whom the agent is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Floor {
    #[default]
    Customer,
    Aside,
}

/// What the workers were told of a leg.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Heard {
    pub from: Vec<LegId>,
    pub tune: Tune,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Tune {
    #[default]
    None,
    Music,
    Ringback,
    /// Something else, from before the talk.
    Other,
}

impl Step {
    pub(crate) fn leg(&self) -> Option<&Leg> {
        match self {
            Self::Ringing(offer) => offer.leg.as_ref(),
            Self::Dialing(leg) | Self::On(leg) => Some(leg),
        }
    }

    pub(crate) fn leg_mut(&mut self) -> Option<&mut Leg> {
        match self {
            Self::Ringing(offer) => offer.leg.as_mut(),
            Self::Dialing(leg) | Self::On(leg) => Some(leg),
        }
    }
}

impl Guest {
    /// The leg of one who is on the call.
    pub(crate) fn on(&self) -> Option<&Leg> {
        match &self.step {
            Step::On(leg) => Some(leg),
            Step::Ringing(_) | Step::Dialing(_) => None,
        }
    }

    pub(crate) fn offer(&self) -> Option<&Offer> {
        match &self.step {
            Step::Ringing(offer) => Some(offer),
            Step::Dialing(_) | Step::On(_) => None,
        }
    }

    pub(crate) fn offer_mut(&mut self) -> Option<&mut Offer> {
        match &mut self.step {
            Step::Ringing(offer) => Some(offer),
            Step::Dialing(_) | Step::On(_) => None,
        }
    }

    /// How a supervisor listens.
    pub(crate) const fn listen(&self) -> Option<Listen> {
        match self.role {
            Role::Supervisor(listen) => Some(listen),
            Role::Consulted | Role::Member | Role::Line => None,
        }
    }

    pub(crate) const fn agent(&self) -> Option<&AgentName> {
        match &self.who {
            Who::Agent(agent) => Some(agent),
            Who::Outside(_) | Who::Lead => None,
        }
    }

    pub(crate) fn is_agent(&self, name: &AgentName) -> bool {
        matches!(&self.who, Who::Agent(agent) if agent == name)
    }

    pub(crate) fn session(&self) -> Option<SessionId> {
        self.step.leg()?.session
    }
}

impl Talking {
    pub(crate) fn guest(&self, number: u32) -> Option<&Guest> {
        self.guests.iter().find(|guest| guest.number == number)
    }

    pub(crate) fn guest_mut(&mut self, number: u32) -> Option<&mut Guest> {
        self.guests.iter_mut().find(|guest| guest.number == number)
    }

    pub(crate) fn consulted(&self) -> Option<&Guest> {
        self.guests.iter().find(|guest| guest.role == Role::Consulted)
    }

    /// The leg of the other line of the phone of whoever has the call.
    pub(crate) fn line(&self) -> Option<&Leg> {
        self.guests.iter().find(|guest| guest.role == Role::Line).and_then(Guest::on)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Guest> {
        self.guests.iter().filter(|guest| guest.role == Role::Member)
    }

    /// The customer hears somebody else than the agent, or music.
    pub(crate) fn is_away(&self) -> bool {
        self.desk_hold || self.phone_hold || self.floor == Floor::Aside
    }
}

impl Call {
    pub(crate) fn guests(&self) -> &[Guest] {
        self.talking().map_or(&[], |talking| talking.guests.as_slice())
    }

    pub(crate) fn guest_by_offer(&self, offer: OfferId) -> Option<u32> {
        let found = self.guests().iter().find(|guest| guest.offer().is_some_and(|known| known.id == offer));
        found.map(|guest| guest.number)
    }

    pub(crate) fn guest_by_session(&self, session: SessionId) -> Option<u32> {
        self.guests().iter().find(|guest| guest.session() == Some(session)).map(|guest| guest.number)
    }

    pub(crate) fn guest_by_leg(&self, leg: LegId) -> Option<u32> {
        let found = self.guests().iter().find(|guest| guest.step.leg().is_some_and(|known| known.id == leg));
        found.map(|guest| guest.number)
    }

    pub(crate) fn guest_of(&self, agent: &AgentName) -> Option<&Guest> {
        self.guests().iter().find(|guest| guest.is_agent(agent))
    }

    /// What every leg hears; `None` while nothing follows from the state: nobody talks, or the agent hears a word before.
    fn sound(&self) -> Option<BTreeMap<LegId, Heard>> {
        let talking = self.talking().filter(|talking| talking.whisper.is_none())?;
        let lead = talking.leg.id;
        let line = talking.line().map_or(lead, |leg| leg.id);
        let on = |guest: &Guest| guest.on().map(|leg| leg.id);
        let is_out = talking.desk_hold || talking.phone_hold;
        let mut main = vec![self.customer.id];
        main.extend(talking.members().filter_map(on));
        let mut aside = Vec::new();
        let consulted = talking.consulted();
        match talking.floor {
            Floor::Customer if !is_out => main.push(lead),
            Floor::Customer => aside.push(lead),
            Floor::Aside => aside.extend([line].into_iter().chain(consulted.and_then(on))),
        }
        if talking.browser_away {
            main.retain(|leg| *leg != lead);
            aside.retain(|leg| *leg != lead);
        }
        let own = if talking.floor == Floor::Aside { line } else { lead };
        let watched = if aside.contains(&own) { &mut aside } else { &mut main };
        let barging = |guest: &&Guest| guest.role == Role::Supervisor(Listen::Barge);
        watched.extend(talking.guests.iter().filter(barging).filter_map(on));
        let watched = watched.clone();
        let mut sound = BTreeMap::from([(lead, Heard::default()), (line, Heard::default())]);
        for talk in [&main, &aside] {
            for leg in talk {
                let from: Vec<LegId> = talk.iter().filter(|other| *other != leg).copied().collect();
                let tune = match (from.is_empty(), *leg == own) {
                    (false, _) => Tune::None,
                    (true, false) => Tune::Music,
                    (true, true) if talking.floor == Floor::Aside => Tune::Ringback,
                    (true, true) => Tune::None,
                };
                sound.insert(*leg, Heard { from, tune });
            }
        }
        for guest in &talking.guests {
            let Some(leg) = guest.on().map(|leg| leg.id) else { continue };
            match guest.role {
                Role::Supervisor(Listen::Barge) | Role::Member | Role::Line => {}
                Role::Supervisor(listen) => {
                    sound.insert(leg, Heard { from: watched.clone(), tune: Tune::None });
                    if listen == Listen::Whisper
                        && let Some(heard) = sound.get_mut(&own)
                    {
                        heard.from.push(leg);
                        heard.tune = Tune::None;
                    }
                }
                Role::Consulted => {
                    sound.entry(leg).or_insert(Heard { from: Vec::new(), tune: Tune::Music });
                }
            }
        }
        sound.values_mut().for_each(|heard| heard.from.sort());
        Some(sound)
    }

    /// Whose voices go into the recording: the customer's side, and everyone's who talks with them or about them. A
    /// supervisor's is in it as far as the customer hears it.
    pub(crate) fn recorded(&self) -> [Vec<LegId>; 2] {
        if self.voicemail().is_some_and(|voicemail| voicemail.since.is_some()) {
            return [vec![self.customer.id], Vec::new()];
        }
        let Some(talking) = self.talking() else { return [Vec::new(), Vec::new()] };
        let is_heard = |guest: &&Guest| match guest.role {
            Role::Consulted | Role::Member | Role::Line | Role::Supervisor(Listen::Barge) => true,
            Role::Supervisor(Listen::Monitor | Listen::Whisper) => false,
        };
        let guests = talking.guests.iter().filter(is_heard).filter_map(|guest| guest.on().map(|leg| leg.id));
        [vec![self.customer.id], [talking.leg.id].into_iter().chain(guests).collect()]
    }

    /// Who is on the call, as a desk shows it: the customer, who has the call, the others in the order in which they came.
    /// Supervisors are shown to supervisors and to whom they talk with.
    pub(crate) fn parties(&self, viewer: &AgentName) -> Vec<PartyView> {
        let Some(talking) = self.talking() else { return Vec::new() };
        let number = self.from.expose().clone();
        let away = talking.is_away();
        let alone = away && talking.members().next().is_none();
        let state = |held: bool| if held { PartyState::Held } else { PartyState::Talking };
        let mut parties =
            vec![PartyView { kind: PartyKind::Customer, name: number, lead: false, state: state(alone), muted: false }];
        let (kind, name) = match (&talking.agent, &talking.outside) {
            (Some(agent), _) => (PartyKind::Agent, agent.to_string()),
            (None, Some(outside)) => (PartyKind::Number, outside.number.expose().clone()),
            (None, None) => (PartyKind::Number, String::new()),
        };
        parties.push(PartyView { kind, name, lead: true, state: PartyState::Talking, muted: talking.muted });
        let watches = self.guest_of(viewer).is_some_and(|guest| matches!(guest.role, Role::Supervisor(_)));
        for guest in &talking.guests {
            let is_hidden = matches!(guest.role, Role::Supervisor(Listen::Monitor)) && !watches;
            if guest.role == Role::Line
                || is_hidden
                || matches!(guest.role, Role::Supervisor(_)) && guest.on().is_none() && !watches
            {
                continue;
            }
            let (kind, name) = match (&guest.who, guest.role) {
                (Who::Agent(name), Role::Supervisor(_)) => (PartyKind::Supervisor, name.to_string()),
                (Who::Agent(name), Role::Consulted | Role::Member | Role::Line) => (PartyKind::Agent, name.to_string()),
                (Who::Outside(outside), _) => (PartyKind::Number, outside.number.expose().clone()),
                (Who::Lead, _) => continue,
            };
            let state = match (guest.role, guest.on().is_some()) {
                (_, false) => PartyState::Ringing,
                (Role::Consulted, true) => state(talking.floor == Floor::Customer),
                (Role::Member | Role::Line | Role::Supervisor(_), true) => PartyState::Talking,
            };
            parties.push(PartyView { kind, name, lead: false, state, muted: guest.muted });
        }
        parties
    }
}

impl Engine {
    /// Makes everyone hear what the call's state says.
    pub(crate) fn arrange(&mut self, id: CallId) {
        self.arrange_recording(id);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(sound) = call.sound() else { return };
        let (locale, ver) = (call.locale.clone(), call.plays);
        let music = self.calls.get(&id).map(|call| self.music_of(call)).unwrap_or_default();
        let Some(talking) = self.calls.get_mut(&id).and_then(|call| call.talking_mut()) else { return };
        let told = std::mem::replace(&mut talking.heard, sound.clone());
        let (mut hears, mut stops, mut plays) = (Vec::new(), Vec::new(), Vec::new());
        for (leg, now) in sound {
            let was = told.get(&leg).cloned().unwrap_or_default();
            if was.from != now.from {
                hears.push(Hears { leg, from: now.from });
            }
            match now.tune {
                tune if tune == was.tune => {}
                Tune::None | Tune::Other => stops.push(leg),
                Tune::Music => plays.push((leg, format!("music/{music}"))),
                Tune::Ringback => plays.push((leg, format!("{locale}/ringback"))),
            }
        }
        for leg in stops {
            self.media(id, MediaCommand::Stop { leg });
        }
        if !hears.is_empty() {
            self.media(id, MediaCommand::Room { hears });
        }
        for (number, (leg, prompt)) in (ver + 1..).zip(plays) {
            if let Some(call) = self.calls.get_mut(&id) {
                call.plays = number;
            }
            let audio = vec![Audio::Prompt(PromptRef(prompt.into()))];
            self.media(id, MediaCommand::Play { leg, play: PlayId(number), audio, repeat: true });
        }
    }

    /// What goes into the call's recording, where one runs.
    pub(crate) fn arrange_recording(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(recording) = call.recording else { return };
        if self.recordings.get(&recording).is_none_or(|open| open.stopped) {
            return;
        }
        let sides = call.recorded();
        let told = call.recorded_from.replace(sides.clone());
        for (number, side) in [Side::Customer, Side::Agent].into_iter().enumerate() {
            let legs = sides[number].clone();
            if told.as_ref().is_none_or(|told| told[number] != legs) {
                self.media(id, MediaCommand::RecordFrom { recording, side, legs });
            }
        }
    }

    /// After a restart the workers know nothing.
    pub(crate) fn arrange_again(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Stage::Talking(talking) = &mut call.stage else { return };
        talking.heard.clear();
        let guests = talking.guests.iter().filter_map(|guest| Some((guest.on()?, guest.muted)));
        let legs = [(&talking.leg, talking.muted)].into_iter().chain(guests);
        let legs: Vec<_> = legs.map(|(leg, muted)| (leg.id, leg.media.clone(), muted)).collect();
        for (leg, media, muted) in legs {
            if let Some(media) = media {
                self.media(id, MediaCommand::Connect { leg, media });
            }
            if muted {
                self.media(id, MediaCommand::Mute { leg, muted });
            }
        }
        self.arrange(id);
    }
}
