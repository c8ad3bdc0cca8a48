//! The order between the journal and the world: what the switch took in is gathered into groups, and the effects of a group
//! are held until it is durable.
//!
//! One group is written at a time, and the next gathers meanwhile: under load groups grow. What nobody waits for ([`Hurry`])
//! stays a few milliseconds for company, and groups follow each other no faster than [`GROUP_EVERY`]: a group costs several
//! times what is in it.
//! When the disk does not take a group for [`UNDURABLE_AFTER`], calls go on without it: effects go out at once, facts wait in
//! memory, and inputs are not kept; once the disk is back, a group of those facts and a fresh snapshot mends the journal.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cti_base::Timestamp;
use cti_media::MediaCommand;
use cti_switch::live::Alarm;
use cti_switch::{Effect, Engine, Fact, Input};
use tokio::sync::watch;

use super::{Appender, Full, Group, JournalCounters, take_up};
use crate::metrics::cseq_method;

/// Inputs that gather while a group is written; then the switch takes no more until there is room.
pub const GROUP_INPUTS_MAX: usize = 4_096;
/// The same in bytes as they are written.
pub const GROUP_BYTES_MAX: usize = 4 << 20;
/// How long effects wait for a disk that does not take a group, full or broken or slow, before they go out without it.
pub const UNDURABLE_AFTER: Duration = Duration::from_secs(1);
/// Facts that wait in memory for such a disk; those beyond are lost, and counted.
pub const FACTS_WAITING_MAX: usize = 262_144;
/// How long a group waits for the next where nothing of it goes out: to the world it is as if it came later.
const QUIET_MAX: Duration = Duration::from_millis(50);
/// The same where something goes out that nobody waits for.
const LEISURE_MAX: Duration = Duration::from_millis(10);
/// A group is handed on no sooner after the one before: the first of a lull goes at once.
const GROUP_EVERY: Duration = Duration::from_millis(2);
/// A snapshot is due when the inputs since the last one are more than this,
const SNAPSHOT_BYTES_MIN: usize = 256 << 10;
/// more than so many times the last snapshot,
const SNAPSHOTS_OF_INPUTS: usize = 2;
/// or more than so many: what a start replays in some 200 ms.
const SNAPSHOT_INPUTS_MAX: usize = 8_192;
/// How often a journal whose thread has ended is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Between the engine and whoever carries out its effects.
pub struct Hold {
    appender: Appender,
    durable: watch::Receiver<u64>,
    counters: Arc<JournalCounters>,
    gathering: Gathering,
    under_way: Option<UnderWay>,
    handed_over: Option<Instant>,
    /// [`GROUP_EVERY`].
    every: Duration,
    released: VecDeque<Effect>,
    snapshot_due: bool,
    since_snapshot: Since,
    snapshot_bytes: usize,
    /// Effects go out undurable; the journal is asked again from then on.
    undurable: Option<Instant>,
    waiting: bool,
    last_at: Timestamp,
}

#[derive(Default)]
struct Gathering {
    group: Group,
    inputs: usize,
    effects: VecDeque<Effect>,
    hurry: Hurry,
    since: Option<Instant>,
}

/// How soon what a group holds has to go out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Hurry {
    /// Nothing goes out.
    #[default]
    Quiet,
    /// A few milliseconds later is as good: it ends something, or tells that something is under way.
    Leisure,
    /// Somebody waits for it.
    Now,
}

struct UnderWay {
    number: u64,
    since: Instant,
    effects: VecDeque<Effect>,
}

#[derive(Clone, Copy, Default)]
struct Since {
    inputs: usize,
    bytes: usize,
}

impl Hold {
    /// The first group holds a snapshot: what was taken up is not taken up twice, and an engine made anew starts there.
    pub fn new(appender: Appender) -> Self {
        let (durable, counters, last_at) = (appender.durable(), appender.counters(), appender.last_at());
        Self {
            appender,
            durable,
            counters,
            gathering: Gathering::default(),
            under_way: None,
            handed_over: None,
            every: GROUP_EVERY,
            released: VecDeque::new(),
            snapshot_due: true,
            since_snapshot: Since::default(),
            snapshot_bytes: 0,
            undurable: None,
            waiting: false,
            last_at,
        }
    }

