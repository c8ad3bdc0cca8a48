//! Everything the switch waits for, in one ordered map.

use std::collections::BTreeMap;
use std::time::Duration;

use cti_base::{AgentName, CallId, CallbackId, TenantId, Timestamp};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
/// What is due. Each is set at most once at a time: setting it again moves it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Timer {
    Call(CallId, CallTimer),
    Agent(TenantId, AgentName, AgentTimer),
    Callback(CallbackId, CallbackTimer),
    /// Something falls due in the tenant's ACD: limits, steps and pauses of those who wait.
    Acd(TenantId),
    /// A trunk's host is to be asked whether it is there.
    Probe(TenantId, String),
    /// A trunk is to be registered.
    Register(TenantId, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum CallTimer {
    /// The deadline that the menu's walk set.
    Menu,
    Announce,
    /// The next comfort message.
    Comfort,
    /// The agent has heard long enough of what comes before the caller.
    Whisper,
    /// The records had their time.
    RecordsWait,
    /// The desk's socket had its time.
    ShownWait,
    Ring,
    /// The customer of a callback has been rung for long enough.
    Dial,
    /// A voicemail's prompt, or the message, has had its time.
    Voicemail,
    /// The goodbye has played long enough.
    Goodbye,
    /// The browser of the agent who talks is away.
    BrowserAway,
    /// Somebody who is asked to join, or to take the call over outside, was rung for long enough.
    Guest,
    /// The call is over: its legs' counts had their time.
    Stats,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum AgentTimer {
    Wrapup,
    DeskGrace,
    /// The break for no answer of an `always_ready` agent ends.
    BreakOver,
    /// The oldest failed offer has left the window.
    Unblock,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum CallbackTimer {
    /// Its time has come, or that of the next attempt.
    Due,
    /// It has waited for as long as one may.
    Over,
}

#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeMap<(Timestamp, u64), Timer>,
    keys: BTreeMap<Timer, (Timestamp, u64)>,
    set: u64,
}

impl Serialize for Timers {
    /// What is due, in order, and the number of the last setting.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.set, self.due.iter().collect::<Vec<_>>()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Timers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (set, due) = <(u64, Vec<(_, Timer)>)>::deserialize(deserializer)?;
        let due: BTreeMap<(Timestamp, u64), Timer> = due.into_iter().collect();
        let keys = due.iter().map(|(key, timer)| (timer.clone(), *key)).collect();
        Ok(Self { due, keys, set })
    }
}

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Timestamp) {
        self.set += 1;
        let key = (at, self.set);
        if let Some(old) = self.keys.insert(timer.clone(), key) {
            self.due.remove(&old);
        }
        self.due.insert(key, timer);
    }

    /// Moves a timer that is set to so much later.
    pub(crate) fn postpone(&mut self, timer: &Timer, by: Duration) {
        if let Some((at, _)) = self.keys.get(timer) {
            self.set(timer.clone(), *at + by);
        }
    }

    /// Whose ACD has something due at `now`.
    pub(crate) fn due_acds(&self, now: Timestamp) -> Vec<TenantId> {
        if self.next().is_none_or(|at| at > now) {
            return Vec::new();
        }
        let acds = self.keys.range(Timer::Acd(TenantId::from(""))..).map_while(|(timer, (at, _))| match timer {
            Timer::Acd(tenant) => Some((tenant, *at)),
            Timer::Call(..) | Timer::Agent(..) | Timer::Callback(..) | Timer::Probe(..) | Timer::Register(..) => None,
        });
        acds.filter(|(_, at)| *at <= now).map(|(tenant, _)| tenant.clone()).collect()
    }

    /// When it is due.
    pub(crate) fn at(&self, timer: &Timer) -> Option<Timestamp> {
        self.keys.get(timer).map(|(at, _)| *at)
    }

    pub(crate) fn is_set(&self, timer: &Timer) -> bool {
        self.keys.contains_key(timer)
    }

    pub(crate) fn cancel(&mut self, timer: &Timer) {
        if let Some(key) = self.keys.remove(timer) {
            self.due.remove(&key);
        }
    }

    pub(crate) fn cancel_call(&mut self, call: CallId) {
        let all = Timer::Call(call, CallTimer::Menu)..=Timer::Call(call, CallTimer::Stats);
        while let Some((timer, _)) = self.keys.range(all.clone()).next() {
            let timer = timer.clone();
            self.cancel(&timer);
        }
    }

    pub(crate) fn cancel_agent(&mut self, tenant: &TenantId, agent: &AgentName) {
        for kind in [AgentTimer::Wrapup, AgentTimer::DeskGrace, AgentTimer::BreakOver, AgentTimer::Unblock] {
            self.cancel(&Timer::Agent(tenant.clone(), agent.clone(), kind));
        }
    }

    /// The earliest that is due at `now`, in the order of time and then of setting.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        let entry = self.due.first_entry()?;
        if entry.key().0 > now {
            return None;
        }
        let timer = entry.remove();
        self.keys.remove(&timer);
        Some(timer)
    }

    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Timer> {
        self.keys.keys()
    }

    pub(crate) fn len(&self) -> (usize, usize) {
        (self.due.len(), self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use cti_base::Rng;

    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn timers_fire_in_order_and_once_moved_only_at_the_new_time() {
        let mut rng = Rng::from_number(1);
        let (a, b) = (CallId::new(at(1), &mut rng), CallId::new(at(1), &mut rng));
        let mut timers = Timers::default();
        timers.set(Timer::Call(a, CallTimer::Ring), at(20));
        timers.set(Timer::Call(b, CallTimer::Ring), at(10));
        timers.set(Timer::Call(a, CallTimer::Menu), at(10));
        timers.set(Timer::Call(a, CallTimer::Ring), at(5));
        assert_eq!(timers.next(), Some(at(5)));
        assert_eq!(timers.pop_due(at(4)), None);
        let fired: Vec<Timer> = std::iter::from_fn(|| timers.pop_due(at(30))).collect();
        assert_eq!(
            fired,
            [Timer::Call(a, CallTimer::Ring), Timer::Call(b, CallTimer::Ring), Timer::Call(a, CallTimer::Menu)]
        );
        assert_eq!(timers.len(), (0, 0));
    }

    #[test]
    fn a_calls_timers_go_with_it() {
        let mut rng = Rng::from_number(1);
        let (a, b) = (CallId::new(at(1), &mut rng), CallId::new(at(1), &mut rng));
        let mut timers = Timers::default();
        for kind in [CallTimer::Menu, CallTimer::Ring, CallTimer::Stats] {
            timers.set(Timer::Call(a, kind), at(5));
        }
        timers.set(Timer::Call(b, CallTimer::Ring), at(9));
        timers.cancel_call(a);
        assert_eq!((timers.next(), timers.len()), (Some(at(9)), (1, 1)));
    }

    #[test]
    fn an_acd_that_is_due_is_found_whatever_else_is_waited_for() {
        let (one, two): (TenantId, TenantId) = ("acme".into(), "beta".into());
        let mut timers = Timers::default();
        timers.set(Timer::Agent(one.clone(), "1001".into(), AgentTimer::Wrapup), at(5));
        timers.set(Timer::Acd(one.clone()), at(10));
        timers.set(Timer::Acd(two.clone()), at(20));
        timers.set(Timer::Probe(one.clone(), "192.0.2.1".to_owned()), at(9));
        timers.set(Timer::Register(two.clone(), "carrier".to_owned()), at(9));
        let due = |ms| timers.due_acds(at(ms));
        assert_eq!((due(9), due(10), due(20)), (vec![], vec![one.clone()], vec![one, two]));
    }
}
