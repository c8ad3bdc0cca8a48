use cti_base::{AgentName, CallId, Pii, Rng};
use cti_switch::desk::{AgentState, Direction};
use cti_switch::{CallRecord, Outcome};
use tokio_util::sync::CancellationToken;
use zongji_sql::calls::{self, CallFilter};
use zongji_sql::{Page, Store};

use super::*;

pub(super) fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + ms)
}

pub(super) fn state(agent: u64) -> Fact {
    let agent: AgentName = agent.to_string().into();
    Fact::AgentState { tenant: "acme".into(), agent, state: AgentState::Ready, reason: None, was: None }
}

fn ended(n: u64) -> Fact {
    let now = at(n);
    let record = CallRecord {
        id: CallId::new(now, &mut Rng::from_number(n)),
        tenant: "acme".into(),
        direction: Direction::Inbound,
        outcome: Outcome::AbandonedIvr,
        cause: "caller_hangup".into(),
        from: Pii::new("+8613800138000".into()),
        to: "4001001000".into(),
        trunk: None,
        ivr_path: Vec::new(),
        queue: None,
        agent: None,
        customer_id: None,
        started_ms: now.as_millis(),
        queued_ms: None,
        offered_ms: None,
        answered_ms: None,
        ended_ms: now.as_millis() + 5,
        wait_ms: 0,
        ring_ms: 0,
        talk_ms: 0,
        hold_ms: 0,
        legs: Vec::new(),
        segments: Vec::new(),
        recording: None,
        disposition: None,
        vars: std::collections::BTreeMap::new(),
    };
    Fact::CallEnded { record: Box::new(record) }
}

async fn reach(mut position: watch::Receiver<u64>, seq: u64) {
    let reached = position.wait_for(|p| *p >= seq);
    tokio::time::timeout(Duration::from_secs(60), reached).await.expect("in time").expect("the other end lives");
}

pub(super) const KEY: [u8; 32] = [7; 32];

/// A journal as a process has it.
fn start(folder: &Path) -> (Appender, Journal) {
    open(folder, Durability::Process, &KEY).expect("opens").start().expect("starts")
}

fn group(n: u64, facts: Vec<Fact>) -> Group {
    let facts = facts.into_iter().map(|fact| (at(n), fact)).collect();
    Group { at: at(n), inputs: format!("input {n}").into_bytes(), facts, ..Group::default() }
}

/// Waiting for room, as the switch does.
pub(super) fn append(appender: &mut Appender, group: Group) -> u64 {
    let mut group = group;
    loop {
        match appender.append(group) {
            Ok(number) => return number,
            Err(Full(back)) => group = *back,
        }
        std::thread::park_timeout(Duration::from_micros(100));
    }
}

