#![allow(unused_variables, clippy::unimplemented, reason = "the surface first")]
//! The IVR script language: TOML compiled to a checked graph of nodes, stepped by the switch. Pure.
//!
//! A [`Script`] is made once by [`Script::compile`], which refuses what a caller could get lost in. A [`Walk`] is one
//! caller's place in it. **Call [`Walk::step`] with what happened, carry out every [`Action`] it returns in order, then
//! wait for the next happening or for the deadline it set.** A walk serialises, so that it can be taken up again.

use std::collections::BTreeMap;
use std::time::Duration;

use cti_base::NodeName;
use serde::{Deserialize, Serialize};

/// What is wrong with a script, and where. Lines and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct ScriptError {
    pub line: usize,
    pub column: usize,
    pub message: String,
}

/// What a script may refer to beyond itself; `None` leaves that kind unchecked.
#[derive(Clone, Copy, Debug, Default)]
pub struct World<'a> {
    pub queues: Option<&'a [String]>,
    pub hours: Option<&'a [String]>,
    /// Prompt names known in each locale, e.g. `"zh-CN" -> ["welcome", ...]`.
    pub prompts: Option<&'a BTreeMap<String, Vec<String>>>,
}

/// A compiled script.
#[derive(Clone, Debug)]
pub struct Script {}

impl Script {
    /// All errors, in order of place; never an empty list.
    pub fn compile(source: &str, world: World<'_>) -> Result<Self, Vec<ScriptError>> {
        unimplemented!()
    }
}

/// What happened to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The caller comes in, at the start or at a named node.
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

/// One caller's place in a script.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Walk {}

impl Walk {
    pub fn new(locale: &str) -> Self {
        unimplemented!()
    }

    /// Never more than `STEPS_MAX` nodes without waiting for the caller: a script that would is refused at compile time.
    pub fn step(&mut self, script: &Script, host: &dyn Host, happening: Happening) -> Vec<Action> {
        unimplemented!()
    }

    pub fn locale(&self) -> &str {
        unimplemented!()
    }

    pub fn node(&self) -> Option<&NodeName> {
        unimplemented!()
    }
}