    /// Before the engine handles it: what makes it panic is never kept.
    pub fn input(&mut self, at: Timestamp, input: &Input) {
        let gathering = &mut self.gathering;
        gathering.since.get_or_insert_with(Instant::now);
        gathering.inputs += 1;
        self.last_at = at;
        if self.undurable.is_some() {
            return;
        }
        let before = gathering.group.inputs.len();
        if let Err(error) = take_up::write(&mut gathering.group.inputs, at, input) {
            tracing::error!(%error, "an input can not be written to the journal: a snapshot takes its place");
            gathering.group.inputs.truncate(before);
            gathering.group.gap = true;
            self.snapshot_due = true;
        }
        self.since_snapshot.inputs += 1;
        self.since_snapshot.bytes += gathering.group.inputs.len() - before;
    }

    /// Takes an effect of that input. Gives back what needs not wait, because it leaves no trace outside: a look-up.
    pub fn effect(&mut self, at: Timestamp, effect: Effect) -> Option<Effect> {
        match effect {
            Effect::Fact(fact) => {
                self.fact(at, fact);
                None
            }
            Effect::LookUp { .. } => Some(effect),
            Effect::Measure(_) => {
                self.gathering.effects.push_back(effect);
                None
            }
            Effect::Send(_)
            | Effect::Media { .. }
            | Effect::Offer { .. }
            | Effect::Desk { .. }
            | Effect::Reply { .. }
            | Effect::CallbackAnswer { .. } => {
                self.gathering.hurry = self.gathering.hurry.max(hurry_of(&effect));
                self.gathering.effects.push_back(effect);
                None
            }
        }
    }

    /// Whether another input may be handled; else the journal has to catch up first.
    pub fn has_room(&mut self) -> bool {
        let gathering = &self.gathering;
        let room = self.undurable.is_some()
            || (gathering.inputs < GROUP_INPUTS_MAX && gathering.group.inputs.len() < GROUP_BYTES_MAX);
        if !room && !std::mem::replace(&mut self.waiting, true) {
            self.counters.waits.fetch_add(1, Ordering::Relaxed);
        }
        self.waiting = !room;
        room
    }

    /// Looks at what is on disk by now, and hands on what has gathered. All effects of `engine` must have been taken.
    pub fn turn(&mut self, engine: &Engine) {
        let durable = *self.durable.borrow_and_update();
        if let Some(mut done) = self.under_way.take_if(|group| group.number <= durable) {
            self.released.append(&mut done.effects);
        }
        let late = |group: &UnderWay| group.since.elapsed() >= UNDURABLE_AFTER;
        if self.undurable.is_none() && self.under_way.as_ref().is_some_and(late) {
            self.go_on_undurable(Instant::now());
        }
        if let Some(ask_from) = self.undurable {
            return self.turn_undurable(engine, ask_from);
        }
        if self.under_way.is_none() && self.due_at().is_some_and(|at| at <= Instant::now()) {
            self.hand_over(engine);
        }
    }

    /// The next effect to carry out, in order.
    pub fn released(&mut self) -> Option<Effect> {
        self.released.pop_front()
    }

    /// When [`Hold::turn`] is due although nothing came.
    pub fn wake(&self) -> Option<Instant> {
        if let Some(undurable) = self.undurable {
            return self.under_way.is_none().then_some(undurable);
        }
        match &self.under_way {
            Some(group) => Some(group.since + UNDURABLE_AFTER),
            None => self.due_at(),
        }
    }

    /// When what has gathered is to be handed on.
    fn due_at(&self) -> Option<Instant> {
        let since = self.gathering.since?;
        let due = match self.gathering.hurry {
            Hurry::Quiet => since + QUIET_MAX,
            Hurry::Leisure => since + LEISURE_MAX,
            Hurry::Now => since,
        };
        Some(self.handed_over.map_or(due, |before| due.max(before + self.every)))
    }

    /// Changes whenever more is on disk.
    pub fn durable(&self) -> watch::Receiver<u64> {
        self.durable.clone()
    }

    /// Whether effects go out before they are on disk.
    pub fn is_undurable(&self) -> bool {
        self.undurable.is_some()
    }

    /// What every tenant's board shows meanwhile.
    pub fn alarm(&self) -> Option<Alarm> {
        let since = Timestamp::from_micros(self.counters.undurable_since.load(Ordering::Relaxed));
        self.undurable.map(|_| Alarm {
            code: "journal".into(),
            message: "The journal's disk does not take what happens. Calls go on; a crash would lose them.".into(),
            since_ms: since.as_millis(),
        })
    }

    /// Whether all is on disk and carried out.
    pub fn is_empty(&self) -> bool {
        self.gathering.since.is_none() && self.under_way.is_none() && self.released.is_empty()
    }

