//! Figures and traces: facts added up, on both databases alike.

use std::collections::BTreeMap;

use cti_base::{CallId, OfferId, Pii, Rng};
use cti_switch::desk::{AgentState, Direction};
use cti_switch::figures::{AgentFigures, INTERVAL_MS, QueueFigures, Today};
use cti_switch::trace::{Choice, Destination, TraceEntry};
use cti_switch::{CallRecord, Fact, FactRecord, OfferEnd, Outcome, QueueLeave, StateSpan};
use zongji_sql::calls::{self, CallFilter};
use zongji_sql::figures::{self, Span};
use zongji_sql::{Page, Store, projector, trace};

use crate::{acme, at, both, no_vars, other};

const JOURNAL: &str = "a";
const TARGET_MS: u64 = 20_000;
const SHORT_MS: u64 = 5_000;

/// Milliseconds after the tests' beginning, and what happened then.
type Told = Vec<(u64, Fact)>;

/// The calls of a morning, one every 100 s: answered, abandoned, passed on and then answered, by turns.
fn morning() -> Told {
    let mut rng = Rng::from_number(3);
    let mut told = Told::new();
    let mut since = (AgentState::Offline, None, 0);
    for n in 0..30u64 {
        let start = n * 100_000;
        let call = CallId::new(at(start), &mut rng);
        let number = || Pii::new("+8613800138000".to_owned());
        let (direction, to) = (Direction::Inbound, "4001001000".to_owned());
        told.push((start, Fact::CallStarted { tenant: acme(), call, direction, trunk: None, from: number(), to }));
        let mut entered = start + 1_000;
        let wait = 3_000 + n * 1_000;
        told.push((entered, queued(call, "repair", None)));
        let mut queue = "repair";
        if n % 3 == 2 {
            let to = Destination::Queue("general".into());
            let how = QueueLeave::Overflowed { why: "after_s".into(), to };
            told.push((entered + wait, left(call, queue, entered, how)));
            entered += wait;
            told.push((entered, queued(call, "general", Some("repair"))));
            queue = "general";
        }
        let over = entered + wait;
        let answered = n % 3 != 1;
        let (talk_ms, hold_ms, wrapup_ms) = if answered { (20_000 + n, 5_000, 7_000 + n) } else { (0, 0, 0) };
        let ended = over + talk_ms + hold_ms;
        if answered {
            let offer = OfferId::new(at(entered), &mut rng);
            let agent = || "1001".into();
            let rings = over - 2_000;
            state(&mut told, &mut since, rings, AgentState::Offered, None);
            told.push((rings, Fact::Offered { tenant: acme(), call, offer, agent: agent() }));
            let (how, offered_ms) = (OfferEnd::Accepted, Some(at(rings).as_millis()));
            told.push((over, Fact::OfferEnded { tenant: acme(), call, offer, agent: agent(), how, offered_ms }));
            told.push((over, left(call, queue, entered, QueueLeave::Answered { agent: agent() })));
            told.push((over, Fact::Answered { tenant: acme(), call, agent: agent() }));
            state(&mut told, &mut since, over, AgentState::Talking, None);
            let (name, entered_ms) = (Some(queue.into()), Some(at(entered).as_millis()));
            let ended_talk = Fact::TalkEnded {
                tenant: acme(),
                call,
                agent: agent(),
                queue: name,
                entered_ms,
                answered_ms: at(over).as_millis(),
                talk_ms,
                hold_ms,
                held_since_ms: Some(at(ended - hold_ms).as_millis()),
            };
            told.push((ended, ended_talk));
            state(&mut told, &mut since, ended, AgentState::Wrapup, None);
            told.push((
                ended + wrapup_ms,
                Fact::WrapupEnded {
                    tenant: acme(),
                    call,
                    agent: agent(),
                    wrapup_ms,
                    disposition: None,
                    queue: Some(queue.into()),
                    entered_ms,
                },
            ));
            let next = if n % 2 == 0 { AgentState::Ready } else { AgentState::Break };
            let reason = (next == AgentState::Break).then(|| "meal".to_owned());
            state(&mut told, &mut since, ended + wrapup_ms, next, reason);
        } else {
            told.push((over, left(call, queue, entered, QueueLeave::Abandoned { ringing: false })));
        }
        let outcome = if answered { Outcome::Answered } else { Outcome::AbandonedQueue };
        let record = CallRecord {
            id: call,
            tenant: acme(),
            direction: Direction::Inbound,
            outcome,
            cause: "caller_hangup".into(),
            from: number(),
            to: "4001001000".into(),
            trunk: None,
            ivr_path: Vec::new(),
            queue: Some(queue.into()),
            agent: answered.then(|| "1001".into()),
            customer_id: None,
            started_ms: at(start).as_millis(),
            queued_ms: Some(at(start + 1_000).as_millis()),
            offered_ms: None,
            answered_ms: answered.then(|| at(over).as_millis()),
            ended_ms: at(ended).as_millis(),
            wait_ms: over - start - 1_000,
            ring_ms: 0,
            talk_ms,
            hold_ms,
            legs: Vec::new(),
            segments: Vec::new(),
            recording: None,
            disposition: None,
            vars: no_vars(),
        };
        told.push((ended, Fact::CallEnded { record: Box::new(record) }));
    }
    told
}

