//! The program around the switch, as far as its death matters: inputs go to a journal in groups, effects wait until their group is
//! durable, snapshots make the journal short, and a new engine is made of both.

use std::io::{self, Write};

use cti_base::{CallId, Timestamp};
use cti_media::MediaEvent;
use cti_switch::desk::CallerRecords;
use cti_switch::{Effect, Engine, EngineConfig, Input};

use crate::media::ensure;

/// One input as the journal has it, and what came of it.
struct Entry {
    at: Timestamp,
    /// As MessagePack.
    input: Vec<u8>,
    /// A hash of every effect, in order.
    effects: u64,
}

/// What one input wants done, once it is durable.
pub struct Step {
    pub at: Timestamp,
    /// It was `Input::Restarted`.
    pub is_restart: bool,
    /// What a worker had reported.
    pub event: Option<MediaEvent>,
    /// What the records had answered.
    pub caller: Option<(CallId, Option<Box<CallerRecords>>)>,
    pub effects: Vec<Effect>,
}

pub struct Node {
    config: EngineConfig,
    /// `None` while the program is down.
    engine: Option<Engine>,
    snapshot: Vec<u8>,
    /// Durable inputs since the snapshot.
    journal: Vec<Entry>,
    /// Inputs that are not durable.
    group: Vec<Entry>,
    held: Vec<Step>,
    /// The engine's state when the open group began, where a crash may come before it is durable.
    hash_before: Option<[u8; 32]>,
    /// The engine's state after the last durable input, at the crash.
    hash: Option<[u8; 32]>,
    /// When the last durable input came.
    alive: Timestamp,
}

impl Node {
    pub fn new(config: EngineConfig, seed: [u8; 32]) -> Self {
        let engine = Engine::new(config.clone(), seed);
        Self {
            config,
            snapshot: engine.snapshot(),
            engine: Some(engine),
            journal: Vec::new(),
            group: Vec::new(),
            held: Vec::new(),
            hash_before: None,
            hash: None,
            alive: Timestamp::default(),
        }
    }

    pub fn engine(&self) -> Option<&Engine> {
        self.engine.as_ref()
    }

    pub fn is_down(&self) -> bool {
        self.engine.is_none()
    }

    pub fn has_open_group(&self) -> bool {
        !self.group.is_empty()
    }

    pub fn last_alive(&self) -> Timestamp {
        self.alive
    }

    /// Where a crash may come before the group is durable: remembers what the engine is then.
    pub fn remember_hash(&mut self) {
        self.hash_before = self.engine.as_ref().map(Engine::state_hash);
    }

    /// Whether it would do nothing: such an input is not in the journal.
    pub fn is_moot(&self, now: Timestamp, input: &Input) -> bool {
        self.engine.as_ref().is_none_or(|engine| engine.is_moot(now, input))
    }

    /// Gives the input to the engine. What it wants done is held.
    pub fn handle(&mut self, now: Timestamp, input: Input) -> Result<u64, String> {
        let Some(engine) = &mut self.engine else { return Err("an input while the program is down".into()) };
        let written = rmp_serde::to_vec_named(&input).map_err(|e| format!("an input can not be written: {e}"))?;
        let event = match &input {
            Input::Media(event) => Some(event.clone()),
            _ => None,
        };
        let caller = match &input {
            Input::Caller { call, records } => Some((*call, records.clone())),
            _ => None,
        };
        let is_restart = matches!(input, Input::Restarted);
        let effects = run(engine, now, input);
        let hash = hash_of(now, &effects);
        self.group.push(Entry { at: now, input: written, effects: hash });
        self.held.push(Step { at: now, is_restart, event, caller, effects });
        engine.check_invariants(now).map_err(|broken| format!("invariant: {broken}"))?;
        Ok(hash)
    }

