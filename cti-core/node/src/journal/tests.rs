use cti_base::{AgentName, CallId, Pii, Rng};
use cti_switch::desk::{AgentState, Direction};
use cti_switch::{CallRecord, Outcome};
use tokio_util::sync::CancellationToken;
use zongji_sql::calls::{self, CallFilter};
use zongji_sql::{Page, Store};

use super::*;

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + ms)
}

fn state(agent: u64) -> Fact {
    let agent: AgentName = agent.to_string().into();
    Fact::AgentState { tenant: "acme".into(), agent, state: AgentState::Ready, reason: None }
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

async fn seqs(journal: &Journal) -> Vec<u64> {
    journal.read(0, 100_000).await.expect("read").facts.into_iter().map(|f| f.seq).collect()
}

#[tokio::test]
async fn facts_are_read_back_in_order_and_numbers_go_on_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("deep/journal");
    let (mut appender, journal) = open(&path, Durability::Process).await.expect("opens");
    assert_eq!((appender.last(), *journal.appended().borrow()), (0, 0));
    for n in 1..=3_000 {
        assert_eq!(appender.append(at(n), state(n)), Ok(n));
    }
    drop(appender);
    journal.drained().await;
    assert_eq!(*journal.appended().borrow(), 3_000);
    let name = journal.name().to_owned();

    let (mut appender, journal) = open(&path, Durability::Power).await.expect("opens again");
    assert_eq!((journal.name(), appender.last()), (name.as_str(), 3_000));
    assert_eq!(appender.append(at(9_000), state(1)), Ok(3_001));
    reach(journal.appended(), 3_001).await;
    assert_eq!(seqs(&journal).await, (1..=3_001).collect::<Vec<_>>());
    let page = journal.read(10, 2).await.expect("read");
    assert_eq!((page.through, page.facts[0].seq, page.facts[0].at), (Some(12), 11, at(11)));
    assert!(matches!(&page.facts[0].fact, Fact::AgentState { agent, .. } if agent.as_str() == "11"));
    assert_eq!(journal.read(3_001, 10).await.expect("read").through, None);
}

#[tokio::test]
async fn a_published_fact_survives_the_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut appender, journal) = open(&folder.path().join("a"), Durability::Process).await.expect("opens");
    for n in 1..=100 {
        appender.append(at(n), state(n)).expect("taken");
    }
    reach(journal.appended(), 100).await;
    // What a killed process leaves: its files as they are, the write-ahead log not folded in.
    let left = folder.path().join("b");
    std::fs::create_dir(&left).expect("a folder");
    for file in ["journal.db", "journal.db-wal"] {
        std::fs::copy(folder.path().join("a").join(file), left.join(file)).expect(file);
    }
    let (appender, journal) = open(&left, Durability::Process).await.expect("opens");
    assert_eq!(appender.last(), 100);
    assert_eq!(seqs(&journal).await.len(), 100);
}

#[test]
fn a_full_inbox_refuses_without_waiting_and_without_a_gap() {
    let (inbox, mut messages) = mpsc::channel(2);
    let mut appender = Appender { inbox, last: 7 };
    assert_eq!(appender.append(at(0), state(0)), Ok(8));
    assert_eq!(appender.append(at(0), state(0)), Ok(9));
    assert_eq!((appender.append(at(0), state(0)), appender.waiting()), (Err(Full), 2));
    assert!(matches!(messages.try_recv(), Ok(Message::Append(FactRecord { seq: 8, .. }))));
    assert_eq!(appender.append(at(0), state(0)), Ok(10));
}

#[tokio::test]
async fn pruned_facts_are_gone_and_their_numbers_stay_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut appender, journal) = open(folder.path(), Durability::Process).await.expect("opens");
    for n in 1..=5_000 {
        appender.append(at(n), state(n)).expect("taken");
    }
    reach(journal.appended(), 5_000).await;
    journal.prune(4_990, at(4_981));
    for _ in 0..600 {
        if seqs(&journal).await.len() <= 20 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(seqs(&journal).await, (4_981..=5_000).collect::<Vec<_>>(), "younger ones are kept");
    journal.prune(5_000, at(9_000));
    drop(appender);
    journal.drained().await;
    assert!(seqs(&journal).await.is_empty());
    let (appender, _journal) = open(folder.path(), Durability::Process).await.expect("opens");
    assert_eq!(appender.last(), 5_000);
}

#[tokio::test]
async fn what_is_no_fact_is_passed_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut appender, journal) = open(folder.path(), Durability::Process).await.expect("opens");
    for n in 1..=3 {
        appender.append(at(n), state(n)).expect("taken");
    }
    drop(appender);
    journal.drained().await;
    let mut connection =
        SqliteConnectOptions::new().filename(folder.path().join("journal.db")).connect().await.expect("opens");
    sqlx::query("UPDATE facts SET fact = '{\"t\":\"of_another_time\"}' WHERE seq = 2")
        .execute(&mut connection)
        .await
        .expect("changed");
    let read = journal.read(0, 10).await.expect("read");
    let seqs: Vec<u64> = read.facts.iter().map(|f| f.seq).collect();
    assert_eq!((seqs, read.unreadable, read.through), (vec![1, 3], 1, Some(3)));
}

#[tokio::test]
async fn history_waits_for_its_database_and_goes_on_where_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}/zongji.db", folder.path().display());
    let store = Store::connect(&url).await.expect("the records");
    let (mut appender, journal) = open(&folder.path().join("journal"), Durability::Process).await.expect("opens");
    let stop = CancellationToken::new();
    let (progress, task) = projector::start(journal.clone(), store.clone(), stop.clone());
    for n in 1..=700 {
        appender.append(at(n), if n % 7 == 0 { ended(n) } else { state(n) }).expect("taken");
    }
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
    let mut other =
        SqliteConnectOptions::new().filename(folder.path().join("zongji.db")).connect().await.expect("opens");
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.expect("locked");
    for n in 701..=707 {
        appender.append(at(n), ended(n)).expect("taken while the records are away");
    }
    reach(journal.appended(), 707).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(*progress.position().borrow(), 700);
    assert!(progress.lag_seconds(at(10_701)) >= 10.0, "{}", progress.lag_seconds(at(10_701)));
    sqlx::query("ROLLBACK").execute(&mut other).await.expect("freed");
    reach(progress.position(), 707).await;
    assert_eq!(rows().await, 107);
    stop.cancel();
    task.await.expect("ends");

    // A new start goes on from the position in the records, and ends with the journal.
    appender.append(at(708), ended(708)).expect("taken");
    let (progress, task) = projector::start(journal.clone(), store.clone(), CancellationToken::new());
    drop(appender);
    tokio::time::timeout(Duration::from_secs(30), task).await.expect("ends").expect("without panic");
    assert_eq!(*progress.position().borrow(), 708);
    assert_eq!(rows().await, 108);
}