fn queued(call: CallId, queue: &str, from: Option<&str>) -> Fact {
    Fact::Queued { tenant: acme(), call, queue: queue.into(), priority: 0, from: from.map(Into::into) }
}

fn left(call: CallId, queue: &str, entered: u64, how: QueueLeave) -> Fact {
    let (queue, entered_ms) = (queue.into(), at(entered).as_millis());
    Fact::QueueLeft { tenant: acme(), call, queue, entered_ms, how, target_ms: TARGET_MS, short_ms: SHORT_MS }
}

fn state(
    told: &mut Told,
    since: &mut (AgentState, Option<String>, u64),
    now: u64,
    state: AgentState,
    reason: Option<String>,
) {
    let (was, why, from) = std::mem::replace(since, (state, reason.clone(), now));
    let was = Some(StateSpan { state: was, reason: why, since_ms: at(from).as_millis() });
    told.push((now, Fact::AgentState { tenant: acme(), agent: "1001".into(), state, reason, was }));
}

fn records(told: &Told) -> Vec<FactRecord> {
    (1..).zip(told).map(|(seq, (ms, fact))| FactRecord { seq, at: at(*ms), fact: fact.clone() }).collect()
}

fn all(part_ms: Option<u64>) -> Span {
    Span { from_ms: 0, to_ms: at(100_000_000).as_millis(), part_ms }
}

#[test]
fn figures_reconcile_with_the_calls_rows() {
    both(|store| async move {
        let told = morning();
        for batch in records(&told).chunks(37) {
            projector::apply(&store, JOURNAL, batch).await.expect("applied");
        }
        let rows = every_call(&store).await;
        let quarters = figures::queues(&store, &acme(), all(Some(INTERVAL_MS))).await.expect("read");
        assert!(quarters.len() > 4, "a morning is several quarters of an hour: {quarters:?}");
        let mut sums: BTreeMap<String, QueueFigures> = BTreeMap::new();
        for part in &quarters {
            assert_eq!(part.start_ms % INTERVAL_MS, 0);
            assert_eq!((part.figures.left(), part.figures.waiting()), (part.figures.offered, 0), "{part:?}");
            sums.entry(part.name.to_string()).or_default().add(&part.figures);
        }
        for queue in ["repair", "general"] {
            let of_queue = || rows.iter().filter(|call| call.queue.as_deref() == Some(queue));
            let answered = || of_queue().filter(|call| call.answered_ms.is_some());
            let sum = sums[queue];
            assert_eq!(sum.answered, answered().count() as u64, "{queue}");
            assert_eq!(sum.abandoned(), of_queue().filter(|c| c.outcome == Outcome::AbandonedQueue).count() as u64);
            assert_eq!((sum.handled, sum.talk_ms), (sum.answered, answered().map(|c| c.talk_ms).sum::<u64>()));
            assert_eq!(sum.hold_ms, answered().map(|c| c.hold_ms).sum::<u64>());
            assert_eq!(sum.wrapup_ms, answered().filter_map(|c| c.wrapup_ms).sum::<u64>());
        }
        assert_eq!((sums["repair"].overflowed_out, sums["general"].overflowed_in), (10, 10));
        // Those who came straight have waited as their rows say.
        let straight = rows.iter().filter(|c| c.queue.as_deref() == Some("repair") && c.answered_ms.is_some());
        assert_eq!(sums["repair"].wait_answered_ms, straight.map(|c| c.wait_ms).sum::<u64>());
        let whole = figures::queues(&store, &acme(), all(None)).await.expect("read");
        let whole: BTreeMap<String, QueueFigures> =
            whole.into_iter().map(|part| (part.name.to_string(), part.figures)).collect();
        assert_eq!(whole, sums, "the day is the sum of its quarters");

        // What the switch shows live is the same fold of the same facts, since midnight.
        let (mut today, last) = (Today::default(), told.iter().map(|(ms, _)| at(*ms)).max().expect("a last one"));
        for record in records(&told) {
            today.take(record.at, chrono_tz::Asia::Shanghai, &record.fact);
        }
        for queue in ["repair", "general"] {
            assert_eq!(today.queue(last, &queue.into()), sums[queue]);
        }

        let calls = figures::calls(&store, &acme(), all(None)).await.expect("read");
        let counts = calls[0].figures;
        assert_eq!((counts.calls, counts.ended, counts.answered, counts.abandoned_queue), (30, 30, 20, 10));
        assert_eq!(counts.talk_ms, rows.iter().map(|c| c.talk_ms).sum::<u64>());

        let agents = figures::agents(&store, &acme(), all(Some(INTERVAL_MS))).await.expect("read");
        let (mut sum, mut talking, mut meals) = (AgentFigures::default(), 0, 0);
        for part in &agents {
            assert!(part.figures.times.staffed() <= INTERVAL_MS, "{part:?}");
            sum.add(&part.figures.figures);
            talking += part.figures.times.of(AgentState::Talking);
            meals += part.figures.times.breaks().get("meal").copied().unwrap_or_default();
        }
        assert_eq!((sum.offers, sum.answered, sum.ring_ms), (20, 20, 40_000));
        assert_eq!(sum.hold_ms, rows.iter().map(|c| c.hold_ms).sum::<u64>());
        assert_eq!(talking, rows.iter().map(|c| c.talk_ms + c.hold_ms).sum::<u64>());
        assert!(meals > 0);
        for span in [all(None), all(Some(INTERVAL_MS))] {
            assert_eq!(figures::queues(&store, &other(), span).await.expect("read"), [], "another tenant's");
        }
    });
}

