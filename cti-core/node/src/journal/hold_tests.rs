use std::path::Path;
use std::sync::mpsc as threads;

use cti_base::Rng;
use cti_switch::testing::{Settings, World};
use cti_switch::{CommandId, EngineConfig};

use super::super::tests::{KEY, at, left_by_a_kill, state};
use super::super::writer::Numbered;
use super::super::{Journal, open, take_up::take_up};
use super::*;
use crate::config::Durability;

/// Something that goes out, told by its number.
fn outside(n: u64) -> Effect {
    Effect::Reply { id: CommandId(n), result: Ok(()) }
}

fn released(hold: &mut Hold) -> Vec<u64> {
    let mut numbers = Vec::new();
    while let Some(effect) = hold.released() {
        if let Effect::Reply { id, .. } = effect {
            numbers.push(id.0);
        }
    }
    numbers
}

fn config() -> EngineConfig {
    World::new(1, Settings::default()).config
}

fn engine() -> Engine {
    Engine::new(config(), [1; 32])
}

/// A journal whose writer is this test.
fn by_hand() -> (Hold, threads::Receiver<Numbered>, watch::Sender<u64>) {
    let (inbox, groups) = threads::sync_channel(2);
    let (written, durable) = watch::channel(0);
    let appender = Appender { inbox, group: 0, fact: 0, last_at: at(0), durable, counters: Arc::default() };
    let mut hold = Hold::new(appender);
    hold.every = Duration::ZERO;
    (hold, groups, written)
}

fn take(hold: &mut Hold, n: u64) {
    hold.input(at(n), &Input::Tick);
    assert!(hold.effect(at(n), outside(n)).is_none());
}

#[test]
fn nothing_goes_out_before_its_group_is_durable_and_then_all_in_order() {
    let (mut hold, groups, written) = by_hand();
    let engine = engine();
    take(&mut hold, 1);
    take(&mut hold, 2);
    hold.turn(&engine);
    let first = groups.try_recv().expect("handed on");
    assert!(first.number == 1 && first.group.snapshot.is_some() && first.group.at == at(2));
    for n in 3..=5 {
        take(&mut hold, n);
        hold.turn(&engine);
    }
    assert!(groups.try_recv().is_err(), "the next gathers while the first is written");
    assert_eq!(released(&mut hold), Vec::<u64>::new());
    assert!(!hold.is_empty());
    written.send_replace(1);
    hold.turn(&engine);
    assert_eq!(released(&mut hold), vec![1, 2]);
    let second = groups.try_recv().expect("handed on");
    assert!(second.number == 2 && second.group.snapshot.is_none() && second.group.at == at(5));
    written.send_replace(2);
    hold.turn(&engine);
    assert_eq!(released(&mut hold), vec![3, 4, 5]);
    assert!(hold.is_empty() && hold.wake().is_none());
}

#[test]
fn an_input_without_a_trace_waits_for_company_and_a_look_up_for_nothing() {
    let (mut hold, groups, _written) = by_hand();
    let engine = engine();
    hold.input(at(1), &Input::Tick);
    let fact = hold.effect(at(1), Effect::Fact(state(1)));
    let call = cti_base::CallId::new(at(1), &mut Rng::from_number(1));
    let look_up = Effect::LookUp { tenant: "acme".into(), call, number: cti_base::Pii::new("1".into()) };
    assert!(fact.is_none() && hold.effect(at(1), look_up).is_some());
    hold.turn(&engine);
    assert!(groups.try_recv().is_err());
    let wake = hold.wake().expect("due by itself");
    std::thread::park_timeout(wake.saturating_duration_since(Instant::now()) + Duration::from_millis(5));
    while Instant::now() < wake {}
    hold.turn(&engine);
    assert_eq!(groups.try_recv().expect("handed on").group.facts.len(), 1);
}

#[test]
fn what_nobody_waits_for_stays_for_company_and_goes_with_what_is_in_a_hurry() {
    let (mut hold, groups, written) = by_hand();
    let engine = engine();
    let mut rng = Rng::from_number(1);
    let (call, leg) = (cti_base::CallId::new(at(1), &mut rng), cti_base::LegId::new(at(1), &mut rng));
    let close = || Effect::Media { call, command: MediaCommand::Close { leg } };
    hold.input(at(1), &Input::Tick);
    assert!(hold.effect(at(1), close()).is_none());
    hold.turn(&engine);
    assert!(groups.try_recv().is_err());
    take(&mut hold, 2);
    hold.turn(&engine);
    assert_eq!(groups.try_recv().expect("handed on").group.at, at(2));
    written.send_replace(1);
    hold.turn(&engine);
    assert_eq!((released(&mut hold), hold.is_empty()), (vec![2], true));

    hold.input(at(3), &Input::Tick);
    hold.effect(at(3), close());
    let wake = hold.wake().expect("due by itself");
    assert!(wake <= Instant::now() + LEISURE_MAX);
    while Instant::now() < wake {}
    hold.turn(&engine);
    assert!(groups.try_recv().is_ok());
}

#[test]
fn groups_follow_each_other_no_faster_than_they_may() {
    let (mut hold, groups, written) = by_hand();
    let engine = engine();
    hold.every = Duration::from_millis(40);
    take(&mut hold, 1);
    hold.turn(&engine);
    let first = Instant::now();
    assert!(groups.try_recv().is_ok(), "the first goes at once");
    written.send_replace(1);
    take(&mut hold, 2);
    hold.turn(&engine);
    let wake = hold.wake().expect("due by itself");
    assert!(groups.try_recv().is_err() && wake <= first + hold.every);
    while Instant::now() < wake {}
    hold.turn(&engine);
    assert!(groups.try_recv().is_ok());
}

