use std::collections::BTreeMap;
use std::time::Duration;

use cti_base::NodeName;
use serde::{Deserialize, Serialize};

use crate::ScriptError;

/// What a script may refer to beyond itself; `None` leaves that kind unchecked.
#[derive(Clone, Copy, Debug, Default)]
pub struct World<'a> {
    pub queues: Option<&'a [String]>,
    pub hours: Option<&'a [String]>,
    /// Prompt names known in each locale, e.g. `"zh-CN" -> ["welcome", ...]`. `music` is no locale.
    pub prompts: Option<&'a BTreeMap<String, Vec<String>>>,
}

/// A compiled script. Every edge leads to a node of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    pub(crate) name: String,
    pub(crate) locale: Option<String>,
    pub(crate) start: NodeName,
    pub(crate) nodes: BTreeMap<NodeName, Node>,
}

impl Script {
    /// All errors, in order of place; never an empty list.
    pub fn compile(source: &str, world: World<'_>) -> Result<Self, Vec<ScriptError>> {
        crate::compile::compile(source, world)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The language it begins in; `None` is the tenant's.
    pub fn locale(&self) -> Option<&str> {
        self.locale.as_deref()
    }

    pub fn start(&self) -> &NodeName {
        &self.start
    }

    pub fn has_node(&self, name: &str) -> bool {
        self.nodes.contains_key(name)
    }

    /// In order of name.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeName> {
        self.nodes.keys()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Node {
    Play {
        prompts: Vec<String>,
        barge_in: bool,
        then: NodeName,
    },
    Menu {
        prompts: Vec<String>,
        barge_in: bool,
        timeout: Duration,
        digits: BTreeMap<char, NodeName>,
        retries: Retries,
    },
    Collect {
        prompts: Vec<String>,
        barge_in: bool,
        into: String,
        min_digits: usize,
        max_digits: usize,
        terminator: Option<char>,
        first_timeout: Duration,
        digit_timeout: Duration,
        retries: Retries,
        then: NodeName,
    },
    Hours {
        hours: String,
        open: NodeName,
        closed: NodeName,
    },
    Language {
        locale: String,
        then: NodeName,
    },
    Queue {
        queue: String,
        priority: i32,
        requires: BTreeMap<String, u8>,
    },
    Hangup {
        prompts: Vec<String>,
    },
    Goto {
        then: NodeName,
    },
}

/// What follows no key and what follows a wrong one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Retries {
    pub(crate) silence: Retry,
    pub(crate) invalid: Retry,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Retry {
    /// Said before the node's own prompts come again.
    pub(crate) prompts: Vec<String>,
    /// How often the node's prompts come again before the caller goes on to `then`.
    pub(crate) repeat: u8,
    pub(crate) then: NodeName,
}

impl Node {
    /// Every edge.
    pub(crate) fn targets(&self) -> Vec<&NodeName> {
        match self {
            Self::Play { then, .. } | Self::Language { then, .. } | Self::Goto { then } => vec![then],
            Self::Menu { digits, retries, .. } => {
                digits.values().chain([&retries.silence.then, &retries.invalid.then]).collect()
            }
            Self::Collect { retries, then, .. } => vec![then, &retries.silence.then, &retries.invalid.then],
            Self::Hours { open, closed, .. } => vec![open, closed],
            Self::Queue { .. } | Self::Hangup { .. } => Vec::new(),
        }
    }

    /// The edges that a caller takes who presses nothing.
    pub(crate) fn silent_targets(&self) -> Vec<&NodeName> {
        match self {
            Self::Play { then, .. } | Self::Language { then, .. } | Self::Goto { then } => vec![then],
            Self::Menu { retries, .. } | Self::Collect { retries, .. } => vec![&retries.silence.then],
            Self::Hours { open, closed, .. } => vec![open, closed],
            Self::Queue { .. } | Self::Hangup { .. } => Vec::new(),
        }
    }
}