    /// Hands on what has gathered, be it nothing, with a snapshot: the next start replays nothing.
    pub fn close(&mut self, engine: &Engine) {
        self.snapshot_due = true;
        if self.under_way.is_none() {
            self.hand_over(engine);
        }
    }

    fn fact(&mut self, at: Timestamp, fact: Fact) {
        let facts = &mut self.gathering.group.facts;
        if facts.len() < FACTS_WAITING_MAX {
            facts.push((at, fact));
        } else if self.counters.lost_facts.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::error!(limit = FACTS_WAITING_MAX, "too many facts wait for the journal: facts are lost");
        }
    }

    /// Gives false where the journal takes nothing.
    fn hand_over(&mut self, engine: &Engine) -> bool {
        let Gathering { mut group, inputs, effects, hurry, since } = std::mem::take(&mut self.gathering);
        let due = self.snapshot_due
            || self.since_snapshot.inputs > SNAPSHOT_INPUTS_MAX
            || self.since_snapshot.bytes > SNAPSHOT_BYTES_MIN.max(SNAPSHOTS_OF_INPUTS * self.snapshot_bytes);
        group.at = self.last_at;
        if due {
            let snapshot = engine.snapshot();
            self.snapshot_bytes = snapshot.len();
            group.snapshot = Some(snapshot);
        }
        match self.appender.append(group) {
            Ok(number) => {
                let now = Instant::now();
                self.handed_over = Some(now);
                self.under_way = Some(UnderWay { number, since: now, effects });
                if due {
                    (self.snapshot_due, self.since_snapshot) = (false, Since::default());
                }
                true
            }
            Err(Full(mut group)) => {
                group.snapshot = None;
                self.gathering = Gathering { group: *group, inputs, effects, hurry, since };
                self.go_on_undurable(Instant::now() + ASK_AGAIN);
                false
            }
        }
    }

    fn go_on_undurable(&mut self, ask_from: Instant) {
        if self.undurable.replace(ask_from).is_some() {
            return;
        }
        tracing::error!(
            limit_ms = UNDURABLE_AFTER.as_millis(),
            "the journal does not take what happens: calls go on without it, and a crash would lose them"
        );
        self.counters.undurable_since.store(self.last_at.as_micros().max(1), Ordering::Relaxed);
        if let Some(group) = &mut self.under_way {
            self.released.append(&mut group.effects);
            self.counters.undurable_groups.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lets everything out, and mends the journal once it takes groups again.
    fn turn_undurable(&mut self, engine: &Engine, ask_from: Instant) {
        let gathering = &mut self.gathering;
        if gathering.since.take().is_some() {
            self.counters.undurable_groups.fetch_add(1, Ordering::Relaxed);
        }
        self.released.append(&mut gathering.effects);
        gathering.group.inputs.clear();
        gathering.group.gap = true;
        (gathering.inputs, gathering.hurry) = (0, Hurry::Quiet);
        if self.under_way.is_some() || Instant::now() < ask_from {
            return;
        }
        self.snapshot_due = true;
        if self.hand_over(engine) {
            tracing::info!("the journal takes what happens again");
            self.undurable = None;
            self.counters.undurable_since.store(0, Ordering::Relaxed);
        }
    }
}

fn hurry_of(effect: &Effect) -> Hurry {
    let leisurely = match effect {
        Effect::Send(transmit) => may_wait(&transmit.bytes),
        Effect::Media { command, .. } => {
            matches!(command, MediaCommand::Close { .. } | MediaCommand::RecordStop { .. })
        }
        Effect::Desk { .. } => true,
        Effect::Offer { .. } | Effect::Reply { .. } | Effect::CallbackAnswer { .. } => false,
        Effect::LookUp { .. } | Effect::Fact(_) | Effect::Measure(_) => true,
    };
    if leisurely { Hurry::Leisure } else { Hurry::Now }
}

/// Whether nobody waits for a SIP message: it is far from being asked for again (T1, 500 ms), and what it tells is that
/// something begins (100, 180) or has ended (BYE, its answer, and ACK, which ends an INVITE).
fn may_wait(message: &[u8]) -> bool {
    let starts = |with: &[u8]| message.starts_with(with);
    starts(b"BYE ")
        || starts(b"ACK ")
        || starts(b"SIP/2.0 100 ")
        || starts(b"SIP/2.0 180 ")
        || (starts(b"SIP/2.0 200 ") && cseq_method(message) == Some(b"BYE"))
}

#[cfg(test)]
#[path = "hold_tests.rs"]
mod tests;
