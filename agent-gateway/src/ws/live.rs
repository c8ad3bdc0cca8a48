use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::Utf8Bytes;
use cti_base::{AgentName, CallId, QueueName};
use cti_switch::config::Role;
use cti_switch::live::{AgentLive, CallLive, Live, QueueLive};

use crate::App;
use crate::auth::SignedIn;
use crate::hub::encode;
use crate::protocol::{LiveDelta, LiveFilter, Topic, TopicFrame};

/// At most twice a second (desktop.md 7).
pub const SEND_EVERY: Duration = Duration::from_millis(500);
/// With nothing new, the time alone is sent this often.
const TIME_EVERY: Duration = Duration::from_secs(2);
/// What QA is told of: alarms whose code begins so.
const OF_RECORDINGS: &str = "recording";

/// Where the figures of a tenant come from, and who sees them.
pub struct Source {
    pub app: Arc<App>,
    pub who: SignedIn,
}

impl Source {
    /// Waits in whole seconds, so that they alone are not news more often than that.
    fn now(&self) -> Option<Live> {
        let mut live = self.app.live_of(&self.who)?;
        for queue in &mut live.queues {
            queue.longest_wait_ms -= queue.longest_wait_ms % 1_000;
        }
        match self.who.role {
            Role::Supervisor | Role::Admin => {}
            Role::Qa => live.alarms.retain(|alarm| alarm.code.starts_with(OF_RECORDINGS)),
            Role::Agent => live.alarms.clear(),
        }
        Some(live)
    }
}

/// One socket's subscription to `live`: what it was last sent.
pub struct Subscription {
    filter: LiveFilter,
    rev: u32,
    sent: Option<(Instant, Live)>,
}

impl Subscription {
    pub fn new(filter: LiveFilter) -> Self {
        Self { filter, rev: 0, sent: None }
    }

    /// The next frame, if one is due.
    pub fn next(&mut self, source: &Source) -> Option<Utf8Bytes> {
        let live = source.now().unwrap_or_default();
        let delta = self.delta(&live);
        let is_empty = delta.queues.is_empty()
            && delta.agents.is_empty()
            && delta.calls.is_empty()
            && delta.gone_queues.is_empty()
            && delta.gone_agents.is_empty()
            && delta.gone_calls.is_empty()
            && delta.alarms.is_none();
        let recent = self.sent.as_ref().is_some_and(|(at, _)| at.elapsed() < TIME_EVERY);
        if is_empty && !delta.full && recent {
            return None;
        }
        self.rev += 1;
        self.sent = Some((Instant::now(), live));
        Some(encode(&TopicFrame { topic: Topic::Live, rev: self.rev, d: delta }))
    }

    fn delta(&self, live: &Live) -> LiveDelta {
        let before = self.sent.as_ref().map(|(_, live)| live);
        let (queues, gone_queues) = changed(
            before.map(|l| l.queues.as_slice()),
            &live.queues,
            |q: &QueueLive| &q.name,
            |name| self.wants_queue(name),
        );
        let (agents, gone_agents) = changed(
            before.map(|l| l.agents.as_slice()),
            &live.agents,
            |a: &AgentLive| &a.name,
            |name| self.wants_agent(name),
        );
        let (calls, gone_calls) = changed(
            before.map(|l| l.calls.as_slice()),
            &live.calls,
            |c: &CallLive| &c.id,
            |_: &CallId| self.filter.calls,
        );
        let alarms = before.is_none_or(|before| before.alarms != live.alarms).then(|| live.alarms.clone());
        let (at_ms, full) = (live.at_ms, before.is_none());
        LiveDelta { at_ms, full, queues, agents, calls, gone_queues, gone_agents, gone_calls, alarms }
    }

    fn wants_queue(&self, name: &QueueName) -> bool {
        self.filter.queues.as_ref().is_none_or(|names| names.contains(name))
    }

    fn wants_agent(&self, name: &AgentName) -> bool {
        self.filter.agents.as_ref().is_none_or(|names| names.contains(name))
    }
}

