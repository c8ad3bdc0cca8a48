//! Whatever a network does to the frames, a client that follows the rules of desktop.md ends with what the server has.

use std::sync::Arc;

use cti_base::Rng;
use cti_switch::desk::{self, AgentState, CallState, NextState, WantedState};
use serde_json::{Value, json};
use zongji_sql::sessions::TokenHash;

use super::server::{agent_view, call, call_id, offer, offer_id, pop};
use crate::hub::{Desk, DeskState, Joined, Outgoing, SocketId, View};
use crate::protocol::{Draft, Event, EventFrame, GatewayEvent, Hello, Resume, ServerControl};

const EPOCH: &str = "e1";

/// A client by the web application's rules: apply the next number, ignore what is not above the last, resume on a gap.
#[derive(Default)]
struct Client {
    view: View,
    seq: u64,
    needs_resume: bool,
    snapshots: u32,
}

impl Client {
    fn receive(&mut self, text: &str) {
        let frame: Value = serde_json::from_str(text).expect("JSON");
        if frame.get("seq").is_some() {
            let EventFrame { seq, event, .. } = serde_json::from_value(frame).expect("an event");
            match seq {
                seq if seq <= self.seq => {}
                seq if seq == self.seq + 1 => {
                    self.view.apply(&event);
                    self.seq = seq;
                }
                _ => self.needs_resume = true,
            }
            return;
        }
        match serde_json::from_value(frame).expect("a frame") {
            ServerControl::Snapshot(snapshot) => {
                self.seq = snapshot.seq;
                self.view = View::from_snapshot(*snapshot);
                self.snapshots += 1;
            }
            ServerControl::Welcome(welcome) => assert_eq!(welcome.epoch, EPOCH),
            ServerControl::Ack(_)
            | ServerControl::Nack(_)
            | ServerControl::Control(_)
            | ServerControl::MediaAnswer(_)
            | ServerControl::MediaLost(_) => {}
        }
    }

    fn join(&mut self, state: &mut DeskState, id: u64, now_ms: u64) -> Joined {
        let resume = (self.snapshots > 0).then(|| Resume { epoch: EPOCH.into(), seq: self.seq });
        let hello = Hello { proto: 1, build: String::new(), resume, control: true };
        let joined = state.join(SocketId(id), &hello, Arc::new(TokenHash::of("t")), EPOCH, now_ms);
        self.needs_resume = false;
        for frame in &joined.first {
            self.receive(frame);
        }
        joined
    }
}

fn random_event(rng: &mut Rng) -> Event {
    let which = rng.below(4);
    let ver = rng.below(6) as u32;
    let draft = |rev| {
        let (call_id, kind) = (call_id(which).to_string(), ["inquiry", "rescue"][which as usize % 2].to_owned());
        let fields = json!({ "title": rev }).as_object().expect("an object").clone();
        Draft { call_id, kind, fields, rev, updated_ms: rev }
    };
    let states = [AgentState::Ready, AgentState::Talking, AgentState::Wrapup, AgentState::Break];
    let event = match rng.below(18) {
        0 => desk::Event::AgentState(agent_view(states[which as usize], ver)),
        1 => {
            let mut agent = agent_view(states[which as usize], ver);
            agent.next = Some(NextState { state: WantedState::Break, reason: Some("meal".into()) });
            desk::Event::AgentNextState(agent)
        }
        2 | 3 => desk::Event::OfferCreated(offer(which)),
        4 => desk::Event::OfferAccepted { offer_id: offer_id(which), call_id: call_id(which) },
        5 => desk::Event::OfferRejected { offer_id: offer_id(which), call_id: call_id(which) },
        6 => desk::Event::OfferTimeout { offer_id: offer_id(which), call_id: call_id(which) },
        7 => {
            desk::Event::OfferWithdrawn { offer_id: offer_id(which), call_id: call_id(which), reason: "caller".into() }
        }
        8 => desk::Event::CallRinging { offer_id: offer_id(which), call_id: call_id(which) },
        9 => desk::Event::CallConnected(call(which, CallState::Talking, ver)),
        10 => desk::Event::CallHeld(call(which, CallState::Held, ver)),
        11 => desk::Event::CallMuted(call(which, CallState::Talking, ver)),
        12 => desk::Event::CallRecording(call(which, CallState::Talking, ver)),
        13 => desk::Event::CallEnded(call(which, CallState::Ended, ver)),
        14 => desk::Event::WrapupStarted(call(which, CallState::Ended, ver)),
        15 => desk::Event::WrapupEnded { call_id: call_id(which), incomplete: which == 0 },
        16 => desk::Event::Pop { call_id: call_id(which), pop: Box::new(pop("+861062781234")) },
        _ if which == 0 => desk::Event::Drain {},
        _ if which == 1 => {
            let Draft { call_id, kind, .. } = draft(0);
            return Event::Gateway(GatewayEvent::DraftCleared { call_id, kind });
        }
        _ if which == 2 => return Event::Gateway(GatewayEvent::MediaOwner { tab: ver.to_string() }),
        _ => return Event::Gateway(GatewayEvent::DraftSaved(draft(rng.below(100)))),
    };
    Event::Switch(event)
}

