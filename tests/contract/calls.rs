//! Call history: facts folded into rows.

use cti_base::{CallId, LegId, Pii, RecordingId, Rng};
use cti_media::{Codec, Gap, LegStats, Recorded};
use cti_switch::desk::Direction;
use cti_switch::{CallRecord, Fact, FactRecord, LegRecord, LegRole, Outcome, SegmentKind, SegmentRecord};
use zongji_sql::calls::{self, CallFilter};
use zongji_sql::cases::{self, CaseKind, CaseNew};
use zongji_sql::customers::{self, CustomerNew};
use zongji_sql::recordings::{self, RecordingGap, RecordingState};
use zongji_sql::{Error, Page, Store, callers, projector};

use crate::{acme, at, both, cn, no_vars, other};

/// The name of the journal that the facts come from.
const JOURNAL: &str = "a";

struct Story {
    call: CallId,
    recording: RecordingId,
    facts: Vec<Fact>,
}

/// An answered, recorded call that started so many milliseconds after the beginning.
fn story(n: u64, started: u64) -> Story {
    let mut rng = Rng::from_number(n);
    let now = at(started);
    let (call, recording) = (CallId::new(now, &mut rng), RecordingId::new(now, &mut rng));
    let leg = |role, rng: &mut Rng| LegRecord {
        id: LegId::new(now, rng),
        role,
        agent: None,
        started_ms: now.as_millis(),
        answered_ms: Some(now.as_millis() + 100),
        ended_ms: now.as_millis() + 9_000,
        cause: "200".into(),
        codec: Some(Codec::Pcma),
        stats: Some(LegStats { packets_in: 450, packets_out: 449, lost_in: 2, jitter: 40, ..LegStats::default() }),
    };
    let record = CallRecord {
        id: call,
        tenant: acme(),
        direction: Direction::Inbound,
        outcome: Outcome::Answered,
        cause: "caller_hangup".into(),
        from: Pii::new("+8613800138000".into()),
        to: "4001001000".into(),
        trunk: Some("carrier-a".into()),
        ivr_path: vec!["welcome".into(), "repair".into()],
        queue: Some("repair".into()),
        agent: Some("1001".into()),
        customer_id: None,
        started_ms: now.as_millis(),
        queued_ms: Some(now.as_millis() + 2_000),
        offered_ms: Some(now.as_millis() + 2_500),
        answered_ms: Some(now.as_millis() + 4_000),
        ended_ms: now.as_millis() + 9_000,
        wait_ms: 2_000,
        ring_ms: 1_500,
        talk_ms: 4_000,
        hold_ms: 1_000,
        legs: vec![leg(LegRole::Customer, &mut rng), leg(LegRole::Agent, &mut rng)],
        segments: vec![SegmentRecord {
            kind: SegmentKind::Queue,
            queue: Some("repair".into()),
            agent: None,
            started_ms: now.as_millis() + 2_000,
            ended_ms: now.as_millis() + 4_000,
        }],
        recording: Some(recording),
        disposition: None,
        vars: no_vars(),
    };
    let facts = vec![
        Fact::RecordingStarted { tenant: acme(), call, recording },
        Fact::CallEnded { record: Box::new(record) },
        Fact::RecordingEnded {
            tenant: acme(),
            call,
            recording,
            result: Ok(Recorded {
                path: "acme/2026/a.wav".into(),
                duration_ms: 5_000,
                channels: 2,
                bytes: 160_044,
                sha256: "ab".repeat(32),
                incomplete: None,
            }),
            gaps: Vec::new(),
        },
        Fact::WrapupEnded {
            tenant: acme(),
            call,
            agent: "1001".into(),
            wrapup_ms: 7_000,
            disposition: Some("resolved".into()),
            queue: Some("repair".into()),
            entered_ms: Some(now.as_millis() + 2_000),
        },
    ];
    Story { call, recording, facts }
}

fn numbered(facts: impl IntoIterator<Item = Fact>, first: u64) -> Vec<FactRecord> {
    (first..).zip(facts).map(|(seq, fact)| FactRecord { seq, at: at(20_000 + seq), fact }).collect()
}

fn edit(story: &mut Story, change: impl FnOnce(&mut CallRecord)) {
    for fact in &mut story.facts {
        if let Fact::CallEnded { record } = fact {
            return change(record);
        }
    }
}

