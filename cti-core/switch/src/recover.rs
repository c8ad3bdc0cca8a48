//! A new process took up the state of an old one: the outside is made right again.
//!
//! The state says what everyone has been promised; sockets, media legs, files being written and open questions were the old
//! process's and are gone. Nothing is taken from a caller: place, enqueue time, music, the prompt they were hearing.

use std::time::Duration;

use cti_base::{AgentName, CallId, LegId, RecordingId, TenantId, Timestamp};
use cti_media::{Browser, MediaCommand};

use crate::acd::agent::{Desk, Reach};
use crate::call::{Guest, Leg, Records, Stage};
use crate::effect::Effect;
use crate::engine::Engine;
use crate::fact::Outcome;
use crate::limits::{DESK_GRACE, GOODBYE_MAX, TAKE_UP_MAX};
use crate::timer::{AgentTimer, CallTimer, Timer};

/// The cause of a call that was not taken up.
pub(crate) const RESTART: &str = "restart";

impl Engine {
    /// Comes before whatever fell due while nobody was there, so that it finds legs, dialogs and desks as they should be.
    pub(crate) fn restarted(&mut self, now: Timestamp) {
        let down = now.since(self.alive);
        let moved = self.configure();
        self.endpoint.restarted(now, self.alive);
        self.draining = false;
        self.closing = false;
        self.lose_desks(now);
        self.lose_closing_legs(now);
        self.lose_commands();
        if down > TAKE_UP_MAX {
            self.end_all(now);
        } else {
            self.open_legs();
            self.note_estranged();
            let calls: Vec<CallId> = self.calls.keys().copied().collect();
            for id in calls {
                self.take_up(now, id, down);
            }
        }
        self.take_up_recordings();
        for (tenant, agent) in moved {
            self.phone_changed(now, &tenant, &agent);
        }
        self.changed();
    }

    /// Goes over to the present config. Whose phone can be reached in another way by it is returned.
    fn configure(&mut self) -> Vec<(TenantId, AgentName)> {
        let Some(config) = self.next_config.take().filter(|config| *config != self.config) else { return Vec::new() };
        self.endpoint.configure(config.sip.clone());
        self.ports.fit(config.rtp_ports.clone());
        self.config = config;
        let mut moved = Vec::new();
        for (id, state) in &mut self.tenants {
            for (name, agent) in &mut state.agents {
                let reach = Reach::of(&self.endpoint, id, &agent.decl, agent.browser_up);
                if agent.reach != reach {
                    agent.reach = reach;
                    moved.push((id.clone(), name.clone()));
                }
            }
        }
        moved
    }

    /// Nobody could come back while nobody was there: every desk that still counted has its whole time from now on.
    fn lose_desks(&mut self, now: Timestamp) {
        for (id, state) in &mut self.tenants {
            for (name, agent) in &mut state.agents {
                let grace = Timer::Agent(id.clone(), name.clone(), AgentTimer::DeskGrace);
                // A browser's connection is with a process; it makes a new one.
                agent.browser_up = false;
                if matches!(agent.reach, Reach::Browser { .. }) {
                    agent.reach = Reach::Browser { up: false };
                }
                if agent.desk == Desk::Connected || self.timers.is_set(&grace) {
                    agent.desk = Desk::Gone { since: now };
                    self.timers.set(grace, now + DESK_GRACE);
                }
            }
        }
    }

    /// Their counts died with the process.
    fn lose_closing_legs(&mut self, now: Timestamp) {
        let closing: Vec<LegId> = self.legs.iter().filter(|(_, leg)| leg.closing).map(|(id, _)| *id).collect();
        for leg in closing {
            self.leg_closed(now, leg, None);
        }
    }

    /// The desks that waited for an answer are gone. That one accepted still counts.
    fn lose_commands(&mut self) {
        for offer in self.calls.values_mut().flat_map(|call| call.all_offers_mut()) {
            offer.accept = None;
        }
    }

    /// Too late: both sides are let go, and the record says why.
    fn end_all(&mut self, now: Timestamp) {
        for leg in self.legs.values_mut() {
            leg.closing = true;
        }
        for recording in self.recordings.values_mut() {
            recording.stopped = true;
        }
        // Nobody is matched with a call that is about to end.
        self.closing = true;
        let calls: Vec<(CallId, bool)> = self.calls.iter().map(|(id, call)| (*id, call.answered.is_some())).collect();
        for (id, answered) in calls {
            let outcome = if answered { Outcome::Answered } else { Outcome::Interrupted };
            self.end_call(now, id, outcome, RESTART);
        }
        self.closing = false;
        self.lose_closing_legs(now);
    }

