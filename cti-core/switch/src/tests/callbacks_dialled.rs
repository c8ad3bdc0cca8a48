//! Callbacks as customers and agents meet them: asked for by a key, waited for in place, dialled, joined, tried again.

use cti_base::Pii;
use cti_media::MediaEvent;

use super::*;
use crate::config::Tenant;
use crate::desk::{CallState, Direction};
use crate::fact::Outcome;
use crate::{Callback, CallbackAsk, CallbackNew, CallbackSource, CallbackState, Input};

/// Where the switch dials out to; calls come in from another port of the same host.
const TRUNK: &str = "192.0.2.10:5060";

/// Key 1 asks for a callback; attempts after a minute.
fn callback_file(agents: usize) -> Value {
    let mut file = file(agents);
    file["tenant"]["outbound"] = json!({"prefixes": ["+86"], "max_cps": 10});
    file["queue"][0]["keys"] = json!({"1": {"callback": true}});
    file["queue"][0]["callback"] = json!({"dial_timeout_s": 20, "attempts": 2, "retry_after_s": 60});
    for n in 1..=agents {
        agent_mut(&mut file, n)["always_ready"] = json!(false);
    }
    file
}

fn world_of(file: &Value, agent: Plan, customer: Plan) -> World {
    let mut world = world_with(file, agent, Settings::default());
    world.add_phone(TRUNK, customer);
    world
}

fn customers() -> SocketAddr {
    TRUNK.parse().expect("an address")
}

fn talks(after_ms: u64) -> Plan {
    Plan::Answer { after: MS * u32::try_from(after_ms).expect("small"), talk: Some(S * 2) }
}

/// The caller who came last presses a key.
fn last_presses(world: &mut World, digit: char) {
    let leg = *world.legs.keys().next_back().expect("the caller's leg");
    world.input(Input::Media(MediaEvent::Digit { leg, digit }));
}

fn told(world: &World) -> Vec<Callback> {
    let told = world.facts.iter().filter_map(|(_, fact)| match fact {
        Fact::CallbackRequested { callback }
        | Fact::CallbackAttempt { callback }
        | Fact::CallbackEnded { callback } => Some((**callback).clone()),
        _ => None,
    });
    told.collect()
}

fn states(world: &World) -> Vec<CallbackState> {
    told(world).iter().map(|callback| callback.state).collect()
}

fn schedule(world: &mut World, number: &str, agent: Option<&str>, after: Duration) -> Callback {
    let new = CallbackNew {
        number: Pii::new(number.to_owned()),
        queue: Some("repair".into()),
        agent: agent.map(Into::into),
        due_ms: Some((world.now + after).as_millis()),
        customer_id: None,
        contact_id: None,
        source: CallbackSource::Scheduled,
    };
    world.ask_callback(ACME, CallbackAsk::Schedule(Box::new(new))).expect("taken")
}

fn outbound(world: &World) -> CallRecord {
    let records = world.records();
    let found: Vec<_> = records.iter().filter(|record| record.direction == Direction::Outbound).collect();
    assert_eq!(found.len(), 1, "one callback, one record");
    let record = (**found[0]).clone();
    assert_stretches(&record);
    record
}

/// From its start to its end, the time between two attempts too.
fn assert_stretches(record: &CallRecord) {
    let ends = record.segments.iter().map(|segment| segment.ended_ms);
    let starts = record.segments.iter().map(|segment| segment.started_ms);
    let expect: Vec<u64> = std::iter::once(record.started_ms).chain(ends.clone()).collect();
    let given: Vec<u64> = starts.chain([record.ended_ms]).collect();
    assert_eq!(given, expect, "{:?}", record.segments);
}