async fn call(store: &Store, id: &CallId) -> calls::Call {
    calls::get(store, &acme(), id).await.expect("asked").expect("is there")
}

#[test]
fn a_call_is_the_same_in_whatever_order_its_facts_come() {
    both(|store| async move {
        let orders: [[usize; 4]; 6] =
            [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 1, 3], [1, 3, 0, 2], [3, 1, 2, 0], [0, 2, 3, 1]];
        let mut seen = Vec::new();
        for (n, order) in (0..).zip(orders) {
            let mut rng = Rng::from_number(7);
            let mut story = story(n, 0);
            // The same legs, so that the calls can be compared.
            edit(&mut story, |r| r.legs.iter_mut().for_each(|leg| leg.id = LegId::new(at(0), &mut rng)));
            let facts = numbered(order.iter().map(|i| story.facts[*i].clone()), 1 + n * 10);
            projector::apply(&store, JOURNAL, &facts).await.expect("applied");
            let mut call = call(&store, &story.call).await;
            call.id = String::new();
            let recording = call.recording.as_mut().expect("recorded");
            assert_eq!(recording.id, story.recording.to_string());
            recording.id = String::new();
            seen.push(call);
        }
        assert!(seen.iter().all(|c| c == &seen[0]), "{seen:#?}");
        let first = &seen[0];
        assert_eq!((first.wrapup_ms, first.disposition.as_deref()), (Some(7_000), Some("resolved")));
        let recording = first.recording.as_ref().expect("recorded");
        assert_eq!(
            (recording.state, recording.duration_ms, recording.channels),
            (RecordingState::Sealed, Some(5_000), Some(2))
        );
        assert_eq!((recording.reason.as_deref(), recording.gaps.as_slice()), (None, [].as_slice()));
        assert_eq!(first.ivr_path, ["welcome", "repair"]);
        let quality = &first.quality["customer"];
        assert_eq!((quality.packets_in, quality.lost_in), (450, 2));
        assert!((quality.jitter_ms - 5.0).abs() < f64::EPSILON);
        assert!(quality.mos_in.is_some_and(|mos| (4.3..4.4).contains(&mos)), "{:?}", quality.mos_in);
        assert_eq!((quality.mos_out, quality.lost_out), (None, None), "the peer sent no report");
        assert_eq!(first.segments[0].kind, SegmentKind::Queue);
    });
}

#[test]
fn a_call_without_wrapup_or_sealed_recording_says_so() {
    both(|store| async move {
        let story = story(1, 0);
        projector::apply(&store, JOURNAL, &numbered(story.facts[..2].to_vec(), 1)).await.expect("applied");
        let row = call(&store, &story.call).await;
        assert_eq!((row.wrapup_ms, row.disposition), (None, None));
        let recording = row.recording.expect("begun");
        assert_eq!((recording.state, recording.duration_ms, recording.sha256), (RecordingState::Recording, None, None));
        let failed = Fact::RecordingEnded {
            tenant: acme(),
            call: story.call,
            recording: story.recording,
            result: Err("disk full".into()),
            gaps: Vec::new(),
        };
        projector::apply(&store, JOURNAL, &numbered([failed], 3)).await.expect("applied");
        let kept = recordings::get(&store, &acme(), &story.recording.to_string()).await.expect("asked").expect("kept");
        assert_eq!((kept.state, kept.reason.as_deref()), (RecordingState::Failed, Some("disk full")));
        assert_eq!(kept.path, None);
        assert!(recordings::get(&store, &other(), &story.recording.to_string()).await.expect("asked").is_none());
        assert_eq!(recordings::of_call(&store, &acme(), &story.call).await.expect("asked"), [kept]);
    });
}