    fn open_legs(&mut self) {
        let open: Vec<_> = self.legs.iter().map(|(id, leg)| (*id, leg.call, leg.port)).collect();
        for (leg, call, rtp_port) in open {
            let command = match rtp_port {
                Some(rtp_port) => Some(MediaCommand::Open { leg, call, rtp_port }),
                None => self.browsers_leg(call, leg),
            };
            if let Some(command) = command {
                self.media(call, command);
            }
        }
    }

    /// A leg that a browser is at the end of.
    fn browsers_leg(&self, id: CallId, leg: LegId) -> Option<MediaCommand> {
        let call = self.calls.get(&id)?;
        let is_it = |known: &Leg| known.id == leg;
        if call.legs_on().any(|known| is_it(known) && known.is_web_phone()) {
            return Some(MediaCommand::OpenBrowser { leg, call: id, browser: Browser::Phone });
        }
        let talks = call.talking().filter(|talking| is_it(&talking.leg)).and_then(|talking| talking.agent.as_ref());
        let rings = || call.all_offers().find(|offer| offer.leg.as_ref().is_some_and(is_it)).map(|offer| &offer.agent);
        let joined = || call.guests().iter().find(|guest| guest.on().is_some_and(is_it)).and_then(Guest::agent);
        let agent = talks.or_else(rings).or_else(joined)?.clone();
        let browser = Browser::Desk { tenant: call.tenant.clone(), agent };
        Some(MediaCommand::OpenBrowser { leg, call: id, browser })
    }

    /// The call's media as its state says, and what it was waiting for.
    fn take_up(&mut self, now: Timestamp, id: CallId, down: Duration) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        for offer in call.all_offers_mut() {
            // A phone's 200 could not be heard meanwhile: it rings for so much longer.
            if let Some(shown) = &mut offer.shown {
                shown.ring_until_ms += down.as_millis() as u64;
            }
        }
        self.timers.postpone(&Timer::Call(id, CallTimer::Ring), down);
        self.timers.postpone(&Timer::Call(id, CallTimer::Dial), down);
        self.postpone_guests(id, down);
        let Some(call) = self.calls.get(&id) else { return };
        if matches!(call.records, Records::Asked(_)) {
            let (tenant, number) = (call.tenant.clone(), call.from.clone());
            self.effect(Effect::LookUp { tenant, call: id, number });
        }
        let Some(call) = self.calls.get(&id) else { return };
        let (customer, is_accepted) = (call.customer.id, call.is_accepted());
        if let Some(media) = call.customer.media.clone().filter(|_| is_accepted) {
            self.media(id, MediaCommand::Connect { leg: customer, media });
        }
        match self.calls.get(&id).map(|call| &call.stage) {
            Some(Stage::Menu(_)) => self.say_menu_again(now, id),
            Some(Stage::Waiting(_)) if is_accepted => self.play_again(id),
            Some(Stage::Goodbye { .. }) => {
                self.timers.set(Timer::Call(id, CallTimer::Goodbye), now + GOODBYE_MAX);
                self.play_again(id);
            }
            Some(Stage::Talking(_)) => self.talk_again(now, id),
            Some(Stage::Sent(_)) => self.play_sent_music(id),
            Some(Stage::Voicemail(voicemail)) if voicemail.since.is_none() => self.play_again(id),
            Some(Stage::Voicemail(_)) => self.voicemail_again(id),
            Some(Stage::Waiting(_)) => self.let_agent_hear(id),
            Some(Stage::Answering(_)) | None => {}
        }
    }

    /// What was playing once plays from its start; else music goes on.
    fn play_again(&mut self, id: CallId) {
        match self.calls.get_mut(&id).and_then(|call| call.playing.take()) {
            Some(playing) => self.play(id, playing.audio, false),
            None => self.play_music(id),
        }
    }

    fn talk_again(&mut self, now: Timestamp, id: CallId) {
        // Nobody knows how much of it was heard: once is enough.
        if let Some(talking) = self.calls.get_mut(&id).and_then(|call| call.talking_mut()) {
            talking.whisper = None;
        }
        for kind in [CallTimer::Whisper, CallTimer::BrowserAway] {
            self.timers.cancel(&Timer::Call(id, kind));
        }
        self.arrange_again(id);
        self.follow_browser(now, id);
    }

    /// Those that run go on in the same file; those that were being sealed are sealed.
    fn take_up_recordings(&mut self) {
        let recordings: Vec<RecordingId> = self.recordings.keys().copied().collect();
        for recording in recordings {
            let Some(open) = self.recordings.get_mut(&recording) else { continue };
            let (tenant, call, started) = (open.tenant.clone(), open.call, open.started);
            let lives = self.calls.get_mut(&call).filter(|call| !open.stopped && call.recording == Some(recording));
            let Some(live) = lives else {
                open.stopped = true;
                self.media(call, MediaCommand::Seal { recording, call, tenant, started });
                continue;
            };
            live.recorded_from = None;
            self.media(call, MediaCommand::Resume { recording, call, tenant, started });
            self.arrange_recording(call);
        }
    }
}
