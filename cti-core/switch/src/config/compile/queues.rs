//! A queue's settings: every name it leads to stands, every number is one that can be meant.

use std::collections::BTreeMap;

use cti_acd::limits::{BORROW_MAX, OVERFLOW_RULES_MAX, RELAX_STEPS_MAX};

use super::{Check, SECONDS_MAX};
use crate::config::{Overflow, QueueDecl, Target, VoicemailDecl, When};
use crate::limits::{COMFORTS_MAX, PROMPTS_MAX, VOICEMAIL_S, VOICEMAIL_SILENCE_S};

/// What a telephone can send (RFC 4733 3.2).
const KEYS: &str = "0123456789*#ABCD";
/// Missed offers in a row.
const MISSES: std::ops::RangeInclusive<u32> = 1..=100;
/// The least time between two prompts of one kind.
const EVERY_S_MIN: u32 = 5;
/// Points of a value class or of a second, and weights under `scored`, either way.
const POINTS_MAX: f64 = 1_000_000.0;

type Prompts<'a> = Option<&'a BTreeMap<String, Vec<String>>>;

impl Check<'_> {
    pub(super) fn queues(&mut self, prompts: Prompts<'_>) {
        self.names("queue", self.doc.queue.iter().map(|queue| queue.name.as_str()).collect());
        for queue in &self.doc.queue {
            let path = format!("queue[{}]", queue.name);
            self.times(&path, queue);
            self.levels(&format!("{path}.requires"), &queue.requires);
            self.order(&path, queue);
            self.relax(&path, queue);
            self.borrow(&path, queue);
            self.sounds(&path, queue, prompts);
            self.keys(&path, queue);
            self.callback(&path, queue);
            self.voicemail(&path, queue);
            if queue.overflow.len() > OVERFLOW_RULES_MAX {
                self.fault(format!("{path}.overflow"), format!("at most {OVERFLOW_RULES_MAX} rules"));
            }
            for (at, rule) in queue.overflow.iter().enumerate() {
                let path = match queue.overflow.len() {
                    1 => format!("{path}.overflow"),
                    _ => format!("{path}.overflow[{at}]"),
                };
                self.overflow(&path, queue, rule);
            }
        }
    }

    fn times(&mut self, path: &str, queue: &QueueDecl) {
        self.seconds(format!("{path}.ring_timeout_s"), queue.ring_timeout_s, 1);
        self.seconds(format!("{path}.wrapup_s"), queue.wrapup_s, 0);
        self.seconds(format!("{path}.max_wait_s"), queue.max_wait_s, 1);
        self.seconds(format!("{path}.service_level.seconds"), queue.service_level.seconds, 0);
        if queue.service_level.percent > 100 {
            self.fault(format!("{path}.service_level.percent"), "is above 100");
        }
        if queue.max_waiting == 0 {
            self.fault(format!("{path}.max_waiting"), "must be at least 1");
        }
        if !MISSES.contains(&queue.misses_max) {
            let text = format!("{} is not from {} to {}", queue.misses_max, MISSES.start(), MISSES.end());
            self.fault(format!("{path}.misses_max"), text);
        }
        if queue.announce.every_s != 0 {
            self.seconds(format!("{path}.announce.every_s"), queue.announce.every_s, EVERY_S_MIN);
        }
        if let Some(sticky) = queue.sticky {
            self.seconds(format!("{path}.sticky.s"), sticky.s, 1);
        }
    }

    fn order(&mut self, path: &str, queue: &QueueDecl) {
        self.weight(format!("{path}.weight"), queue.weight);
        let weights = &queue.weights;
        let scores = [weights.skill, weights.idle, weights.relationship, weights.occupancy];
        if scores.iter().any(|weight| !(0.0..=POINTS_MAX).contains(weight)) {
            self.fault(format!("{path}.weights"), format!("must be from 0 to {POINTS_MAX}"));
        }
        if !(0.0..=POINTS_MAX).contains(&queue.order.age_points_per_s) {
            self.fault(format!("{path}.order.age_points_per_s"), format!("must be from 0 to {POINTS_MAX}"));
        }
        if queue.order.value_points.values().any(|points| f64::from(points.unsigned_abs()) > POINTS_MAX) {
            self.fault(format!("{path}.order.value_points"), format!("at most {POINTS_MAX} points"));
        }
    }

    fn relax(&mut self, path: &str, queue: &QueueDecl) {
        let path = format!("{path}.relax");
        if queue.relax.len() > RELAX_STEPS_MAX {
            self.fault(path.clone(), format!("at most {RELAX_STEPS_MAX} steps"));
        }
        for (at, step) in queue.relax.iter().enumerate() {
            let path = format!("{path}[{at}]");
            self.seconds(format!("{path}.after_s"), step.after_s, 0);
            if step.until_s.is_some_and(|until| until <= step.after_s || until > SECONDS_MAX) {
                self.fault(format!("{path}.until_s"), format!("must be after `after_s`, at most {SECONDS_MAX}"));
            }
            if step.requires.is_empty() && step.drop.is_empty() && step.queues.is_empty() {
                self.fault(path.clone(), "changes nothing: give `requires`, `drop` or `queues`");
            }
            for (skill, level) in &step.requires {
                if *level > 5 {
                    self.fault(format!("{path}.requires.{skill}"), format!("level {level} is not from 0 to 5"));
                }
            }
            for name in &step.queues {
                if !self.has_queue(name) {
                    self.fault(format!("{path}.queues"), format!("there is no queue `{name}`"));
                }
            }
        }
    }

    fn borrow(&mut self, path: &str, queue: &QueueDecl) {
        if queue.borrow.len() > BORROW_MAX {
            self.fault(format!("{path}.borrow"), format!("at most {BORROW_MAX} queues"));
        }
        for name in &queue.borrow {
            if *name == queue.name {
                self.fault(format!("{path}.borrow"), "names the queue itself");
            } else if !self.has_queue(name) {
                self.fault(format!("{path}.borrow"), format!("there is no queue `{name}`"));
            }
        }
    }

    fn sounds(&mut self, path: &str, queue: &QueueDecl, prompts: Prompts<'_>) {
        if let Some(known) = prompts.and_then(|prompts| prompts.get("music"))
            && !known.contains(&queue.music)
        {
            let text = format!("there is no music `{}`; known: {}", queue.music, known.join(", "));
            self.fault(format!("{path}.music"), text);
        }
        self.prompts(format!("{path}.whisper.prompts"), &queue.whisper.prompts, prompts);
        if queue.comfort.len() > COMFORTS_MAX {
            self.fault(format!("{path}.comfort"), format!("at most {COMFORTS_MAX} messages"));
        }
        for (at, comfort) in queue.comfort.iter().enumerate() {
            let path = format!("{path}.comfort[{at}]");
            self.seconds(format!("{path}.after_s"), comfort.after_s, 1);
            if let Some(every) = comfort.every_s {
                self.seconds(format!("{path}.every_s"), every, EVERY_S_MIN);
            }
            if comfort.prompts.is_empty() {
                self.fault(format!("{path}.prompts"), "names no prompt");
            }
            self.prompts(format!("{path}.prompts"), &comfort.prompts, prompts);
        }
    }

    /// Each is there in every language.
    fn prompts(&mut self, path: String, names: &[String], prompts: Prompts<'_>) {
        if names.len() > PROMPTS_MAX {
            self.fault(path.clone(), format!("at most {PROMPTS_MAX} prompts in a row"));
        }
        let Some(known) = prompts else { return };
        for name in names {
            let locales = known.iter().filter(|(locale, _)| *locale != "music");
            let missing: Vec<&str> =
                locales.filter(|(_, names)| !names.contains(name)).map(|(locale, _)| locale.as_str()).collect();
            if !missing.is_empty() {
                self.fault(path.clone(), format!("there is no prompt `{name}` in {}", missing.join(", ")));
            }
        }
    }

    fn keys(&mut self, path: &str, queue: &QueueDecl) {
        for (key, action) in &queue.keys {
            let path = format!("{path}.keys.{key}");
            if !KEYS.contains(*key) {
                self.fault(path.clone(), "is no key of a telephone: use one of 0-9, *, #, A-D");
            }
            let given =
                usize::from(action.callback) + usize::from(action.voicemail) + usize::from(action.ivr.is_some());
            if given != 1 || (action.node.is_some() && action.ivr.is_none()) {
                let text = "give exactly one of `callback = true`, `voicemail = true`, `ivr`; `node` goes with `ivr`";
                self.fault(path.clone(), text);
            }
            if action.callback {
                self.callback_key(&path);
            }
            if let Some(ivr) = &action.ivr {
                self.script(&path, ivr);
            }
        }
    }

    fn overflow(&mut self, path: &str, queue: &QueueDecl, rule: &Overflow) {
        match &rule.when {
            When::AfterS(after) => self.seconds(format!("{path}.after_s"), *after, 1),
            When::EstimateS(estimate) => self.seconds(format!("{path}.estimate_s"), *estimate, 1),
            When::Waiting(waiting) => {
                if *waiting == 0 || *waiting > queue.max_waiting {
                    let text = format!("{waiting} is not from 1 to `max_waiting`, {}", queue.max_waiting);
                    self.fault(format!("{path}.waiting"), text);
                }
            }
            When::Closed(hours) => {
                if !self.doc.hours.iter().any(|decl| decl.name == *hours) {
                    self.fault(format!("{path}.closed"), format!("there are no hours `{hours}`"));
                }
            }
            When::NoStaff | When::Emergency => {}
        }
        let path = format!("{path}.to");
        match &rule.to {
            Target::Queue(name) if *name == queue.name => self.fault(path, "is the queue itself"),
            Target::Queue(name) => {
                if !self.has_queue(name) {
                    self.fault(path, format!("there is no queue `{name}`"));
                }
            }
            Target::Agent(name) => self.direct(&path, name),
            Target::Ivr { name, node: _ } => self.script(&path, name),
            Target::Number(number) => self.outside(&path, number),
            Target::Busy | Target::Voicemail => {}
        }
    }

    fn voicemail(&mut self, path: &str, queue: &QueueDecl) {
        let VoicemailDecl { max_s, silence_s } = queue.voicemail;
        for (key, value, range) in [("max_s", max_s, VOICEMAIL_S), ("silence_s", silence_s, VOICEMAIL_SILENCE_S)] {
            if !range.contains(&value) {
                let text = format!("{value} is not from {} to {}", range.start(), range.end());
                self.fault(format!("{path}.voicemail.{key}"), text);
            }
        }
    }

    fn script(&mut self, path: &str, name: &str) {
        if !self.doc.ivr.iter().any(|ivr| ivr.name == name) {
            self.fault(path, format!("there is no ivr `{name}`"));
        }
    }
}