pub(super) fn wait_until_durable(appender: &Appender, group: u64) {
    while *appender.durable().borrow() < group {
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// A group with one fact each.
fn append_facts(appender: &mut Appender, numbers: std::ops::RangeInclusive<u64>, fact: impl Fn(u64) -> Fact) {
    for n in numbers {
        append(appender, group(n, vec![fact(n)]));
    }
}

/// The files as a process that is killed now would leave them, the write-ahead log not folded in.
pub(super) fn left_by_a_kill(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for file in ["journal.db", "journal.db-wal", "last", "tail"] {
        std::fs::copy(from.join(file), to.join(file)).expect(file);
    }
}

async fn seqs(journal: &Journal) -> Vec<u64> {
    journal.read(0, 100_000).await.expect("read").facts.into_iter().map(|f| f.seq).collect()
}

#[tokio::test]
async fn groups_and_facts_are_read_back_in_order_and_numbers_go_on_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("deep/journal");
    let (mut appender, journal) = start(&path);
    assert_eq!((appender.last_group(), appender.last_fact(), *journal.appended().borrow()), (0, 0, 0));
    append_facts(&mut appender, 1..=3_000, state);
    append(&mut appender, group(3_001, Vec::new()));
    drop(appender);
    journal.drained().await;
    assert_eq!(*journal.appended().borrow(), 3_000);
    let name = journal.name().to_owned();
    drop(journal);

    let opened = open(&path, Durability::Power, &KEY).expect("opens again");
    let kept = &opened.kept;
    assert!(kept.snapshot.is_none() && kept.cut.is_none() && kept.moved_aside.is_none());
    assert_eq!((kept.groups.len(), kept.last_at, kept.last_fact), (3_001, at(3_001), 3_000));
    assert_eq!((kept.groups[9].number, &kept.groups[9].inputs[..]), (10, &b"input 10"[..]));
    assert_eq!(opened.facts_of(&kept.groups[9]), vec![(10, serde_json::to_string(&state(10)).expect("JSON"))]);
    let (mut appender, journal) = opened.start().expect("starts");
    assert_eq!((journal.name(), appender.last_fact()), (name.as_str(), 3_000));
    let mut durable = appender.durable();
    assert_eq!(append(&mut appender, group(9_000, vec![state(1)])), 3_002);
    durable.wait_for(|group| *group == 3_002).await.expect("on disk");
    assert_eq!(*journal.appended().borrow(), 3_001);
    assert_eq!(seqs(&journal).await, (1..=3_001).collect::<Vec<_>>());
    let page = journal.read(10, 2).await.expect("read");
    assert_eq!((page.through, page.facts[0].seq, page.facts[0].at), (Some(12), 11, at(11)));
    assert!(matches!(&page.facts[0].fact, Fact::AgentState { agent, .. } if agent.as_str() == "11"));
    assert_eq!(journal.read(3_001, 10).await.expect("read").through, None);
}

#[tokio::test]
async fn a_group_told_durable_survives_the_process_at_any_point() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a");
    let (mut appender, _journal) = start(&path);
    let mut durable = appender.durable();
    for n in 1..=60 {
        append(
            &mut appender,
            Group { snapshot: (n % 25 == 0).then(|| vec![n as u8; 9_000]), ..group(n, vec![state(n)]) },
        );
        durable.wait_for(|group| *group >= n).await.expect("on disk");
        let left = folder.path().join(n.to_string());
        left_by_a_kill(&path, &left);
        let opened = open(&left, Durability::Process, &KEY).expect("opens");
        let kept = &opened.kept;
        let snapshot = n / 25 * 25;
        assert_eq!(kept.snapshot.as_ref().map_or(0, |s| s.number), snapshot, "killed after {n}");
        assert_eq!(kept.groups.iter().map(|g| g.number).collect::<Vec<_>>(), (snapshot + 1..=n).collect::<Vec<_>>());
        assert_eq!((kept.last_fact, kept.last_at, kept.cut), (n, at(n), None));
    }
}

/// What is left when bytes of the files are changed: whole groups up to some number, everything else told.
#[tokio::test]
async fn a_broken_tail_is_cut_at_the_last_whole_group_and_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("whole");
    let (mut appender, _journal) = start(&path);
    let mut durable = appender.durable();
    for n in 1..=40 {
        append(&mut appender, Group { snapshot: (n == 5).then(|| b"state".to_vec()), ..group(n, vec![state(n)]) });
        durable.wait_for(|group| *group >= n).await.expect("on disk");
    }
    // As it is at once, most of it in the tail, and when it has been taken into SQLite.
    let (early, late) = (folder.path().join("early"), folder.path().join("late"));
    left_by_a_kill(&path, &early);
    tokio::time::sleep(Duration::from_millis(500)).await;
    left_by_a_kill(&path, &late);
    let mut cuts = 0;
    for (step, flip, (from, name)) in (1..=40)
        .flat_map(|step| [(step, false), (step, true)])
        .flat_map(|(step, flip)| [(step, flip, (&early, "tail")), (step, flip, (&late, "journal.db-wal"))])
    {
        let left = folder.path().join(format!("{step}-{flip}-{name}"));
        left_by_a_kill(from, &left);
        if name != "tail" {
            // What was written over there would make it good.
            std::fs::write(left.join("tail"), b"").expect("emptied");
        }
        let wal = std::fs::metadata(left.join(name)).expect("there").len();
        let place = wal * step / 41;
        let file = std::fs::OpenOptions::new().write(true).read(true).open(left.join(name)).expect("opens");
        if flip {
            use std::os::unix::fs::FileExt as _;
            let mut byte = [0];
            file.read_exact_at(&mut byte, place).expect("read");
            file.write_all_at(&[byte[0] ^ 0x10], place).expect("written");
        } else {
            file.set_len(place).expect("cut");
        }
        let opened = open(&left, Durability::Process, &KEY).expect("opens");
        let kept = &opened.kept;
        let snapshot = kept.snapshot.as_ref().map_or(0, |snapshot| snapshot.number);
        let numbers: Vec<u64> = kept.groups.iter().map(|group| group.number).collect();
        let whole = snapshot + numbers.len() as u64;
        assert_eq!(numbers, (snapshot + 1..=whole).collect::<Vec<_>>(), "at {place} of {wal}");
        assert_eq!(kept.last_fact, 40, "numbers that the history may have seen are not given again");
        // What was written over may be broken as it likes.
        let cut = (whole < 40).then_some(Cut { whole, groups: 40 - whole });
        assert_eq!(kept.cut, cut, "at {place} of {wal}");
        assert_eq!(opened.counters().cut_groups.load(Ordering::Relaxed), 40 - whole);
        cuts += usize::from(whole > 0 && whole < 40);
        // What follows takes the place of what was cut.
        let (mut appender, journal) = opened.start().expect("starts");
        assert_eq!(append(&mut appender, group(99, vec![state(99)])), whole + 1);
        drop(appender);
        journal.drained().await;
        let kept = open(&left, Durability::Process, &KEY).expect("opens").kept;
        assert_eq!((kept.cut, kept.last_fact, kept.last_at), (None, 41, at(99)));
    }
    assert!(cuts > 10, "{cuts}");
}