/// Takes all that is waiting for the socket and hands it on as a bad network would.
fn through_bad_network(joined: &mut Joined, client: &mut Client, late: &mut Vec<String>, rng: &mut Rng) {
    while let Ok(outgoing) = joined.outgoing.try_recv() {
        let (Outgoing::Frame(frame) | Outgoing::Offer(frame, _)) = outgoing else { continue };
        match rng.below(10) {
            0 => {}
            1 => {
                client.receive(&frame);
                client.receive(&frame);
            }
            2 => late.push(frame.to_string()),
            _ => client.receive(&frame),
        }
        if !late.is_empty() && rng.below(3) == 0 {
            let place = rng.below(late.len() as u64) as usize;
            client.receive(&late.swap_remove(place));
        }
    }
}

#[test]
fn any_loss_repetition_or_disorder_ends_in_the_snapshots_state() {
    let mut resumed = 0;
    for seed in 0..300 {
        let mut rng = Rng::from_number(seed);
        let desk = Desk::new("acme".into(), "agent".into());
        let mut state = desk.lock();
        let (mut client, mut late) = (Client::default(), Vec::new());
        // Some seeds run long enough that what was missed is no longer kept.
        let events = if seed % 50 == 0 { 4_000 } else { rng.below(120) };
        let gap = if seed % 50 == 0 { 2_500 } else { rng.below(20) + 1 };
        let mut joined = client.join(&mut state, 1, 0);
        let mut id = 1;
        for n in 0..events {
            let now_ms = n * 1_000;
            state.push(now_ms, random_event(&mut rng), None);
            if n % gap == 0 {
                through_bad_network(&mut joined, &mut client, &mut late, &mut rng);
            }
            // The socket is lost for being too slow, for a gap, or just so.
            if client.needs_resume || (n % gap == 0 && rng.below(8) == 0) {
                state.leave(SocketId(id));
                id += 1;
                joined = client.join(&mut state, id, now_ms);
                resumed += 1;
            }
        }
        through_bad_network(&mut joined, &mut client, &mut late, &mut rng);
        state.leave(SocketId(id));
        client.join(&mut state, id + 1, events * 1_000);
        // What comes late still changes nothing.
        for frame in &late {
            client.receive(frame);
        }
        assert_eq!(client.seq, state.seq(), "seed {seed}");
        assert_eq!(client.view, View::from_snapshot(state.view.snapshot(state.seq())), "seed {seed}");
        if seed % 50 == 0 {
            assert!(client.snapshots > 1, "seed {seed}: the long absence was answered with a snapshot");
        }
    }
    assert!(resumed > 300, "the network was bad: {resumed}");
}

#[test]
fn an_older_version_of_a_call_or_agent_is_ignored() {
    let mut view = View::default();
    let mut apply = |event| view.apply(&Event::Switch(event));
    apply(desk::Event::CallHeld(call(1, CallState::Held, 3)));
    apply(desk::Event::CallConnected(call(1, CallState::Talking, 2)));
    apply(desk::Event::AgentState(agent_view(AgentState::Talking, 5)));
    apply(desk::Event::AgentState(agent_view(AgentState::Ready, 4)));
    assert_eq!(view.calls[&call_id(1)].state, CallState::Held);
    assert_eq!(view.agent.as_ref().map(|agent| agent.state), Some(AgentState::Talking));
}

#[test]
fn an_ended_call_leaves_with_its_wrapup_or_with_the_next_state() {
    let mut view = View::default();
    let mut apply = |event| view.apply(&Event::Switch(event));
    apply(desk::Event::CallEnded(call(1, CallState::Ended, 1)));
    apply(desk::Event::AgentState(agent_view(AgentState::Wrapup, 1)));
    apply(desk::Event::CallConnected(call(2, CallState::Talking, 1)));
    apply(desk::Event::AgentState(agent_view(AgentState::Ready, 2)));
    assert_eq!(view.calls.keys().copied().collect::<Vec<_>>(), [call_id(2)]);
}