#[test]
fn a_callback_keeps_the_place_of_who_asked_for_it() {
    let mut world = world_of(&callback_file(1), talks(50), Plan::Answer { after: MS * 300, talk: None });
    for n in 0..3 {
        ring_in(&mut world, &caller(n));
        world.run_for(MS * 100);
        if n == 1 {
            last_presses(&mut world, '1');
        }
        world.run_for(S * 2);
    }
    assert_eq!(world.live(ACME).queues[0].waiting, 3, "the callback waits too");
    let asked = only_record(&world);
    assert_eq!((asked.outcome, asked.cause.as_str()), (Outcome::Callback, "callback"));
    let [requested] = told(&world).try_into().expect("one");
    assert_eq!((requested.state, requested.source), (CallbackState::Waiting, CallbackSource::Keypad));
    assert_eq!((requested.request_call, Some(requested.place_ms)), (Some(asked.id), asked.queued_ms));

    go_ready(&mut world, "1001");
    assert!(
        world.run_until(S * 60, |world| { world.live(ACME).calls.iter().any(|call| call.state == CallState::Dialing) })
    );
    assert_eq!(state_of(&world, "1001"), AgentState::Offered, "kept free while the customer is dialled");
    world.run_for(S * 30);
    assert_eq!(offered_callers(&world), [caller(0), caller(1), caller(2)]);
    let Seen::Invited { from, .. } = seen(&mut world, customers())[0].clone() else { panic!("an INVITE") };
    assert_eq!(from, "4001001000", "the customer sees the number that they had dialled");

    let record = outbound(&world);
    assert_eq!((record.outcome, record.agent.as_ref().map(|name| name.as_str())), (Outcome::Answered, Some("1001")));
    assert_eq!((record.from.expose().as_str(), record.to.as_str()), ("4001001000", "+8613800138001"));
    assert!(record.recording.is_some() && record.wait_ms > 4_000, "{record:?}");
    use CallbackState::{Dialing, Done, Reserved, Waiting};
    assert_eq!(states(&world), [Waiting, Reserved, Dialing, Done]);
    let done = told(&world).pop().expect("told");
    assert_eq!((done.call_id, done.attempts), (Some(record.id), 1));
    assert_clean(&mut world);
}

#[test]
fn a_callback_of_a_queue_that_goes_while_the_customer_is_dialled_is_over() {
    let mut file = callback_file(1);
    file["queue"][0]["overflow"] = json!({"after_s": 60, "to": {"queue": "general"}});
    file["queue"].as_array_mut().expect("queues").push(json!({"name": "general"}));
    let mut world = world_of(&file, talks(50), Plan::Ring);
    schedule(&mut world, "13800138000", None, S);
    go_ready(&mut world, "1001");
    world.run_for(S * 3);
    assert_eq!(states(&world).last(), Some(&CallbackState::Dialing));
    file["queue"].as_array_mut().expect("queues").remove(0);
    file["number"][0]["route"] = json!({"queue": "general"});
    agent_mut(&mut file, 1)["queues"] = json!(["general"]);
    world.declare(tenant_from(&file.to_string()));
    world.run_for(S * 3);
    assert_eq!(state_of(&world, "1001"), AgentState::Ready, "let go");
    let record = outbound(&world);
    assert_eq!((record.outcome, record.cause.as_str()), (Outcome::Failed, "queue_removed"));
    assert_eq!(states(&world).last(), Some(&CallbackState::Failed));
    assert_clean(&mut world);
}

#[test]
fn a_busy_customer_is_tried_again_from_the_same_place_and_costs_the_agent_nothing() {
    let busy = Plan::Refuse { code: 486, after: MS * 200 };
    let mut world = world_of(&callback_file(1), talks(50), busy);
    ring_in(&mut world, &caller(0));
    world.run_for(MS * 100);
    last_presses(&mut world, '1');
    world.run_for(S * 5);
    go_ready(&mut world, "1001");
    ring_in(&mut world, &caller(1));
    world.run_for(S * 10);
    // The agent is free again at once and has taken the next one.
    assert_eq!(offered_callers(&world), [caller(1)]);
    let waiting = told(&world).pop().expect("told");
    assert_eq!((waiting.state, waiting.attempts), (CallbackState::Waiting, 1));
    assert_eq!(waiting.last_cause.as_deref(), Some("486"));
    world.run_for(S * 70);
    assert_eq!(invites(&mut world, customers()), 2);
    let record = outbound(&world);
    assert_eq!((record.outcome, record.cause.as_str(), record.legs.len()), (Outcome::Busy, "486", 2));
    let failed = told(&world).pop().expect("told");
    assert_eq!((failed.state, failed.attempts), (CallbackState::Failed, 2));
    assert_eq!(state_of(&world, "1001"), AgentState::Ready, "nothing was missed");
    assert_clean(&mut world);
}