    /// The group is durable: what it wants done, in order.
    pub fn commit(&mut self) -> Vec<Step> {
        if let Some(last) = self.group.last() {
            self.alive = last.at;
        }
        self.journal.append(&mut self.group);
        self.hash_before = None;
        std::mem::take(&mut self.held)
    }

    /// What the open group wants done, of which nothing is durable.
    pub fn held(&self) -> &[Step] {
        &self.held
    }

    /// With no group open: the journal begins anew.
    pub fn take_snapshot(&mut self) {
        if let Some(engine) = &self.engine {
            self.snapshot = engine.snapshot();
            self.journal.clear();
        }
    }

    /// The program is gone, and what was not durable with it.
    pub fn crash(&mut self) {
        let is_open = self.has_open_group();
        let engine = self.engine.take();
        self.hash = if is_open { self.hash_before.take() } else { engine.map(|engine| engine.state_hash()) };
        self.hash_before = None;
        self.group.clear();
        self.held.clear();
    }

    /// One durable input is not in the journal after all.
    pub fn lose_an_input(&mut self) -> bool {
        let quiet = hash_of(Timestamp::default(), &[]);
        let at = self.journal.iter().rposition(|entry| entry.effects != quiet);
        at.map(|at| self.journal.remove(at)).is_some()
    }

    /// The engine that snapshot and journal make. It must do at every input what the old one did, and be the same in the end.
    pub fn replay(&self) -> Result<Engine, String> {
        let mut engine =
            Engine::restore(self.config.clone(), &self.snapshot).map_err(|e| format!("the replay: no engine: {e}"))?;
        for (n, entry) in self.journal.iter().enumerate() {
            let input: Input = rmp_serde::from_slice(&entry.input)
                .map_err(|e| format!("the replay: input {n} can not be read: {e}"))?;
            let effects = run(&mut engine, entry.at, input);
            ensure(hash_of(entry.at, &effects) == entry.effects, || {
                let named = rmp_serde::from_slice::<Input>(&entry.input);
                format!("the replay does something else at input {n} of {}: {named:?}: {effects:?}", self.journal.len())
            })?;
        }
        if let Some(hash) = self.hash {
            ensure(engine.state_hash() == hash, || {
                format!("the replay of {} inputs comes to another state", self.journal.len())
            })?;
        }
        engine.check_invariants(self.alive).map_err(|broken| format!("invariant after the replay: {broken}"))?;
        Ok(engine)
    }

    /// A new process has the engine.
    pub fn start(&mut self, engine: Engine) {
        self.engine = Some(engine);
        self.hash = None;
    }

    /// The engine that would be, had the snapshot of `engine` held other bytes.
    pub fn with_bytes_changed(
        &self,
        engine: &Engine,
        change: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> Result<Option<Engine>, String> {
        let mut bytes = engine.snapshot();
        if !change(&mut bytes) {
            return Ok(None);
        }
        Engine::restore(self.config.clone(), &bytes).map(Some).map_err(|e| format!("the changed snapshot: {e}"))
    }
}

fn run(engine: &mut Engine, now: Timestamp, input: Input) -> Vec<Effect> {
    engine.handle(now, input);
    std::iter::from_fn(|| engine.poll_effect()).collect()
}

/// Nothing where nothing is wanted, else of the time and of every effect in order.
fn hash_of(at: Timestamp, effects: &[Effect]) -> u64 {
    let mut hash = Fnv::default();
    if effects.is_empty() {
        return hash.0;
    }
    hash.add(&at.as_micros().to_be_bytes());
    for effect in effects {
        match effect {
            Effect::Send(transmit) => {
                hash.add(&transmit.bytes);
                hash.add(&transmit.flow.remote.port().to_be_bytes());
            }
            Effect::Fact(fact) => serde_json::to_writer(&mut hash, fact).expect("a fact can be written"),
            other => write!(hash, "{other:?}").expect("a hash takes everything"),
        }
    }
    hash.0
}

/// FNV-1a, of what is written to it.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl Write for Fnv {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