#[tokio::test]
async fn a_group_that_does_not_open_cuts_there_and_a_snapshot_that_does_not_gives_way_to_the_one_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut appender, journal) = start(folder.path());
    for n in 1..=20 {
        append(
            &mut appender,
            Group { snapshot: (n % 6 == 0).then(|| vec![n as u8; 20_000]), ..group(n, vec![state(n)]) },
        );
    }
    drop(appender);
    journal.drained().await;
    let change = |sql: &str| {
        let connection = rusqlite::Connection::open(folder.path().join("journal.db")).expect("opens");
        assert_eq!(connection.execute(sql, []).expect("changed"), 1);
    };
    let kept = || open(folder.path(), Durability::Process, &KEY).expect("opens").kept;
    assert_eq!((kept().snapshot.expect("one").number, kept().groups.len()), (18, 2));

    change("UPDATE snapshots SET state = zeroblob(20000) WHERE number = 18");
    let first = kept();
    assert_eq!((first.snapshot.expect("one").number, first.groups.len(), first.cut), (12, 8, None));

    change("UPDATE groups SET inputs = substr(inputs, 1, 30) WHERE number = 16");
    let second = kept();
    assert_eq!(second.groups.last().map(|group| group.number), Some(15));
    assert_eq!(second.cut, Some(Cut { whole: 15, groups: 5 }));
    assert_eq!((second.last_fact, kept().cut), (20, None));
}

#[tokio::test]
async fn facts_that_are_only_in_the_tail_are_read_even_after_a_jump_of_their_numbers() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut appender, journal) = start(folder.path());
    append_facts(&mut appender, 1..=3, state);
    drop(appender);
    journal.drained().await;
    rusqlite::Connection::open(folder.path().join("journal.db"))
        .expect("opens")
        .execute("UPDATE boots SET id = 'another'", [])
        .expect("changed");
    let (mut appender, journal) = start(folder.path());
    append_facts(&mut appender, 4..=6, state);
    let first = 3 + SEQ_JUMP + 1;
    reach(journal.appended(), first + 2).await;
    assert_eq!(seqs(&journal).await, [1, 2, 3, first, first + 1, first + 2]);
    assert_eq!(journal.read(3, 2).await.expect("read").through, Some(first + 1));
    assert_eq!(journal.read(2, 2).await.expect("read").through, Some(first));
}

#[tokio::test]
async fn another_key_is_refused_and_nothing_is_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut appender, journal) = start(folder.path());
    append_facts(&mut appender, 1..=10, state);
    drop(appender);
    journal.drained().await;
    drop(journal);
    let before = std::fs::read(folder.path().join("journal.db")).expect("read");
    let refused = open(folder.path(), Durability::Process, &[8; 32]).err().expect("refused");
    assert!(matches!(refused, JournalError::Key { .. }), "{refused}");
    assert!(std::fs::read(folder.path().join("journal.db")).expect("read") == before);
    assert_eq!(open(folder.path(), Durability::Process, &KEY).expect("opens").kept.groups.len(), 10);
}

