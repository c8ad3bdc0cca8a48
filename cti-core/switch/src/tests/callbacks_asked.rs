//! Callbacks as they are asked for and cancelled, before any is dialled.

use cti_base::{CallbackId, Pii, Rng};
use serde_json::json;

use super::{ACME, MS, S, file, world_with};
use crate::fact::Fact;
use crate::limits::{CALLBACK_AHEAD_MAX, CALLBACK_LIFE_MAX};
use crate::testing::{Plan, Settings, World, tenant_from};
use crate::{Callback, CallbackAsk, CallbackNew, CallbackRefusal, CallbackSource, CallbackState};

const NUMBER: &str = "13800138000";

/// Nobody is ready: what is asked for waits.
fn world() -> World {
    let mut file = file(1);
    file["agent"][0]["always_ready"] = json!(false);
    file["tenant"]["outbound"] = json!({"prefixes": ["+86"], "deny": ["+8610"]});
    world_with(&file, Plan::Ring, Settings::default())
}

fn new(number: &str) -> CallbackNew {
    CallbackNew {
        number: Pii::new(number.to_owned()),
        queue: Some("repair".into()),
        agent: None,
        due_ms: None,
        customer_id: Some("c1".into()),
        contact_id: None,
        source: CallbackSource::Scheduled,
    }
}

fn ask(world: &mut World, new: CallbackNew) -> Result<Callback, CallbackRefusal> {
    world.ask_callback(ACME, CallbackAsk::Schedule(Box::new(new)))
}

fn told(world: &World) -> Vec<(&'static str, Callback)> {
    let told = world.facts.iter().filter_map(|(_, fact)| match fact {
        Fact::CallbackRequested { callback } => Some(("requested", (**callback).clone())),
        Fact::CallbackAttempt { callback } => Some(("attempt", (**callback).clone())),
        Fact::CallbackEnded { callback } => Some(("ended", (**callback).clone())),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_number_waits_once_in_a_queue_until_its_callback_is_cancelled() {
    let mut world = world();
    let due = world.now + S * 3_600;
    let first = ask(&mut world, CallbackNew { due_ms: Some(due.as_millis()), ..new(NUMBER) }).expect("taken");
    assert_eq!((first.state, first.due_ms, first.place_ms), (CallbackState::Waiting, due.as_millis(), due.as_millis()));
    assert_eq!((first.number.expose().as_str(), first.customer_id.as_deref()), ("+8613800138000", Some("c1")));
    assert_eq!(told(&world), [("requested", first.clone())]);

    let again = ask(&mut world, new("+86 138 0013 8000")).expect_err("it waits already");
    assert_eq!(again, CallbackRefusal::Duplicate(Box::new(first.clone())));
    let other = ask(&mut world, new("13800138001")).expect("another number");
    assert_ne!(other.id, first.id);

    let stranger = world.ask_callback("other", CallbackAsk::Cancel(first.id));
    assert_eq!(stranger, Err(CallbackRefusal::NotFound));
    let ended = world.ask_callback(ACME, CallbackAsk::Cancel(first.id)).expect("cancelled");
    assert_eq!((ended.state, ended.last_cause.as_deref()), (CallbackState::Cancelled, Some("cancelled")));
    assert_eq!(told(&world).last(), Some(&("ended", ended)));
    assert_eq!(world.ask_callback(ACME, CallbackAsk::Cancel(first.id)), Err(CallbackRefusal::NotFound));
    ask(&mut world, new(NUMBER)).expect("it waits no more");
}

#[test]
fn what_can_not_be_called_back_is_refused_with_the_reason() {
    let mut world = world();
    let unknown = CallbackId::new(world.now, &mut Rng::from_number(9));
    assert_eq!(world.ask_callback(ACME, CallbackAsk::Cancel(unknown)), Err(CallbackRefusal::NotFound));
    let too_late = (world.now + CALLBACK_AHEAD_MAX + S).as_millis();
    let cases = [
        (new("110"), CallbackRefusal::NotAllowed),
        (new("+49 30 901820"), CallbackRefusal::NotAllowed),
        (new("010-62781234"), CallbackRefusal::NotAllowed),
        (new("anonymous"), CallbackRefusal::NoNumber),
        (CallbackNew { queue: Some("none".into()), ..new(NUMBER) }, CallbackRefusal::NoQueue),
        (CallbackNew { queue: None, ..new(NUMBER) }, CallbackRefusal::NoQueue),
        (CallbackNew { agent: Some("9999".into()), ..new(NUMBER) }, CallbackRefusal::NoAgent),
        (CallbackNew { due_ms: Some(too_late), ..new(NUMBER) }, CallbackRefusal::TooLate),
    ];
    for (asked, expect) in cases {
        assert_eq!(ask(&mut world, asked.clone()), Err(expect), "{asked:?}");
    }
    assert_eq!(told(&world), []);
    // Without a queue it is the agent's first.
    let own = ask(&mut world, CallbackNew { queue: None, agent: Some("1001".into()), ..new(NUMBER) }).expect("taken");
    assert_eq!((own.queue.as_str(), own.agent.as_ref().map(|agent| agent.as_str())), ("repair", Some("1001")));
}

#[test]
fn without_named_prefixes_nobody_is_called_back() {
    let mut world = world_with(&file(1), Plan::Ring, Settings::default());
    assert_eq!(ask(&mut world, new(NUMBER)), Err(CallbackRefusal::NotAllowed));
}

#[test]
fn a_callback_outlives_the_program_and_ends_with_its_queue_or_its_time() {
    let mut world = world();
    let due = world.now + S * 60;
    let own = CallbackNew { agent: Some("1001".into()), due_ms: Some(due.as_millis()), ..new(NUMBER) };
    let callback = ask(&mut world, own).expect("taken");
    let later = ask(&mut world, CallbackNew { due_ms: Some(due.as_millis()), ..new("13800138001") }).expect("taken");
    world.crash(S * 600);
    let again = ask(&mut world, new(NUMBER)).expect_err("it waits");
    let CallbackRefusal::Duplicate(waiting) = again else { panic!("{again:?}") };
    assert_eq!((waiting.id, waiting.state), (callback.id, CallbackState::Waiting));

    // The agent is gone: the promise is the queue's.
    let mut changed = file(0);
    changed["tenant"]["outbound"] = json!({"prefixes": ["+86"]});
    world.declare(tenant_from(&changed.to_string()));
    let (_, kept) = told(&world).last().cloned().expect("told");
    assert_eq!((kept.id, kept.agent, kept.state), (callback.id, None, CallbackState::Waiting));

    world.ask_callback(ACME, CallbackAsk::Cancel(later.id)).expect("cancelled");
    world.run_for(S * 60 + CALLBACK_LIFE_MAX + MS);
    let (word, ended) = told(&world).last().cloned().expect("told");
    assert_eq!((word, ended.id, ended.state), ("ended", callback.id, CallbackState::Failed));
    assert_eq!(ended.last_cause.as_deref(), Some("expired"));

    let last = ask(&mut world, new(NUMBER)).expect("taken");
    changed["queue"] = json!([{"name": "sales"}]);
    changed["number"][0]["route"] = json!({"queue": "sales"});
    world.declare(tenant_from(&changed.to_string()));
    let (_, ended) = told(&world).last().cloned().expect("told");
    assert_eq!((ended.id, ended.last_cause.as_deref()), (last.id, Some("queue_removed")));
}