#[test]
fn one_that_was_dialled_as_often_as_the_file_now_allows_is_not_dialled_again() {
    let busy = Plan::Refuse { code: 486, after: MS * 200 };
    let mut file = callback_file(1);
    let mut world = world_of(&file, talks(50), busy);
    schedule(&mut world, "13800138000", None, S);
    go_ready(&mut world, "1001");
    world.run_for(S * 10);
    assert_eq!(told(&world).pop().map(|waiting| waiting.attempts), Some(1));
    file["queue"][0]["callback"]["attempts"] = json!(1);
    world.declare(tenant_from(&file.to_string()));
    world.run_for(S * 70);
    assert_eq!(invites(&mut world, customers()), 1);
    let failed = told(&world).pop().expect("told");
    assert_eq!((failed.state, failed.attempts, failed.last_cause.as_deref()), (CallbackState::Failed, 1, Some("486")));
    assert_eq!(outbound(&world).cause, "486");
    assert_eq!(state_of(&world, "1001"), AgentState::Ready);
    assert_clean(&mut world);
}

#[test]
fn an_agent_is_kept_no_longer_than_the_customers_phone_may_ring() {
    let mut world = world_of(&callback_file(1), talks(50), Plan::Ring);
    schedule(&mut world, "13800138000", None, S * 10);
    go_ready(&mut world, "1001");
    world.run_for(S * 9);
    assert_eq!(invites(&mut world, customers()), 0, "not before its time");
    assert!(world.run_until(S * 2, |world| state_of(world, "1001") == AgentState::Offered));
    let reserved = world.now;
    assert!(world.run_until(S * 60, |world| state_of(world, "1001") == AgentState::Ready));
    let kept = world.now.since(reserved);
    assert!((S * 19..=S * 20 + MS * 10).contains(&kept), "{kept:?}");
    world.run_for(S * 85);
    assert_eq!(outbound(&world).outcome, Outcome::NoAnswer);
    assert_clean(&mut world);
}

#[test]
fn asked_first_the_agent_hears_the_customers_phone_ring() {
    let mut file = callback_file(1);
    file["queue"][0]["callback"]["first"] = json!("agent");
    let mut world = world_of(&file, answers(100), Plan::Refuse { code: 480, after: S });
    schedule(&mut world, "13800138000", None, S);
    go_ready(&mut world, "1001");
    world.run_for(S + MS * 500);
    assert_eq!((invites(&mut world, agent_phone(1)), invites(&mut world, customers())), (1, 1));
    assert!(playing(&world).contains("ringback"), "{}", playing(&world));
    assert_eq!(state_of(&world, "1001"), AgentState::Offered);
    world.run_for(S * 2);
    // Not there: the agent is let go.
    assert_eq!(state_of(&world, "1001"), AgentState::Ready);
    world.phone(customers()).plan = talks(500);
    world.run_for(S * 70);
    let record = outbound(&world);
    assert_eq!((record.outcome, record.agent.as_ref().map(|name| name.as_str())), (Outcome::Answered, Some("1001")));
    assert_eq!((invites(&mut world, agent_phone(1)), invites(&mut world, customers())), (2, 2));
    assert_eq!(told(&world).pop().map(|done| (done.state, done.attempts)), Some((CallbackState::Done, 2)));
    assert_clean(&mut world);
}

#[test]
fn an_agent_who_is_asked_first_and_does_not_answer_leaves_the_callback_in_the_line() {
    let mut file = callback_file(1);
    file["queue"][0]["callback"]["first"] = json!("agent");
    let mut world = world_of(&file, Plan::Ring, talks(100));
    schedule(&mut world, "13800138000", None, S);
    go_ready(&mut world, "1001");
    world.run_for(S * 40);
    // Two misses are a break.
    assert_eq!((state_of(&world, "1001"), invites(&mut world, customers())), (AgentState::Break, 0));
    assert_eq!((world.engine.calls.len(), world.live(ACME).queues[0].waiting), (0, 1));
    world.phone(agent_phone(1)).plan = talks(100);
    go_ready(&mut world, "1001");
    world.run_for(S * 5);
    assert_eq!(outbound(&world).outcome, Outcome::Answered);
    assert_clean(&mut world);
}

#[test]
fn a_callback_is_passed_on_by_no_limit_and_rings_one_agent_at_a_time() {
    let mut file = callback_file(3);
    file["queue"][0]["strategy"] = json!("ring_all");
    file["queue"][0]["max_wait_s"] = json!(20);
    let mut world = world_of(&file, Plan::Ring, Plan::Answer { after: MS * 100, talk: None });
    schedule(&mut world, "13800138000", None, S);
    world.run_for(S * 60);
    assert_eq!(world.live(ACME).queues[0].waiting, 1);
    go_ready(&mut world, "1001");
    world.desk_connects(ACME, "1002");
    set_state(&mut world, "1002", WantedState::Ready, None);
    world.run_for(MS * 50);
    let offered = world.live(ACME).agents.iter().filter(|agent| agent.state == AgentState::Offered).count();
    assert_eq!(offered, 1);
    // On the line the customer waits as long as anybody may.
    world.run_for(S * 90);
    assert_eq!((outbound(&world).outcome, outbound(&world).cause.as_str()), (Outcome::Overflowed, "max_wait"));
}

