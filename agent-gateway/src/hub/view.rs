use std::collections::BTreeMap;

use cti_base::{CallId, OfferId};
use cti_switch::desk::{self, AgentState, AgentView, CallState, CallView, OfferCreated, Pop, Standing};

use crate::protocol::{Draft, Event, GatewayEvent, Snapshot};

/// A desk keeps at most this many drafts at hand; the records keep them all.
pub const DRAFTS_MAX: usize = 50;

/// One agent's desk as its events make it. The web application folds the same events by the same rules, so that a snapshot
/// and the events before it end in the same state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    pub agent: Option<AgentView>,
    pub calls: BTreeMap<CallId, CallView>,
    pub offers: BTreeMap<OfferId, OfferCreated>,
    pub drafts: BTreeMap<(String, String), Draft>,
    pub media_owner: Option<String>,
    pub draining: bool,
}

impl View {
    pub fn from_snapshot(snapshot: Snapshot) -> Self {
        Self {
            agent: snapshot.agent,
            calls: snapshot.calls.into_iter().map(|call| (call.call_id, call)).collect(),
            offers: snapshot.offers.into_iter().map(|offer| (offer.offer_id, offer)).collect(),
            drafts: snapshot.drafts.into_iter().map(|d| ((d.call_id.clone(), d.kind.clone()), d)).collect(),
            media_owner: snapshot.media_owner,
            draining: snapshot.draining,
        }
    }

    /// Applies one event, in order.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Switch(event) => self.apply_switch(event),
            Event::Gateway(GatewayEvent::DraftSaved(draft)) => {
                self.drafts.insert((draft.call_id.clone(), draft.kind.clone()), draft.clone());
            }
            Event::Gateway(GatewayEvent::DraftCleared { call_id, kind }) => {
                self.drafts.remove(&(call_id.clone(), kind.clone()));
            }
            Event::Gateway(GatewayEvent::MediaOwner { tab }) => self.media_owner = Some(tab.clone()),
        }
    }

    pub fn snapshot(&self, seq: u64) -> Snapshot {
        Snapshot {
            agent: self.agent.clone(),
            calls: self.calls.values().cloned().collect(),
            offers: self.offers.values().cloned().collect(),
            drafts: self.drafts.values().cloned().collect(),
            media_owner: self.media_owner.clone(),
            draining: self.draining,
            seq,
        }
    }

    /// The events that make this view what the switch says: none where it knew all. What the switch does not name is over.
    pub fn changes_to(&self, standing: Standing) -> Vec<desk::Event> {
        let Standing { agent, offer, call, draining } = standing;
        let mut events = Vec::new();
        let is_call = |id: &CallId| call.as_ref().is_some_and(|call| call.call_id == *id);
        for call_id in self.calls.keys().copied().filter(|id| !is_call(id)) {
            events.push(desk::Event::WrapupEnded { call_id, incomplete: false });
        }
        let is_offer = |id: &OfferId| offer.as_ref().is_some_and(|offer| offer.offer_id == *id);
        for OfferCreated { offer_id, call_id, .. } in self.offers.values().filter(|known| !is_offer(&known.offer_id)) {
            let (offer_id, call_id, reason) = (*offer_id, *call_id, "gone".to_owned());
            events.push(desk::Event::OfferWithdrawn { offer_id, call_id, reason });
        }
        if self.agent.as_ref() != Some(&agent) {
            events.push(desk::Event::AgentState(agent));
        }
        if let Some(offer) = offer.filter(|offer| self.offers.get(&offer.offer_id) != Some(&**offer)) {
            events.push(desk::Event::OfferCreated(offer));
        }
        if let Some(call) = call.filter(|call| self.calls.get(&call.call_id) != Some(&**call)) {
            events.push(match call.ended_ms {
                Some(_) => desk::Event::WrapupStarted(call),
                None => desk::Event::CallConnected(call),
            });
        }
        if draining && !self.draining {
            events.push(desk::Event::Drain {});
        }
        events
    }

    fn apply_switch(&mut self, event: &desk::Event) {
        match event {
            desk::Event::AgentState(agent) | desk::Event::AgentNextState(agent) => self.apply_agent(agent),
            desk::Event::OfferCreated(offer) => {
                self.offers.insert(offer.offer_id, (**offer).clone());
            }
            desk::Event::OfferAccepted { offer_id, .. }
            | desk::Event::OfferRejected { offer_id, .. }
            | desk::Event::OfferTimeout { offer_id, .. }
            | desk::Event::OfferWithdrawn { offer_id, .. } => {
                self.offers.remove(offer_id);
            }
            // The offer stands; that its phone rings is shown, not kept.
            desk::Event::CallRinging { .. } => {}
            desk::Event::CallConnected(call)
            | desk::Event::CallHeld(call)
            | desk::Event::CallMuted(call)
            | desk::Event::CallRecording(call)
            | desk::Event::CallParties(call)
            | desk::Event::CallEnded(call)
            | desk::Event::WrapupStarted(call) => self.apply_call(call),
            desk::Event::WrapupEnded { call_id, .. } => {
                self.calls.remove(call_id);
            }
            desk::Event::Pop { call_id, pop } => self.apply_pop(*call_id, pop),
            desk::Event::Drain {} => self.draining = true,
            // No frame: `changes_to` makes frames of it.
            desk::Event::Standing(_) => {}
        }
    }

    /// An agent who neither talks nor wraps up has no ended call before them: so a queue without wrap-up leaves none behind.
    fn apply_agent(&mut self, agent: &AgentView) {
        if self.agent.as_ref().is_some_and(|known| known.ver > agent.ver) {
            return;
        }
        if !matches!(agent.state, AgentState::Talking | AgentState::Wrapup) {
            self.calls.retain(|_, call| call.state != CallState::Ended);
        }
        self.agent = Some(agent.clone());
    }

    fn apply_call(&mut self, call: &CallView) {
        if self.calls.get(&call.call_id).is_none_or(|known| known.ver <= call.ver) {
            self.calls.insert(call.call_id, call.clone());
        }
    }

    fn apply_pop(&mut self, call_id: CallId, pop: &Pop) {
        for offer in self.offers.values_mut().filter(|offer| offer.call_id == call_id) {
            offer.pop = pop.clone();
        }
        if let Some(call) = self.calls.get_mut(&call_id) {
            call.pop = pop.clone();
        }
    }
}