#[test]
fn a_recording_tells_its_gaps_and_why_it_is_incomplete() {
    both(|store| async move {
        let mut story = story(1, 0);
        for fact in &mut story.facts {
            if let Fact::RecordingEnded { result: Ok(file), gaps, .. } = fact {
                file.incomplete = Some("the disk is full".into());
                *gaps = vec![Gap { from_ms: 1_000, to_ms: 1_400 }, Gap { from_ms: 3_000, to_ms: 3_250 }];
            }
        }
        projector::apply(&store, JOURNAL, &numbered(story.facts.clone(), 1)).await.expect("applied");

        let recording = call(&store, &story.call).await.recording.expect("recorded");
        let gaps = [RecordingGap { from_ms: 1_000, to_ms: 1_400 }, RecordingGap { from_ms: 3_000, to_ms: 3_250 }];
        assert_eq!((recording.state, recording.gaps.as_slice()), (RecordingState::Incomplete, gaps.as_slice()));
        assert_eq!(recording.reason.as_deref(), Some("the disk is full"));
        assert!(recording.sha256.is_some() && recording.duration_ms == Some(5_000), "its file is kept and sealed");
        let row = recordings::get(&store, &acme(), &recording.id).await.expect("asked").expect("kept");
        assert_eq!((row.gaps.as_slice(), row.path.as_deref()), (gaps.as_slice(), Some("acme/2026/a.wav")));
    });
}

#[test]
fn facts_applied_again_change_nothing() {
    both(|store| async move {
        assert_eq!(projector::position(&store, JOURNAL).await.expect("asked"), None);
        let story = story(1, 0);
        let facts = numbered(story.facts.clone(), 5);
        assert_eq!(projector::apply(&store, JOURNAL, &facts).await.expect("applied"), 4);
        assert_eq!(projector::position(&store, JOURNAL).await.expect("asked"), Some(8));
        let before = call(&store, &story.call).await;
        assert_eq!(projector::apply(&store, JOURNAL, &facts).await.expect("skipped"), 0);
        // As after a lost answer to COMMIT, or from another journal position: the same facts under later numbers.
        assert_eq!(projector::apply(&store, JOURNAL, &numbered(story.facts.clone(), 100)).await.expect("applied"), 4);
        let mut after = call(&store, &story.call).await;
        after.segments.clone_from(&before.segments);
        assert_eq!(before, after);
        assert_eq!(
            calls::list(&store, &acme(), &CallFilter::default(), &Page::default()).await.expect("listed").items.len(),
            1
        );
        assert_eq!(projector::apply::<FactRecord>(&store, JOURNAL, &[]).await.expect("nothing"), 0);
        assert_eq!(projector::position(&store, "b").await.expect("asked"), None, "another journal");
        projector::skip(&store, JOURNAL, 200).await.expect("skipped");
        projector::skip(&store, JOURNAL, 150).await.expect("no way back");
        assert_eq!(projector::position(&store, JOURNAL).await.expect("asked"), Some(200));

        projector::reset(&store).await.expect("forgotten");
        assert_eq!(projector::position(&store, JOURNAL).await.expect("asked"), None);
        assert!(calls::get(&store, &acme(), &story.call).await.expect("asked").is_none());
        projector::apply(&store, JOURNAL, &facts).await.expect("made anew");
        assert_eq!(call(&store, &story.call).await, before);
    });
}

#[test]
fn calls_are_listed_newest_first_and_filtered() {
    both(|store| async move {
        let mut ids = Vec::new();
        for n in 0..7u64 {
            // Two calls a second, so that the page must break ties by id.
            let mut story = story(n, n / 2 * 1_000);
            edit(&mut story, |r| {
                r.outcome = if n == 3 { Outcome::AbandonedQueue } else { Outcome::Answered };
                r.agent = Some(format!("100{}", n % 2).into());
                r.queue = Some(if n == 6 { "sales" } else { "repair" }.into());
                r.from = Pii::new(format!("+861380013800{n}"));
                r.customer_id = (n == 2).then(|| "c2".into());
            });
            projector::apply(&store, JOURNAL, &numbered(story.facts, 1 + n * 10)).await.expect("applied");
            ids.push((at(n / 2 * 1_000).as_millis(), story.call.to_string(), n));
        }
        ids.sort();
        ids.reverse();
        let check = async |filter: CallFilter, keep: &dyn Fn(u64) -> bool| {
            let expect: Vec<&str> = ids.iter().filter(|(.., n)| keep(*n)).map(|(_, id, _)| id.as_str()).collect();
            let mut page = Page::limit(2);
            let mut found = Vec::new();
            loop {
                let listing = calls::list(&store, &acme(), &filter, &page).await.expect("listed");
                found.extend(listing.items.into_iter().map(|c| c.id));
                let Some(next) = listing.next else { break };
                page.after = Some(next);
            }
            assert_eq!(found, expect, "{filter:?}");
            let elsewhere = calls::list(&store, &other(), &filter, &Page::default()).await.expect("listed");
            assert!(elsewhere.items.is_empty());
        };
        let filter = CallFilter::default;
        check(filter(), &|_| true).await;
        check(CallFilter { outcome: Some(Outcome::AbandonedQueue), ..filter() }, &|n| n == 3).await;
        check(CallFilter { agent: Some("1001".into()), ..filter() }, &|n| n % 2 == 1).await;
        check(CallFilter { queue: Some("sales".into()), ..filter() }, &|n| n == 6).await;
        check(CallFilter { number: Some("138 0013 8004".into()), ..filter() }, &|n| n == 4).await;
        check(CallFilter { number: Some("4001001000".into()), ..filter() }, &|_| true).await;
        check(CallFilter { customer_id: Some("c2".into()), ..filter() }, &|n| n == 2).await;
        let from_ms = Some(at(1_000).as_millis());
        check(CallFilter { from_ms, to_ms: Some(at(2_000).as_millis()), ..filter() }, &|n| n == 2 || n == 3).await;
        for after in ["x", "1.2", "99", "1700000000000."] {
            let page = Page { after: Some(after.into()), limit: None };
            let refused = calls::list(&store, &acme(), &filter(), &page).await.expect_err(after);
            assert!(matches!(refused, Error::Invalid { field: "after", .. }), "{refused}");
        }
        let anna = CallFilter { number: Some("anna".into()), ..filter() };
        let refused = calls::list(&store, &acme(), &anna, &Page::default()).await.expect_err("no digits");
        assert!(matches!(refused, Error::Invalid { field: "number", .. }), "{refused}");
    });
}

