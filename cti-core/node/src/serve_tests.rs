//! The whole server in this process, rung by real phones.

use std::time::Duration;

use cti_sip::Transport;
use cti_switch::Outcome;
use cti_switch::config::TenantDoc;
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
                [media]\nrtp_ports = \"16900-16979\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n[node]\ndrain_s = 1\n";
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
async fn a_call_is_answered_recorded_and_kept_and_the_server_ends_when_told() {
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
    caller.dial(plan).expect("dialled");
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
    server.stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(10), server.run_until_signal(|| {})).await.expect("in time");
    assert!(ended.is_err(), "a switch that ends by itself is an error");
    assert!(!dir.path().join("data/control.sock").exists());
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