#[tokio::test]
async fn a_malformed_file_is_moved_aside_and_what_is_readable_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    let (mut appender, journal) = start(&path);
    append_facts(&mut appender, 1..=4_000, ended);
    append(&mut appender, Group { snapshot: Some(vec![1; 100]), ..group(4_001, Vec::new()) });
    drop(appender);
    journal.drained().await;
    let name = journal.name().to_owned();
    drop(journal);
    let whole = std::fs::read(path.join("journal.db")).expect("read");
    let pages = whole.len() / 4_096;

    // The first page: nothing of it is readable, but its numbers are not given again.
    std::fs::write(path.join("journal.db"), vec![b'x'; whole.len()]).expect("written");
    let opened = open(&path, Durability::Process, &KEY).expect("goes on");
    assert!(opened.kept.moved_aside.as_ref().is_some_and(|aside| aside.exists()));
    assert_eq!((opened.kept.cut, opened.kept.last_fact), (Some(Cut { whole: 0, groups: 4_001 }), 4_000));
    let (mut appender, journal) = opened.start().expect("starts");
    assert_eq!(journal.name(), name);
    append_facts(&mut appender, 1..=1, state);
    reach(journal.appended(), 4_001).await;
    drop((appender, journal));

    // Pages in the middle: facts on both sides are saved.
    let path = folder.path().join("other");
    std::fs::create_dir(&path).expect("a folder");
    let mut broken = whole.clone();
    for page in [pages / 3, pages / 2] {
        broken[page * 4_096..(page + 1) * 4_096].fill(0xee);
    }
    std::fs::write(path.join("journal.db"), broken).expect("written");
    let opened = open(&path, Durability::Process, &KEY).expect("opens: what is read at a start is whole");
    assert_eq!(
        (opened.kept.snapshot.as_ref().map(|s| s.number), opened.kept.moved_aside.is_some()),
        (Some(4_001), false)
    );
    let (mut appender, journal) = opened.start().expect("starts");
    let failed = journal.read(0, 10_000).await.expect_err("not readable");
    assert!(failed.to_string().contains("malformed"), "{failed}");
    append_facts(&mut appender, 1..=1, state);
    reach(journal.appended(), 4_001).await;
    let saved = journal.read(0, 10_000).await.expect("read").facts;
    assert!(saved.len() > 1_000 && saved.len() < 4_001, "{}", saved.len());
    assert_eq!((saved.first().map(|f| f.seq), saved.last().map(|f| f.seq)), (Some(1), Some(4_001)));
    assert!(
        std::fs::read_dir(&path)
            .expect("a folder")
            .flatten()
            .any(|file| { file.file_name().to_string_lossy().starts_with("journal.db.broken-") })
    );
}

#[test]
fn a_full_inbox_gives_the_group_back_without_waiting_and_without_a_gap() {
    let (inbox, groups) = threads::sync_channel(2);
    let (_durable, durable) = watch::channel(0);
    let mut appender = Appender { inbox, group: 7, fact: 70, last_at: at(0), durable, counters: Arc::default() };
    assert_eq!(appender.append(group(0, vec![state(0), state(1)])).ok(), Some(8));
    assert_eq!(appender.append(group(0, Vec::new())).ok(), Some(9));
    let Full(back) = appender.append(group(5, vec![state(2)])).expect_err("full");
    assert_eq!((back.at, back.facts.len(), appender.last_group(), appender.last_fact()), (at(5), 1, 9, 72));
    let first = groups.try_recv().expect("one");
    assert_eq!((first.number, first.fact_first), (8, 71));
    assert_eq!(appender.append(*back).ok(), Some(10));
    assert_eq!(appender.last_fact(), 73);
}

#[tokio::test]
async fn inputs_before_the_last_snapshot_but_one_are_pruned_and_the_file_stops_growing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut appender, journal) = start(folder.path());
    let mut durable = appender.durable();
    let file = folder.path().join("journal.db");
    let (mut half, big) = (0, vec![9; 2_000]);
    for n in 1..=12_000 {
        let snapshot = (n % 1_000 == 0).then(|| vec![1; 300_000]);
        append(&mut appender, Group { inputs: big.clone(), snapshot, ..group(n, Vec::new()) });
        if n % 200 == 0 {
            durable.wait_for(|group| *group >= n).await.expect("on disk");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if n == 6_000 {
            half = std::fs::metadata(&file).expect("there").len();
        }
    }
    drop(appender);
    journal.drained().await;
    drop(journal);
    let connection = rusqlite::Connection::open(&file).expect("opens");
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("counted");
    assert_eq!(count("SELECT COUNT(*) FROM snapshots"), 2);
    assert_eq!(count("SELECT MIN(number) FROM groups"), 11_001);
    let end = std::fs::metadata(&file).expect("there").len();
    assert!(half > 0 && end < half * 2, "{half} {end}");
    let wal = std::fs::metadata(file.with_extension("db-wal")).map_or(0, |wal| wal.len());
    assert!(wal < 80 << 20, "{wal}");
}

