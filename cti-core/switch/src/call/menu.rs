//! The caller is in a menu: the script's walk is stepped, what it asks for is carried out.

use cti_base::{CallId, NodeName, Timestamp};
use cti_media::{Audio, MediaCommand, PlayId, PromptRef};
use ivr_scripts::{Action, Happening, Host, Walk};

use super::inbound::cut;
use super::{Menu, Playing, Stage, Wish};
use crate::config::Tenant;
use crate::engine::Engine;
use crate::fact::{Fact, Outcome, SegmentKind};
use crate::limits::{PATH_MAX, VAR_LEN_MAX, VARS_MAX};
use crate::timer::{CallTimer, Timer};

/// The world as a script asks for it.
struct World<'a> {
    tenant: &'a Tenant,
    now: Timestamp,
}

impl Host for World<'_> {
    fn is_open(&self, hours: &str) -> bool {
        self.tenant.hours.get(hours).is_some_and(|hours| hours.is_open(self.now, self.tenant.zone))
    }
}

impl Engine {
    pub(crate) fn enter_menu(&mut self, now: Timestamp, id: CallId, ivr: &str, node: Option<NodeName>) {
        self.answer_caller(now, id);
        let Some(call) = self.calls.get(&id) else { return };
        let script = self.tenants.get(&call.tenant).and_then(|state| state.tenant.scripts.get(ivr)).cloned();
        let Some(script) = script else {
            self.say_goodbye(now, id, "ivr_removed");
            return;
        };
        let calls = &self.calls;
        let script = self.scripts.hold(&script, || calls.values().filter_map(|call| call.script()).collect());
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.segment(now, Some(SegmentKind::Ivr));
        call.stage_since = now;
        call.stage = Stage::Menu(Box::new(Menu { walk: Walk::new(&call.locale), script }));
        self.step_menu(now, id, Happening::Enter { node });
    }

    pub(crate) fn menu_digit(&mut self, now: Timestamp, id: CallId, digit: char) {
        self.step_menu(now, id, Happening::Digit(digit));
    }

    pub(crate) fn menu_played(&mut self, now: Timestamp, id: CallId) {
        self.step_menu(now, id, Happening::Played);
    }

    pub(crate) fn menu_deadline(&mut self, now: Timestamp, id: CallId) {
        self.step_menu(now, id, Happening::Deadline);
    }

    /// The caller hears the present node from its start.
    pub(crate) fn say_menu_again(&mut self, now: Timestamp, id: CallId) {
        let Some(Stage::Menu(menu)) = self.calls.get_mut(&id).map(|call| &mut call.stage) else { return };
        let Some(script) = self.scripts.of(menu.script) else { return };
        for action in menu.walk.resume(script) {
            self.carry_out(now, id, action);
        }
    }

    fn step_menu(&mut self, now: Timestamp, id: CallId, happening: Happening) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(state) = self.tenants.get(&call.tenant) else { return };
        let Stage::Menu(menu) = &mut call.stage else { return };
        let Some(script) = self.scripts.of(menu.script) else { return };
        let world = World { tenant: &state.tenant, now };
        let actions = menu.walk.step(script, &world, happening);
        for action in actions {
            self.carry_out(now, id, action);
        }
    }

    fn carry_out(&mut self, now: Timestamp, id: CallId, action: Action) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if !matches!(call.stage, Stage::Menu(_)) {
            return;
        }
        match action {
            Action::Entered(node) => {
                if call.path.len() < PATH_MAX {
                    call.path.push(node.clone());
                }
                let tenant = call.tenant.clone();
                self.fact(Fact::NodeEntered { tenant, call: id, node });
            }
            Action::Play { prompts } => self.play_prompts(id, prompts.iter().map(String::as_str)),
            Action::StopPlaying => {
                call.playing = None;
                let leg = call.customer.id;
                self.media(id, MediaCommand::Stop { leg });
            }
            Action::Deadline(Some(after)) => self.timers.set(Timer::Call(id, CallTimer::Menu), now + after),
            Action::Deadline(None) => self.timers.cancel(&Timer::Call(id, CallTimer::Menu)),
            Action::Locale(locale) => call.locale = locale,
            Action::Set { name, value } => {
                if call.vars.len() < VARS_MAX || call.vars.contains_key(&name) {
                    call.vars.insert(name, cut(&value, VAR_LEN_MAX).to_owned());
                }
            }
            Action::Queue { queue, priority, requires } => {
                self.timers.cancel(&Timer::Call(id, CallTimer::Menu));
                self.enqueue(now, id, &queue.into(), Wish { priority, requires, agent: None });
            }
            Action::Hangup => self.end_call(now, id, Outcome::CompletedIvr, "completed"),
        }
    }

    /// Plays prompts of the call's locale to the caller, once; `Played` will say when they are over.
    pub(crate) fn play_prompts<'a>(&mut self, id: CallId, names: impl Iterator<Item = &'a str>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let audio = names.map(|name| Audio::Prompt(PromptRef(format!("{}/{name}", call.locale).into()))).collect();
        self.play(id, audio, false);
    }

    pub(crate) fn play(&mut self, id: CallId, audio: Vec<Audio>, repeat: bool) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.plays += 1;
        let play = PlayId(call.plays);
        call.playing = (!repeat).then(|| Playing { id: play, audio: audio.clone() });
        let leg = call.customer.id;
        self.media(id, MediaCommand::Play { leg, play, audio, repeat });
    }
}