#[test]
fn a_customer_whose_agent_does_not_answer_waits_for_the_next() {
    let mut world = world_of(&callback_file(2), Plan::Ring, Plan::Answer { after: MS * 100, talk: None });
    world.phone(agent_phone(2)).plan = talks(100);
    schedule(&mut world, "13800138000", None, S);
    go_ready(&mut world, "1001");
    world.run_for(S * 5);
    go_ready(&mut world, "1002");
    world.run_for(S * 40);
    assert_eq!(offered_to(&world), ["1001", "1002"]);
    let record = outbound(&world);
    assert_eq!((record.outcome, record.agent.as_ref().map(|name| name.as_str())), (Outcome::Answered, Some("1002")));
    assert_clean(&mut world);
}

#[test]
fn callbacks_outlive_the_program_in_the_line_and_while_dialling() {
    for down in [S, S * 400] {
        let mut world = world_of(&callback_file(1), talks(50), Plan::Ring);
        let early = schedule(&mut world, "13800138000", None, S);
        schedule(&mut world, "13800138001", None, S * 2);
        world.run_for(S * 5);
        world.crash(down);
        assert_eq!(world.live(ACME).queues[0].waiting, 2);
        go_ready(&mut world, "1001");
        world.run_for(S * 2);
        assert_eq!(invites(&mut world, customers()), 1);
        world.crash(S);
        world.run_for(MS * 100);
        assert_eq!(world.live(ACME).calls.iter().filter(|call| call.state == CallState::Dialing).count(), 1);
        world.phone(customers()).plan = talks(100);
        world.desk_connects(ACME, "1001");
        world.run_for(S * 150);
        let ended: Vec<Callback> = told(&world).into_iter().filter(|callback| callback.state.is_over()).collect();
        assert_eq!(ended.len(), 2, "{ended:?}");
        assert!(ended.iter().all(|callback| callback.state == CallbackState::Done), "{ended:?}");
        let of_early = ended.iter().find(|callback| callback.id == early.id).expect("ended");
        assert_eq!(of_early.attempts, 2, "the first rang on and was not answered");
        assert_clean(&mut world);
    }
}

#[test]
fn a_trunks_next_host_is_asked_when_the_first_is_down() {
    let mut file = callback_file(1);
    file["trunk"][0]["hosts"] = json!(["192.0.2.11", "192.0.2.10"]);
    let mut world = world_of(&file, talks(50), talks(100));
    let broken = world.add_phone("192.0.2.11:5060", Plan::Refuse { code: 503, after: MS });
    world.phone(broken).plan = Plan::Refuse { code: 503, after: Duration::ZERO };
    schedule(&mut world, "13800138000", None, S);
    schedule(&mut world, "13800138001", None, S * 8);
    go_ready(&mut world, "1001");
    world.run_for(S * 20);
    assert_eq!((invites(&mut world, broken), invites(&mut world, customers())), (1, 2));
    assert!(told(&world).iter().all(|callback| callback.attempts <= 1));
    assert_eq!(states(&world).iter().filter(|state| **state == CallbackState::Done).count(), 2);
    assert_clean(&mut world);
}

#[test]
fn a_host_that_answers_no_options_is_known_before_any_call_and_asked_again_ever_less_often() {
    let mut file = callback_file(1);
    file["trunk"][0]["hosts"] = json!(["192.0.2.11", "192.0.2.10"]);
    file["trunk"][0]["options_s"] = json!(60);
    let mut world = world_of(&file, talks(50), talks(100));
    // Nobody is at the first: its OPTIONS go unanswered for 32 s each.
    world.run_for(S * 40);
    let alarm = |world: &World| world.live(ACME).alarms.iter().any(|alarm| alarm.code == "trunk_host_down");
    assert!(alarm(&world));
    schedule(&mut world, "13800138000", None, S);
    go_ready(&mut world, "1001");
    world.run_for(S * 4);
    assert_eq!(invites(&mut world, customers()), 1, "the second is dialled at once");
    world.run_for(S * 200);
    // It comes back, and is the first again.
    let back = world.add_phone("192.0.2.11:5060", talks(50));
    world.run_for(S * 120);
    schedule(&mut world, "13800138001", None, S);
    world.run_for(S * 10);
    assert_eq!((invites(&mut world, back), invites(&mut world, customers())), (1, 1));
    world.run_for(S * 320);
    assert!(!alarm(&world), "{:?}", world.live(ACME).alarms);
    // Without the key nobody is asked any more.
    file["trunk"][0]["options_s"] = serde_json::Value::Null;
    world.declare(crate::testing::tenant_from(&file.to_string()));
    assert_clean(&mut world);
}