#[test]
fn a_call_names_its_cases_and_the_pop_shows_what_came_before() {
    both(|store| async move {
        let new = CustomerNew {
            name: "李雷".into(),
            contacts: vec![serde_json::from_str(r#"{ "value": "13800138000" }"#).expect("a contact")],
            ..CustomerNew::default()
        };
        let customer = customers::create(&store, &acme(), cn(), &new, at(0)).await.expect("made").id;
        let mut calls = Vec::new();
        for n in 0..5u64 {
            let mut story = story(n, n * 1_000);
            edit(&mut story, |r| r.customer_id = Some(customer.clone()));
            projector::apply(&store, JOURNAL, &numbered(story.facts, 1 + n * 10)).await.expect("applied");
            calls.push(story.call);
        }
        let mut cases_made = Vec::new();
        for n in 0..2 {
            let case = CaseNew {
                customer_id: Some(customer.clone()),
                call_id: Some(calls[4].to_string()),
                agent: Some("1001".into()),
                ..CaseNew::new(CaseKind::Repair, "冒黑烟")
            };
            cases_made.push(cases::create(&store, &acme(), "1001", &case, at(4_500 + n)).await.expect("made").id);
        }
        assert_eq!(call(&store, &calls[4]).await.case_ids, cases_made);
        assert!(call(&store, &calls[3]).await.case_ids.is_empty());

        let found = callers::by_number(&store, &acme(), cn(), "+8613800138000").await.expect("asked").candidates;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].open_cases.len(), 2);
        assert_eq!(found[0].open_cases[0].title, "冒黑烟");
        let last: Vec<(&str, u64)> = found[0].last_contacts.iter().map(|c| (c.what.as_str(), c.at_ms)).collect();
        let ms = |ms| at(ms).as_millis();
        assert_eq!(last, [("case", ms(4_501)), ("case", ms(4_500)), ("call", ms(4_000))]);
        assert_eq!(found[0].last_contacts[2].summary, "repair: answered");
        assert!(found[0].last_agent.is_some() && found[0].last_agent == found[0].last_contacts[2].agent);
        assert_eq!(found[0].open_cases[0].owner.as_deref(), Some("1001"));
    });
}

#[test]
fn what_no_database_text_can_hold_is_kept_readable() {
    both(|store| async move {
        let mut story = story(1, 0);
        edit(&mut story, |r| {
            r.from = Pii::new("ano\0nymous".into());
            r.vars.insert("typed".into(), "a\0b".into());
        });
        projector::apply(&store, JOURNAL, &numbered(story.facts, 1)).await.expect("applied");
        let row = call(&store, &story.call).await;
        assert_eq!(row.from, "ano\u{fffd}nymous");
        assert_eq!(row.vars["typed"], "a\0b");
    });
}