#[test]
fn only_messages_that_begin_or_end_something_may_wait() {
    let answer =
        |code: &str, method: &str| format!("SIP/2.0 {code} X\r\nVia: a\r\nCSeq: 1 {method}\r\n\r\n").into_bytes();
    for message in [&b"BYE sip:a SIP/2.0"[..], b"ACK sip:a SIP/2.0", &answer("180", "INVITE"), &answer("200", "BYE")] {
        assert!(may_wait(message), "{}", String::from_utf8_lossy(message));
    }
    let others = [answer("200", "INVITE"), answer("183", "INVITE"), answer("486", "INVITE"), answer("200", "CANCEL")];
    for message in others.iter().map(Vec::as_slice).chain([&b"INVITE sip:a SIP/2.0"[..], b"CANCEL sip:a SIP/2.0", b""])
    {
        assert!(!may_wait(message), "{}", String::from_utf8_lossy(message));
    }
}

#[test]
fn a_journal_that_is_behind_leaves_no_room_for_more() {
    let (mut hold, groups, written) = by_hand();
    let engine = engine();
    take(&mut hold, 0);
    hold.turn(&engine);
    for n in 1..=GROUP_INPUTS_MAX as u64 {
        assert!(hold.has_room(), "{n}");
        take(&mut hold, n);
    }
    assert!(!hold.has_room() && !hold.has_room());
    assert_eq!(hold.counters.waits.load(Ordering::Relaxed), 1);
    written.send_replace(1);
    hold.turn(&engine);
    assert!(hold.has_room());
    assert_eq!(groups.try_iter().count(), 2);
}

#[test]
fn a_snapshot_is_due_after_many_inputs_or_bytes_and_at_the_end() {
    let (mut hold, groups, written) = by_hand();
    let engine = engine();
    let mut snapshots = Vec::new();
    for n in 1..=3 * SNAPSHOT_INPUTS_MAX as u64 {
        take(&mut hold, n);
        hold.turn(&engine);
        let group = groups.try_recv().expect("handed on");
        if group.group.snapshot.is_some() {
            snapshots.push(group.number);
        }
        written.send_replace(group.number);
        hold.turn(&engine);
        assert_eq!(released(&mut hold), vec![n]);
    }
    let every = SNAPSHOT_INPUTS_MAX as u64 + 1;
    assert_eq!(snapshots, vec![1, 1 + every, 1 + 2 * every]);
    assert!(hold.is_empty());
    hold.close(&engine);
    assert!(groups.try_recv().expect("handed on").group.snapshot.is_some());
}

fn start(folder: &Path) -> (Hold, Journal) {
    let (appender, journal) = open(folder, Durability::Process, &KEY).expect("opens").start().expect("starts");
    (Hold::new(appender), journal)
}

#[test]
fn a_disk_that_takes_nothing_holds_up_no_call_and_is_made_good_for_afterwards() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    let (mut hold, journal) = start(&path);
    let mut engine = engine();
    let mut n = 0;
    // An input and what comes of it, then turns until it is out; how long that took.
    let mut pass = |hold: &mut Hold, fact: bool| {
        n += 1;
        let started = Instant::now();
        take(hold, n);
        engine.handle(at(n), Input::Tick);
        if fact {
            hold.effect(at(n), Effect::Fact(state(n)));
        }
        let mut out = Vec::new();
        while out.is_empty() {
            hold.turn(&engine);
            out = released(hold);
            std::thread::park_timeout(Duration::from_micros(200));
        }
        assert_eq!(out, vec![n]);
        (started.elapsed(), engine.state_hash())
    };
    assert!(pass(&mut hold, true).0 < UNDURABLE_AFTER);

    // Another process has the file for longer than an effect waits.
    let other = rusqlite::Connection::open(path.join("journal.db")).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    // Until the tail is to be taken into it, nothing is noticed.
    let (mut held, mut facts) = (Duration::ZERO, 1);
    while !hold.is_undurable() {
        assert!(held < UNDURABLE_AFTER);
        held = pass(&mut hold, true).0;
        facts += 1;
    }
    assert!(held >= UNDURABLE_AFTER && held < UNDURABLE_AFTER * 2, "{held:?}");
    assert!(hold.alarm().is_some());
    for _ in 0..100 {
        assert!(pass(&mut hold, true).0 < Duration::from_millis(50), "it waits once");
        facts += 1;
    }
    other.execute_batch("ROLLBACK").expect("freed");
    let until = Instant::now() + Duration::from_secs(10);
    let mut last = None;
    while hold.is_undurable() {
        assert!(Instant::now() < until);
        last = Some(pass(&mut hold, false).1);
    }
    assert!(hold.alarm().is_none());
    while !hold.is_empty() {
        hold.turn(&engine);
        std::thread::park_timeout(Duration::from_millis(1));
    }

    // A crash after that takes up all of it, and every fact is there.
    let left = folder.path().join("left");
    left_by_a_kill(&path, &left);
    let mut opened = open(&left, Durability::Process, &KEY).expect("opens");
    assert_eq!((opened.kept.last_fact, opened.kept.cut), (facts, None));
    let (taken_up, report) = take_up(&mut opened, config(), [0; 32]).expect("taken up");
    assert_eq!((report.facts_differing, report.is_new), (0, false));
    assert_eq!(Some(taken_up.state_hash()), last);
    assert_eq!(hold.counters.undurable_since.load(Ordering::Relaxed), 0);
    drop(journal);
}