/// The wanted entries that are new or different, and the names that are gone.
fn changed<T: Clone + PartialEq, N: Clone + Ord>(
    before: Option<&[T]>,
    after: &[T],
    name: impl Fn(&T) -> &N,
    wants: impl Fn(&N) -> bool,
) -> (Vec<T>, Vec<N>) {
    let old: BTreeMap<&N, &T> = before.unwrap_or_default().iter().map(|entry| (name(entry), entry)).collect();
    let new: BTreeMap<&N, &T> = after.iter().map(|entry| (name(entry), entry)).collect();
    let different = after.iter().filter(|entry| wants(name(entry)) && old.get(name(entry)) != Some(entry));
    let gone = old.keys().filter(|n| wants(n) && !new.contains_key(*n));
    (different.cloned().collect(), gone.map(|n| (*n).clone()).collect())
}

#[cfg(test)]
mod tests {
    use cti_base::{Rng, Timestamp};
    use cti_switch::desk::{CallState, Direction};
    use cti_switch::live::Alarm;

    use super::*;

    fn call_live() -> CallLive {
        CallLive {
            id: CallId::new(Timestamp::from_millis(1), &mut Rng::from_number(1)),
            state: CallState::Queued,
            direction: Direction::Inbound,
            from: "+8613800138000".into(),
            to: "4001001000".into(),
            queue: Some("a".into()),
            agent: None,
            node: None,
            started_ms: 1,
            since_ms: 1,
        }
    }

    fn queue(name: &str, waiting: u32) -> QueueLive {
        QueueLive { waiting, ..QueueLive::named(name.into()) }
    }

    #[test]
    fn after_the_first_only_changes_are_sent() {
        let live = |queues| Live { at_ms: 1, queues, ..Live::default() };
        let mut subscription = Subscription::new(LiveFilter::default());
        let first = live(vec![queue("a", 0), queue("b", 0)]);
        let delta = subscription.delta(&first);
        assert!(delta.full && delta.queues.len() == 2);
        subscription.sent = Some((Instant::now(), first));
        let delta = subscription.delta(&live(vec![queue("a", 1), queue("c", 0)]));
        assert!(!delta.full);
        assert_eq!(delta.queues, [queue("a", 1), queue("c", 0)]);
        assert_eq!(delta.gone_queues, [QueueName::from("b")]);
    }

    #[test]
    fn alarms_come_whole_when_one_comes_or_goes() {
        let alarm = |code: &str| Alarm { code: code.into(), message: String::new(), since_ms: 1 };
        let live = |alarms| Live { at_ms: 1, alarms, ..Live::default() };
        let mut subscription = Subscription::new(LiveFilter::default());
        assert_eq!(subscription.delta(&live(vec![])).alarms, Some(vec![]), "the first says that there is none");
        subscription.sent = Some((Instant::now(), live(vec![alarm("a")])));
        assert_eq!(subscription.delta(&live(vec![alarm("a")])).alarms, None);
        assert_eq!(subscription.delta(&live(vec![alarm("a"), alarm("b")])).alarms.map(|all| all.len()), Some(2));
        assert_eq!(subscription.delta(&live(vec![])).alarms, Some(vec![]));
    }

    #[test]
    fn calls_come_only_where_they_are_asked_for() {
        let live = Live { at_ms: 1, calls: vec![call_live()], ..Live::default() };
        assert_eq!(Subscription::new(LiveFilter::default()).delta(&live).calls, []);
        let mut subscription = Subscription::new(LiveFilter { calls: true, ..LiveFilter::default() });
        assert_eq!(subscription.delta(&live).calls, [call_live()]);
        subscription.sent = Some((Instant::now(), live));
        assert_eq!(subscription.delta(&Live::default()).gone_calls, [call_live().id]);
    }

    #[test]
    fn a_filter_names_what_is_wanted() {
        let filter = LiveFilter { queues: Some(vec!["b".into()]), ..LiveFilter::default() };
        let delta =
            Subscription::new(filter).delta(&Live { queues: vec![queue("a", 0), queue("b", 0)], ..Live::default() });
        assert_eq!(delta.queues, [queue("b", 0)]);
    }
}
