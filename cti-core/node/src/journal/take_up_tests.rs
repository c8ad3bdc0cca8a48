//! A real engine among simulated phones, its inputs in a real journal, taken up from what a killed process leaves.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cti_base::Rng;
use cti_media::Codec;
use cti_switch::testing::{Plan, SWITCH, Settings, World, tenant_from};

use super::super::tests::{KEY, append, left_by_a_kill, wait_until_durable};
use super::super::{Appender, Group, open};
use super::*;
use crate::config::Durability;

const TENANT: &str = r#"{
    "tenant": {"id": "acme", "name": "Acme"},
    "trunk": [{"name": "t", "hosts": ["192.0.2.10"]}],
    "number": [{"did": "4001", "trunk": "t", "route": {"queue": "repair"}}],
    "queue": [{"name": "repair", "wrapup_s": 1, "record": true, "ring_timeout_s": 3, "max_wait_s": 20}],
    "agent": [
        {"name": "1001", "queues": ["repair"], "always_ready": true,
         "phone": {"kind": "contact", "uri": "sip:1001@192.0.2.20:6001"}},
        {"name": "1002", "queues": ["repair"], "always_ready": true,
         "phone": {"kind": "contact", "uri": "sip:1002@192.0.2.20:6002"}}]
}"#;

/// A group as it is gathered, and the engine's hash after each group.
struct Recorded {
    appender: Appender,
    rng: Rng,
    gathering: Group,
    left: u64,
    inputs: u64,
    hashes: BTreeMap<u64, [u8; 32]>,
}

impl Recorded {
    fn take(&mut self, engine: &Engine, at: Timestamp, input: &Input, facts: &[(Timestamp, cti_switch::Fact)]) {
        write(&mut self.gathering.inputs, at, input).expect("written");
        self.gathering.at = at;
        self.gathering.facts.extend_from_slice(facts);
        self.inputs += 1;
        self.left = self.left.saturating_sub(1);
        if self.left > 0 {
            return;
        }
        self.left = 1 + self.rng.below(6);
        let mut group = std::mem::take(&mut self.gathering);
        let number = self.appender.last_group() + 1;
        if number == 1 || self.rng.below(40) == 0 {
            group.snapshot = Some(engine.snapshot());
        }
        self.hashes.insert(append(&mut self.appender, group), engine.state_hash());
    }
}

/// A minute of callers, two agents, lost datagrams, into a journal in `folder`.
fn recorded(folder: &Path, seed: u64) -> (World, Rc<RefCell<Recorded>>) {
    let (appender, _journal) = open(folder, Durability::Process, &KEY).expect("opens").start().expect("starts");
    let recorded = Recorded {
        appender,
        rng: Rng::from_number(seed),
        gathering: Group::default(),
        left: 1,
        inputs: 0,
        hashes: BTreeMap::new(),
    };
    let recorded = Rc::new(RefCell::new(recorded));
    let mut world = World::new(seed, Settings { loss_per_mille: 20, ..Settings::default() });
    let taken = recorded.clone();
    world.tap = Some(Box::new(move |engine, at, input, facts| taken.borrow_mut().take(engine, at, input, facts)));
    world.declare(tenant_from(TENANT));
    let carrier: SocketAddr = "192.0.2.10:5070".parse().expect("an address");
    world.add_phone("192.0.2.10:5070", Plan::Ring);
    for port in [6001, 6002] {
        let talk = Some(Duration::from_secs(4));
        world.add_phone(&format!("192.0.2.20:{port}"), Plan::Answer { after: Duration::from_millis(700), talk });
    }
    let mut rng = Rng::from_number(seed + 1);
    for n in 0..30 {
        world.run_for(Duration::from_millis(rng.below(4_000)));
        let from = format!("+8613800138{n:03}");
        world.with_phone(carrier, |phone, now| {
            phone.dial(now, &format!("sip:4001@{SWITCH}"), &from, Codec::Pcma, None);
        });
    }
    (world, recorded)
}

fn taken_up(folder: &Path, world: &World) -> (Engine, Report, Opened) {
    let mut opened = open(folder, Durability::Process, &KEY).expect("opens");
    let (engine, report) = take_up(&mut opened, world.config.clone(), [0; 32]).expect("taken up");
    (engine, report, opened)
}

#[test]
fn any_prefix_of_groups_leads_to_the_state_that_the_engine_had_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("live");
    let (world, recorded) = recorded(&path, 11);
    let mut recorded = recorded.borrow_mut();
    assert!(recorded.inputs > 300, "{}", recorded.inputs);
    let last = recorded.appender.last_group();
    wait_until_durable(&recorded.appender, last);
    // From the whole journal back, cut by cut: snapshots that are cut off make an earlier one the beginning.
    let left = folder.path().join("left");
    left_by_a_kill(&path, &left);
    let (mut prefixes, mut snapshots, mut whole) = (0, 0, last);
    loop {
        let (engine, report, mut opened) = taken_up(&left, &world);
        // What is older than the last snapshot but one may be pruned.
        if report.is_new || report.cut.is_some() {
            break;
        }
        assert_eq!(report.facts_differing, 0, "to {whole}");
        assert_eq!(engine.state_hash(), recorded.hashes[&whole], "to {whole} of {last}");
        (prefixes, snapshots) = (prefixes + 1, snapshots + usize::from(report.inputs == 0));
        whole = whole.saturating_sub(1 + recorded.rng.below(3));
        opened.cut_after(whole).expect("cut");
    }
    assert!(prefixes > 10 && snapshots > 0, "{prefixes} {snapshots}");
}

#[test]
fn a_group_that_can_not_be_read_cuts_the_replay_before_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("live");
    let (world, recorded) = recorded(&path, 12);
    let mut recorded = recorded.borrow_mut();
    let last = recorded.appender.last_group();
    let hash = recorded.hashes[&last];
    append(&mut recorded.appender, Group { inputs: b"\x92no input".to_vec(), ..Group::default() });
    append(&mut recorded.appender, Group::default());
    wait_until_durable(&recorded.appender, last + 2);
    let left = folder.path().join("left");
    left_by_a_kill(&path, &left);
    let (engine, report, opened) = taken_up(&left, &world);
    assert_eq!((engine.state_hash(), report.cut), (hash, Some(Cut { whole: last, groups: 2 })));
    assert_eq!(opened.counters().cut_groups.load(Ordering::Relaxed), 2);
}

#[test]
fn a_snapshot_that_is_none_is_a_new_engine_and_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("live");
    let (world, recorded) = recorded(&path, 13);
    let mut recorded = recorded.borrow_mut();
    append(&mut recorded.appender, Group { snapshot: Some(vec![0xc1]), ..Group::default() });
    let last = recorded.appender.last_group();
    wait_until_durable(&recorded.appender, last);
    let left = folder.path().join("left");
    left_by_a_kill(&path, &left);
    let (engine, report, _) = taken_up(&left, &world);
    assert!(report.is_new && engine.is_idle());
}
