use std::collections::BTreeMap;
use std::time::Duration;

use cti_base::NodeName;
use serde::{Deserialize, Serialize};

use crate::script::{Node, Retry, Script};
use crate::{STEPS_MAX, TYPED_AHEAD_MAX};

/// What happened to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The caller comes in, at the start or at a named node (the start, where there is no such node).
    Enter { node: Option<NodeName> },
    /// What was playing ran to its end.
    Played,
    /// `0-9 * # A-D`
    Digit(char),
    /// The deadline that the walk set has come.
    Deadline,
}

/// What the switch tells a walk about the world when it asks.
pub trait Host {
    /// Whether the named hours are open now; an unknown name is closed.
    fn is_open(&self, hours: &str) -> bool;
}

/// What the switch shall do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// For the call's `ivr_path`.
    Entered(NodeName),
    /// Replaces what plays. Names are without locale; the walk's locale applies.
    Play {
        prompts: Vec<String>,
    },
    StopPlaying,
    /// Replaces the deadline; `None` clears it.
    Deadline(Option<Duration>),
    /// Later prompts are in this locale.
    Locale(String),
    /// A variable for the pop and the record, such as a collected number.
    Set {
        name: String,
        value: String,
    },
    /// The walk ends here: the caller waits in a queue.
    Queue {
        queue: String,
        priority: i32,
        requires: BTreeMap<String, u8>,
    },
    /// The walk ends here: the caller is hung up on (outcome `completed_ivr`).
    Hangup,
}

/// The deadline while prompts play: should their `Played` never come, the walk goes on as if they had.
pub(crate) const PLAYING_MAX: Duration = Duration::from_secs(300);

/// One caller's place in a script. Until it ends it always has a deadline, so that no caller is forgotten.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Walk {
    locale: String,
    node: Option<NodeName>,
    phase: Phase,
    /// Keys pressed before they were asked for, at most `TYPED_AHEAD_MAX`.
    typed_ahead: String,
    /// Digits of the number being collected.
    collected: String,
    /// How often in a row this node was said again for silence, and for a wrong key.
    silences: u8,
    invalids: u8,
    /// Nodes entered so far.
    steps: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    /// Not entered yet, or over.
    Out,
    /// The node's prompts play.
    Playing,
    /// The prompts are over; a key or the deadline comes next.
    Waiting,
}

impl Walk {
    pub fn new(locale: &str) -> Self {
        Self {
            locale: locale.to_owned(),
            node: None,
            phase: Phase::Out,
            typed_ahead: String::new(),
            collected: String::new(),
            silences: 0,
            invalids: 0,
            steps: 0,
        }
    }

    /// What follows from `happening`. Never more than [`STEPS_MAX`] nodes in a walk: beyond it the walk hangs up. A walk
    /// that is over answers nothing but `Enter`.
    pub fn step(&mut self, script: &Script, host: &dyn Host, happening: Happening) -> Vec<Action> {
        let mut out = Vec::new();
        if let Happening::Enter { node } = happening {
            self.come_in(script, host, node, &mut out);
            return out;
        }
        if self.phase == Phase::Out {
            return out;
        }
        let Some(node) = self.node.as_ref().and_then(|name| script.nodes.get(name)) else {
            // Taken up again under a script that lost this node.
            self.hang_up(&mut out);
            return out;
        };
        match happening {
            Happening::Enter { .. } => {}
            Happening::Played if self.phase == Phase::Playing => self.said(script, host, node, &mut out),
            Happening::Played => {}
            Happening::Deadline if self.phase == Phase::Playing => {
                out.push(Action::StopPlaying);
                self.said(script, host, node, &mut out);
            }
            Happening::Deadline => self.waited(script, host, node, &mut out),
            Happening::Digit(digit) => self.pressed(script, host, node, digit, &mut out),
        }
        out
    }

    /// Says the present node again from its start: what played was cut off, and keys pressed meanwhile are lost. It counts
    /// neither as silence nor as a wrong key. A walk that is over answers nothing.
    pub fn resume(&mut self, script: &Script) -> Vec<Action> {
        let mut out = Vec::new();
        if self.phase == Phase::Out {
            return out;
        }
        self.typed_ahead.clear();
        self.collected.clear();
        match self.node.as_ref().and_then(|name| script.nodes.get(name)) {
            Some(
                Node::Play { prompts, .. }
                | Node::Menu { prompts, .. }
                | Node::Collect { prompts, .. }
                | Node::Hangup { prompts },
            ) => self.say(prompts, &[], &mut out),
            // A walk stays in none of these, and a script that lost the node leads nowhere.
            Some(Node::Hours { .. } | Node::Language { .. } | Node::Queue { .. } | Node::Goto { .. }) | None => {
                self.hang_up(&mut out);
            }
        }
        out
    }

