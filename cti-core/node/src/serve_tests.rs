//! The whole server in this process, rung by real phones.

use std::time::Duration;

use cti_sip::Transport;
use cti_switch::Outcome;
use cti_switch::config::TenantDoc;
use cti_switch::live::Live;
use zongji_sql::Page;
use zongji_sql::calls::{self, CallFilter};

use std::path::Path;

use cti_base::TenantId;

use super::*;
use crate::admin::Package;
use crate::phone::{Answer as Pickup, CallPlan, CallScript, LineConfig, Phone, PhoneConfig, PhoneEvent, Sound, Span};

const TENANT: &str = r#"
tenant = { id = "acme", name = "Acme" }
[[trunk]]
name = "t"
hosts = ["127.0.0.1"]
[[queue]]
name = "general"
record = true
wrapup_s = 0
[[number]]
did = "4001"
trunk = "t"
route = { queue = "general" }
[[agent]]
name = "1001"
queues = ["general"]
always_ready = true
phone = { kind = "contact", uri = "CONTACT" }
"#;

fn setup(dir: &Path) -> Setup {
    let file = dir.join("zongji.toml");
    let text = "[http]\nlisten = \"127.0.0.1:0\"\n[sip]\nudp = [\"127.0.0.1:0\"]\ntcp = [\"127.0.0.1:0\"]\n\
                [media]\nrtp_ports = \"16900-16979\"\nbrowser_port = 0\n[metrics]\nlisten = \"127.0.0.1:0\"\n[node]\ndrain_s = 1\n";
    std::fs::write(&file, text).expect("written");
    Setup::load(Some(&file), &dir.join("data")).expect("a right configuration")
}

fn line(user: &str, answer: Pickup) -> PhoneConfig {
    let line = LineConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        transport: Transport::Udp,
        user: user.into(),
        register: None,
        answer,
        script: CallScript { sound: Sound::tone(440), ..CallScript::default() },
        incoming_max: 1,
    };
    PhoneConfig { lines: vec![line] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_answered_recorded_and_kept_and_one_that_the_end_of_the_server_meets_too() {
    // Arrange
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::start(setup(dir.path()), false).await.expect("started");
    let agent = Phone::start(line("1001", Pickup::After(Span::exactly(Duration::ZERO))), |_| {}).expect("a phone");
    let contact = format!("sip:1001@{}", agent.addresses()[0]);
    let doc: TenantDoc = toml::from_str(&TENANT.replace("CONTACT", &contact)).expect("a tenant");
    let apply = Request::Apply { packages: vec![Package::new(doc, BTreeMap::new())] };
    server.ask(apply).await.expect("applied");

    // Act
    let (ended_in, mut ended) = tokio::sync::mpsc::channel(4);
    let events = move |event| {
        if let PhoneEvent::Ended { report, .. } = event {
            ended_in.blocking_send(report).expect("waited for");
        }
    };
    let caller = Phone::start(line("caller", Pickup::Reject(486)), events).expect("a phone");
    let plan = CallPlan {
        line: 0,
        to: format!("sip:4001@{}", server.sip[0]),
        from: Some("13800138000".into()),
        credentials: None,
        ring_max: None,
        script: CallScript {
            sound: Sound::tone(440),
            hangup_after: Some(Span::exactly(Duration::from_secs(1))),
            ..CallScript::default()
        },
    };
    caller.dial(plan.clone()).expect("dialled");
    let report = tokio::time::timeout(Duration::from_secs(10), ended.recv()).await.expect("in time").expect("a report");

    // Assert
    assert!(report.packets_in > 30, "{report:?}");
    let mut found = Vec::new();
    for _ in 0..100 {
        found = calls::list(&server.store, &"acme".into(), &CallFilter::default(), &Page::default())
            .await
            .expect("listed")
            .items;
        if !found.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].outcome, found[0].agent.as_deref()), (Outcome::Answered, Some("1001")));
    assert!(server.live.borrow()[&TenantId::from("acme")].calls.is_empty());

    // Act: the server ends during a call.
    let mut plan = plan;
    plan.script.hangup_after = None;
    caller.dial(plan).expect("dialled");
    let mut live = server.live.clone();
    let talking = |live: &BTreeMap<TenantId, Arc<Live>>| {
        live[&TenantId::from("acme")].calls.iter().any(|call| call.agent.is_some())
    };
    live.wait_for(|live| talking(live)).await.expect("a call");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let url = server.setup.database_url();
    tokio::time::timeout(Duration::from_secs(10), server.close()).await.expect("in time");

    // Assert
    let report = tokio::time::timeout(Duration::from_secs(10), ended.recv()).await.expect("in time").expect("a report");
    assert!(report.ended_by_peer, "{report:?}");
    let store = Store::connect(&url).await.expect("a database");
    let found = calls::list(&store, &"acme".into(), &CallFilter::default(), &Page::default()).await.expect("listed");
    assert_eq!(found.items.len(), 2);
    assert_eq!((found.items[0].outcome, found.items[0].cause.as_str()), (Outcome::Answered, "shutdown"));
    let recording = found.items[0].recording.as_ref().expect("a recording");
    assert!(recording.sha256.is_some(), "{recording:?}");
    assert!(!dir.path().join("data/control.sock").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_does_not_understand_the_journal_would_not_take_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let setup = setup(dir.path());
    data::prepare(&setup.data).expect("made");
    check(&setup).expect("nothing to take up yet");
    let server = Server::start(setup.clone(), false).await.expect("started");
    let mut result = Err(anyhow::anyhow!("no snapshot came"));
    // The first group holds a snapshot: from then on there is something to look at.
    let doc: TenantDoc = toml::from_str(&TENANT.replace("CONTACT", "sip:1001@127.0.0.1:9")).expect("a tenant");
    let apply = Request::Apply { packages: vec![Package::new(doc, BTreeMap::new())] };
    server.ask(apply).await.expect("applied");
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if server.threads.journal.counters().snapshots.load(Ordering::Relaxed) > 0 {
            result = check(&setup);
            break;
        }
    }
    result.expect("its own program understands it");
    std::fs::write(setup.node_key(), [7; 32]).expect("written");
    let error = check(&setup).expect_err("another key").to_string();
    assert!(error.contains("another node.key"), "{error}");
    server.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_on_the_same_data_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = Server::start(setup(dir.path()), true).await.expect("started");
    let second = Server::start(setup(dir.path()), true).await.err().expect("refused");
    assert!(second.to_string().contains("another zongji serves"), "{second}");
    first.close().await;
    Server::start(setup(dir.path()), true).await.expect("free again").close().await;
}