#[test]
fn a_replay_counts_nothing_twice_and_history_made_anew_is_the_same() {
    both(|store| async move {
        let facts = records(&morning());
        projector::apply(&store, JOURNAL, &facts).await.expect("applied");
        let once = everything(&store).await;
        assert_eq!(projector::apply(&store, JOURNAL, &facts).await.expect("applied"), 0);
        assert_eq!(everything(&store).await, once);
        projector::reset(&store).await.expect("forgotten");
        assert_eq!(figures::queues(&store, &acme(), all(None)).await.expect("read"), []);
        for fact in &facts {
            projector::apply(&store, JOURNAL, std::slice::from_ref(fact)).await.expect("applied");
        }
        assert_eq!(everything(&store).await, once, "whatever the batches");
    });
}

#[test]
fn a_trace_is_kept_in_its_order() {
    both(|store| async move {
        let mut rng = Rng::from_number(5);
        let (call, offer) = (CallId::new(at(0), &mut rng), OfferId::new(at(0), &mut rng));
        let entries = [
            TraceEntry::Told { position: Some(1), wait_ms: None, estimator: None },
            TraceEntry::Offered { offer, agent: "1001".into(), queue: "repair".into(), choice: Choice::default() },
            TraceEntry::Ended { outcome: Outcome::AbandonedRinging, cause: "caller_hangup".into() },
        ];
        let told = (0..).zip(&entries).map(|(place, entry)| {
            let entry = Box::new(entry.clone());
            (u64::from(place), Fact::Traced { tenant: acme(), call, place, entry })
        });
        let facts = records(&told.collect());
        // The last comes first: the place decides.
        for (seq, fact) in (1..).zip(facts.iter().rev()) {
            let fact = FactRecord { seq, ..fact.clone() };
            projector::apply(&store, JOURNAL, &[fact]).await.expect("applied");
        }
        let traced = trace::of_call(&store, &acme(), &call).await.expect("read");
        assert_eq!(traced.iter().map(|t| t.entry.clone()).collect::<Vec<_>>(), entries);
        assert_eq!(traced.iter().map(|t| t.at_ms).collect::<Vec<_>>(), [0, 1, 2].map(|ms| at(ms).as_millis()));
        assert_eq!(trace::of_call(&store, &other(), &call).await.expect("read"), []);
    });
}

async fn every_call(store: &Store) -> Vec<calls::Call> {
    let page = Page { after: None, limit: Some(100) };
    calls::list(store, &acme(), &CallFilter::default(), &page).await.expect("listed").items
}

async fn everything(store: &Store) -> String {
    let (quarters, days) = (all(Some(INTERVAL_MS)), all(None));
    format!(
        "{:?} {:?} {:?} {:?}",
        figures::queues(store, &acme(), quarters).await.expect("read"),
        figures::agents(store, &acme(), quarters).await.expect("read"),
        figures::calls(store, &acme(), days).await.expect("read"),
        every_call(store).await,
    )
}