    pub fn locale(&self) -> &str {
        &self.locale
    }

    /// The node the caller is in, or was last.
    pub fn node(&self) -> Option<&NodeName> {
        self.node.as_ref()
    }

    /// Whether the caller is in the script.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Out
    }

    fn come_in(&mut self, script: &Script, host: &dyn Host, node: Option<NodeName>, out: &mut Vec<Action>) {
        if self.steps == 0
            && let Some(locale) = &script.locale
            && *locale != self.locale
        {
            self.speak(locale, out);
        }
        if self.phase == Phase::Playing {
            out.push(Action::StopPlaying);
        }
        self.typed_ahead.clear();
        let node = node.filter(|node| script.nodes.contains_key(node)).unwrap_or_else(|| script.start.clone());
        self.enter(script, host, &node, out);
    }

    /// Goes to `name` and on, through nodes that need nobody, until something plays, or the walk ends.
    fn enter(&mut self, script: &Script, host: &dyn Host, name: &NodeName, out: &mut Vec<Action>) {
        let mut name = name;
        loop {
            let Some(node) = script.nodes.get(name) else { return self.hang_up(out) };
            if self.steps >= STEPS_MAX {
                return self.hang_up(out);
            }
            self.steps += 1;
            self.node = Some(name.clone());
            self.silences = 0;
            self.invalids = 0;
            self.collected.clear();
            out.push(Action::Entered(name.clone()));
            name = match node {
                Node::Play { prompts, barge_in, then } => {
                    if !(*barge_in && self.has_typed_ahead()) {
                        return self.say(prompts, &[], out);
                    }
                    then
                }
                Node::Menu { prompts, .. } => match self.next_key() {
                    None => return self.say(prompts, &[], out),
                    Some(key) => match self.choose(node, key, out) {
                        Some(target) => target,
                        None => return,
                    },
                },
                Node::Collect { prompts, .. } => {
                    if !self.has_typed_ahead() {
                        return self.say(prompts, &[], out);
                    }
                    match self.gather_typed(node, out) {
                        Some(target) => target,
                        None => return,
                    }
                }
                Node::Hours { hours, open, closed } => {
                    if host.is_open(hours) {
                        open
                    } else {
                        closed
                    }
                }
                Node::Language { locale, then } => {
                    self.speak(locale, out);
                    then
                }
                Node::Goto { then } => then,
                Node::Queue { queue, priority, requires } => {
                    self.leave(out);
                    let (queue, requires) = (queue.clone(), requires.clone());
                    return out.push(Action::Queue { queue, priority: *priority, requires });
                }
                Node::Hangup { prompts } if prompts.is_empty() => return self.hang_up(out),
                Node::Hangup { prompts } => return self.say(prompts, &[], out),
            };
        }
    }

    /// The node's prompts are over.
    fn said(&mut self, script: &Script, host: &dyn Host, node: &Node, out: &mut Vec<Action>) {
        let target = match node {
            Node::Play { then, .. } => Some(then),
            Node::Menu { timeout, .. } => match self.next_key() {
                Some(key) => self.choose(node, key, out),
                None => {
                    self.wait(*timeout, out);
                    None
                }
            },
            Node::Collect { first_timeout, digit_timeout, .. } => {
                if self.has_typed_ahead() {
                    self.gather_typed(node, out)
                } else {
                    self.wait(if self.collected.is_empty() { *first_timeout } else { *digit_timeout }, out);
                    None
                }
            }
            Node::Hangup { .. } => return self.hang_up(out),
            // None of these plays; a walk read from elsewhere may say so all the same.
            Node::Hours { .. } | Node::Language { .. } | Node::Queue { .. } | Node::Goto { .. } => {
                return self.hang_up(out);
            }
        };
        if let Some(target) = target {
            self.enter(script, host, target, out);
        }
    }

    /// The deadline came while a key was awaited.
    fn waited(&mut self, script: &Script, host: &dyn Host, node: &Node, out: &mut Vec<Action>) {
        let target = match node {
            Node::Menu { prompts, retries, .. } => self.again(Fault::Silence, &retries.silence, prompts, out),
            Node::Collect { prompts, retries, .. } if self.collected.is_empty() => {
                self.again(Fault::Silence, &retries.silence, prompts, out)
            }
            Node::Collect { .. } => self.collected_all(node, out),
            Node::Play { .. }
            | Node::Hours { .. }
            | Node::Language { .. }
            | Node::Queue { .. }
            | Node::Hangup { .. }
            | Node::Goto { .. } => return self.hang_up(out),
        };
        if let Some(target) = target {
            self.enter(script, host, target, out);
        }
    }

    fn pressed(&mut self, script: &Script, host: &dyn Host, node: &Node, digit: char, out: &mut Vec<Action>) {
        let digit = digit.to_ascii_uppercase();
        if !matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D') {
            return;
        }
        let interrupts = match node {
            Node::Play { barge_in, .. } | Node::Menu { barge_in, .. } | Node::Collect { barge_in, .. } => *barge_in,
            Node::Hours { .. }
            | Node::Language { .. }
            | Node::Queue { .. }
            | Node::Goto { .. }
            | Node::Hangup { .. } => {
                return;
            }
        };
        if self.typed_ahead.len() < TYPED_AHEAD_MAX {
            self.typed_ahead.push(digit);
        }
        if self.phase == Phase::Playing {
            if !interrupts {
                return;
            }
            out.push(Action::StopPlaying);
        }
        let target = match node {
            Node::Play { then, .. } => Some(then),
            Node::Menu { .. } => match self.next_key() {
                Some(key) => self.choose(node, key, out),
                None => None,
            },
            Node::Collect { .. } => self.gather_typed(node, out),
            Node::Hours { .. }
            | Node::Language { .. }
            | Node::Queue { .. }
            | Node::Goto { .. }
            | Node::Hangup { .. } => None,
        };
        if let Some(target) = target {
            self.enter(script, host, target, out);
        }
    }

    /// Where a menu's key leads; `None` where the menu is said again.
    fn choose<'s>(&mut self, node: &'s Node, key: char, out: &mut Vec<Action>) -> Option<&'s NodeName> {
        let Node::Menu { prompts, digits, retries, .. } = node else { return None };
        match digits.get(&key) {
            Some(target) => Some(target),
            None => self.again(Fault::Invalid, &retries.invalid, prompts, out),
        }
    }

    /// Takes the keys that are there into the number; `None` where more are awaited or it is asked for again.
    fn gather_typed<'s>(&mut self, node: &'s Node, out: &mut Vec<Action>) -> Option<&'s NodeName> {
        let Node::Collect { prompts, max_digits, terminator, digit_timeout, retries, .. } = node else { return None };
        while let Some(key) = self.next_key() {
            if *terminator == Some(key) {
                return self.collected_all(node, out);
            }
            if !key.is_ascii_digit() {
                return self.again(Fault::Invalid, &retries.invalid, prompts, out);
            }
            self.collected.push(key);
            if self.collected.len() >= *max_digits {
                return self.collected_all(node, out);
            }
        }
        self.wait(*digit_timeout, out);
        None
    }

    fn collected_all<'s>(&mut self, node: &'s Node, out: &mut Vec<Action>) -> Option<&'s NodeName> {
        let Node::Collect { prompts, into, min_digits, retries, then, .. } = node else { return None };
        if self.collected.len() < *min_digits {
            return self.again(Fault::Invalid, &retries.invalid, prompts, out);
        }
        out.push(Action::Set { name: into.clone(), value: std::mem::take(&mut self.collected) });
        Some(then)
    }

    /// Says the node again, or answers where to go when that was done often enough. Keys typed ahead were meant for
    /// something else and are dropped.
    fn again<'s>(
        &mut self,
        fault: Fault,
        retry: &'s Retry,
        prompts: &[String],
        out: &mut Vec<Action>,
    ) -> Option<&'s NodeName> {
        self.typed_ahead.clear();
        self.collected.clear();
        let count = match fault {
            Fault::Silence => &mut self.silences,
            Fault::Invalid => &mut self.invalids,
        };
        if *count >= retry.repeat {
            return Some(&retry.then);
        }
        *count += 1;
        self.say(&retry.prompts, prompts, out);
        None
    }

    fn say(&mut self, first: &[String], then: &[String], out: &mut Vec<Action>) {
        self.phase = Phase::Playing;
        out.push(Action::Play { prompts: [first, then].concat() });
        out.push(Action::Deadline(Some(PLAYING_MAX)));
    }

    fn wait(&mut self, timeout: Duration, out: &mut Vec<Action>) {
        self.phase = Phase::Waiting;
        out.push(Action::Deadline(Some(timeout)));
    }

    fn speak(&mut self, locale: &str, out: &mut Vec<Action>) {
        locale.clone_into(&mut self.locale);
        out.push(Action::Locale(locale.to_owned()));
    }

    fn leave(&mut self, out: &mut Vec<Action>) {
        self.phase = Phase::Out;
        self.typed_ahead.clear();
        out.push(Action::Deadline(None));
    }

    fn hang_up(&mut self, out: &mut Vec<Action>) {
        self.leave(out);
        out.push(Action::Hangup);
    }

    fn has_typed_ahead(&self) -> bool {
        !self.typed_ahead.is_empty()
    }

    fn next_key(&mut self) -> Option<char> {
        if self.typed_ahead.is_empty() { None } else { Some(self.typed_ahead.remove(0)) }
    }
}

#[derive(Clone, Copy)]
enum Fault {
    Silence,
    Invalid,
}