#[test]
fn no_more_calls_go_out_than_the_tenant_may_make() {
    let mut file = callback_file(3);
    file["tenant"]["outbound"] = json!({"prefixes": ["+86"], "max_calls": 1, "max_cps": 1});
    let mut world = world_of(&file, talks(50), talks(100));
    for n in 0..3 {
        schedule(&mut world, &caller(n), None, S);
    }
    for n in 1..=3 {
        go_ready(&mut world, &(1000 + n).to_string());
    }
    for _ in 0..200 {
        world.run_for(MS * 100);
        let out = world.live(ACME).calls.iter().filter(|call| call.state != CallState::Queued).count();
        assert!(out <= 1, "{out} calls at once");
    }
    assert_eq!(offered_callers(&world), [caller(0), caller(1), caller(2)]);
    assert_clean(&mut world);
}

#[test]
fn an_agents_own_callback_waits_for_them_and_one_that_is_cancelled_is_over() {
    let mut world = world_of(&callback_file(2), talks(50), talks(100));
    schedule(&mut world, "13800138000", Some("1002"), S);
    let cancelled = schedule(&mut world, "13800138001", Some("1002"), S);
    go_ready(&mut world, "1001");
    world.run_for(S * 5);
    assert_eq!(invites(&mut world, customers()), 0, "1001 is somebody else");
    world.ask_callback(ACME, CallbackAsk::Cancel(cancelled.id)).expect("cancelled");
    go_ready(&mut world, "1002");
    world.run_for(S * 10);
    assert_eq!(offered_to(&world), ["1002"]);
    let outcomes: Vec<_> = world.records().iter().map(|record| (record.outcome, record.cause.clone())).collect();
    assert_eq!(outcomes[0], (Outcome::Failed, "cancelled".to_owned()));
    assert_stretches(world.records()[0]);
    assert_eq!(outcomes[1].0, Outcome::Answered);
    assert_clean(&mut world);
}

#[test]
fn a_number_that_may_not_be_dialled_keeps_waiting() {
    let mut world = world_of(&callback_file(1), talks(50), talks(100));
    ring_in(&mut world, "+4930901820");
    world.run_for(MS * 100);
    last_presses(&mut world, '1');
    world.run_for(MS * 10);
    assert!(playing(&world).contains("callback_refused"), "{}", playing(&world));
    last_presses(&mut world, '2');
    world.run_for(S * 3);
    assert_eq!((world.live(ACME).queues[0].waiting, told(&world).len()), (1, 0));
}

#[test]
fn callbacks_that_could_never_be_made_are_refused_with_the_tenants_file() {
    let check = |change: &dyn Fn(&mut Value), expect: &str| {
        let mut file = callback_file(1);
        change(&mut file);
        let doc = serde_json::from_value(file).expect("a document");
        let errors = Tenant::compile(doc, std::collections::BTreeMap::new(), None).expect_err("refused");
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|error| error.contains(expect)), "{expect}: {told:?}");
    };
    check(&|file| file["tenant"]["outbound"] = json!({}), "outbound.prefixes");
    check(&|file| file["tenant"]["outbound"]["prefixes"] = json!(["86"]), "begins no E.164 number");
    check(&|file| file["tenant"]["outbound"]["deny"] = json!(["+0"]), "begins no E.164 number");
    check(&|file| file["tenant"]["outbound"]["max_calls"] = json!(0), "at least 1");
    check(&|file| file["tenant"]["outbound"]["caller_id"] = json!("abc"), "no telephone number");
    check(&|file| file["queue"][0]["callback"]["trunk"] = json!("none"), "no trunk `none`");
    check(&|file| file["queue"][0]["callback"]["dial_timeout_s"] = json!(1), "not from 5 to 120");
    check(&|file| file["queue"][0]["callback"]["attempts"] = json!(0), "not from 1 to 20");
}