#[tokio::test]
async fn pruned_facts_are_gone_and_their_numbers_stay_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut appender, journal) = start(folder.path());
    let on_disk = || {
        let connection = rusqlite::Connection::open(folder.path().join("journal.db")).expect("opens");
        let mut select = connection.prepare("SELECT seq FROM facts ORDER BY seq").expect("prepared");
        let seqs = select.query_map([], |row| row.get::<_, i64>(0)).expect("read");
        seqs.map(|seq| seq.expect("read")).collect::<Vec<_>>()
    };
    for n in 0..50 {
        let facts = (n * 100 + 1..=n * 100 + 100).map(|n| (at(n), state(n))).collect();
        append(&mut appender, Group { facts, ..group(n, Vec::new()) });
    }
    reach(journal.appended(), 5_000).await;
    while on_disk().len() < 5_000 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    journal.prune(4_990, at(4_981));
    append(&mut appender, group(6_000, Vec::new()));
    for _ in 0..600 {
        if on_disk().len() <= 20 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(on_disk(), (4_981..=5_000).collect::<Vec<_>>(), "younger ones are kept");
    journal.prune(5_000, at(9_000));
    drop(appender);
    journal.drained().await;
    assert!(on_disk().is_empty());
    let (appender, _journal) = start(folder.path());
    assert_eq!(appender.last_fact(), 5_000);
}

#[tokio::test]
async fn what_is_no_fact_is_passed_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut appender, journal) = start(folder.path());
    append_facts(&mut appender, 1..=3, state);
    drop(appender);
    journal.drained().await;
    let connection = rusqlite::Connection::open(folder.path().join("journal.db")).expect("opens");
    let change = "UPDATE facts SET fact = '{\"t\":\"of_another_time\"}' WHERE seq = 2";
    assert_eq!(connection.execute(change, []).expect("changed"), 1);
    let (_appender, journal) = start(folder.path());
    let read = journal.read(0, 10).await.expect("read");
    let seqs: Vec<u64> = read.facts.iter().map(|f| f.seq).collect();
    assert_eq!((seqs, read.unreadable, read.through), (vec![1, 3], 1, Some(3)));
}

#[tokio::test]
async fn after_a_loss_of_power_seqs_go_on_from_above() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut appender, journal) = start(folder.path());
    append_facts(&mut appender, 1..=3, state);
    drop(appender);
    journal.drained().await;
    let connection = rusqlite::Connection::open(folder.path().join("journal.db")).expect("opens");
    connection.execute("UPDATE boots SET id = 'another'", []).expect("changed");
    let last = |durability| open(folder.path(), durability, &KEY).expect("opens").kept.last_fact;
    assert_eq!(last(Durability::Process), 3 + SEQ_JUMP);
    assert_eq!(last(Durability::Process), 3, "once");
    connection.execute("UPDATE boots SET id = 'another'", []).expect("changed");
    assert_eq!(last(Durability::Power), 3, "nothing was lost");
}

#[tokio::test]
async fn history_waits_for_its_database_and_goes_on_where_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}/zongji.db", folder.path().display());
    let store = Store::connect(&url).await.expect("the records");
    let (mut appender, journal) = start(&folder.path().join("journal"));
    let stop = CancellationToken::new();
    let (progress, task) = projector::start(journal.clone(), store.clone(), stop.clone());
    append_facts(&mut appender, 1..=700, |n| if n % 7 == 0 { ended(n) } else { state(n) });
    reach(progress.position(), 700).await;
    let rows = async || {
        let page = Page::limit(1_000);
        calls::list(&store, &"acme".into(), &CallFilter::default(), &page).await.expect("listed").items.len()
    };
    assert_eq!(rows().await, 100);
    for _ in 0..100 {
        if progress.lag_seconds(at(800)) == 0.0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(progress.lag_seconds(at(800)) == 0.0, "nothing waits");

    // Another process holds the records for longer than a statement waits.
    let other = rusqlite::Connection::open(folder.path().join("zongji.db")).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    append_facts(&mut appender, 701..=707, ended);
    reach(journal.appended(), 707).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(*progress.position().borrow(), 700);
    assert!(progress.lag_seconds(at(10_701)) >= 10.0, "{}", progress.lag_seconds(at(10_701)));
    other.execute_batch("ROLLBACK").expect("freed");
    reach(progress.position(), 707).await;
    assert_eq!(rows().await, 107);
    stop.cancel();
    task.await.expect("ends");

    // A new start goes on from the position in the records, and ends with the journal.
    append_facts(&mut appender, 708..=708, ended);
    let (progress, task) = projector::start(journal.clone(), store.clone(), CancellationToken::new());
    drop(appender);
    tokio::time::timeout(Duration::from_secs(30), task).await.expect("ends").expect("without panic");
    assert_eq!(*progress.position().borrow(), 708);
    assert_eq!(rows().await, 108);
}
