//! A call is handed on: the caller keeps it, hears music meanwhile, and comes back where nobody takes it.

use cti_base::Pii;

use super::*;
use crate::desk::{CallState, NackCode, To};
use crate::fact::{LegRole, Outcome, QueueLeave, SegmentKind};

pub(super) const TRUNK: &str = "192.0.2.10:5060";

/// Agents 1001.. serve `repair`, the last of them `general` alone; `+86` may be dialled.
pub(super) fn two_queues(agents: usize) -> Value {
    let mut file = file(agents);
    file["tenant"]["outbound"] = json!({"prefixes": ["+86"], "max_cps": 10});
    file["queue"] = json!([
        {"name": "repair", "wrapup_s": 0, "record": true, "case": "repair", "ring_timeout_s": 15},
        {"name": "general", "wrapup_s": 0, "record": true, "ring_timeout_s": 15},
    ]);
    agent_mut(&mut file, agents)["queues"] = json!(["general"]);
    file
}

/// 1001 talks with the only caller.
pub(super) fn talking_in(file: &Value, plans: &[(usize, Plan)]) -> (World, SessionId) {
    let mut world = world_with(file, answers(50), Settings::default());
    for (n, plan) in plans {
        world.phone(agent_phone(*n)).plan = *plan;
    }
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S * 2);
    assert_eq!(state_of(&world, "1001"), AgentState::Talking);
    (world, session)
}

pub(super) fn ask(world: &mut World, agent: &str, command: Command) -> Result<(), NackCode> {
    let id = world.command(ACME, agent, command);
    world.replies[&id].clone().map_err(|nack| nack.code)
}

pub(super) fn to_agent(agent: &str) -> To {
    To::Agent { agent: agent.into() }
}

pub(super) fn to_number(number: &str) -> To {
    To::Number { number: Pii::new(number.to_owned()) }
}

pub(super) fn to_queue(queue: &str) -> To {
    To::Queue { queue: queue.into() }
}

pub(super) fn states(world: &World) -> Vec<AgentState> {
    world.live(ACME).agents.iter().map(|agent| agent.state).collect()
}

/// Two hear each other and nobody else does anything.
pub(super) fn joined(world: &World) -> usize {
    world.legs.values().filter(|leg| !leg.hears.is_empty()).count()
}

#[test]
fn a_call_goes_to_another_queue_and_its_agent_talks_with_the_caller() {
    let (mut world, session) = talking_in(&two_queues(2), &[]);
    let call_id = call_id(&world);
    world.phone(agent_phone(2)).plan = answers(3_000);
    assert_eq!(ask(&mut world, "1001", Command::Transfer { call_id, to: to_queue("general") }), Ok(()));
    assert_eq!(states(&world), [AgentState::Ready, AgentState::Offered]);
    world.run_for(S);
    assert!(playing(&world).contains("music/default"), "{}", playing(&world));
    assert_eq!((world.live(ACME).calls[0].id, joined(&world)), (call_id, 0));
    world.run_for(S * 3);
    assert_eq!((states(&world), joined(&world)), (vec![AgentState::Ready, AgentState::Talking], 2));
    assert_eq!(playing(&world), "");
    world.run_for(S * 5);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    let record = only_record(&world);
    assert_eq!((record.outcome, record.agent.as_ref().map(|a| a.as_str())), (Outcome::Answered, Some("1002")));
    let kinds: Vec<SegmentKind> = record.segments.iter().map(|segment| segment.kind).collect();
    let each = [SegmentKind::Queue, SegmentKind::Ringing, SegmentKind::Talk];
    assert_eq!(kinds, [each, each].concat());
    // 1.9 s and 6 s of talk; what lies between is neither.
    assert!((7_700..8_100).contains(&record.talk_ms), "{}", record.talk_ms);
    let recordings = world.facts.iter().filter(|(_, fact)| matches!(fact, Fact::RecordingStarted { .. })).count();
    assert_eq!(recordings, 1, "one recording covers both");
    let talks = world.facts.iter().filter(|(_, fact)| matches!(fact, Fact::TalkEnded { .. })).count();
    assert_eq!(talks, 2);
    assert_clean(&mut world);
}

#[test]
fn one_agent_who_takes_it_has_it_and_one_who_does_not_brings_the_caller_back() {
    for plan in [answers(50), Plan::Refuse { code: 486, after: MS * 50 }, Plan::Ring] {
        let (mut world, session) = talking_in(&two_queues(2), &[(2, plan)]);
        let call_id = call_id(&world);
        assert_eq!(ask(&mut world, "1001", Command::Transfer { call_id, to: to_agent("1002") }), Ok(()));
        world.run_for(S * 20);
        assert_eq!(joined(&world), 2, "{plan:?}");
        let talks = if plan == answers(50) { "1002" } else { "1001" };
        assert_eq!(state_of(&world, talks), AgentState::Talking, "{plan:?}");
        let left: Vec<_> = world
            .facts
            .iter()
            .filter_map(|(_, fact)| match fact {
                Fact::QueueLeft { queue, how, .. } => Some((queue.to_string(), how.clone())),
                _ => None,
            })
            .collect();
        if talks == "1001" {
            assert!(
                matches!(&left[1], (queue, QueueLeave::Overflowed { why, .. })
                if queue == "general" && why == "transfer_refused"),
                "{left:?}"
            );
        }
        hang_up(&mut world, carrier(), session);
        world.run_for(S);
        assert_eq!(only_record(&world).outcome, Outcome::Answered);
        assert_clean(&mut world);
    }
}

#[test]
fn an_outside_number_gets_the_caller_or_they_come_back() {
    for (plan, is_joined) in
        [(answers(2_000), true), (Plan::Refuse { code: 486, after: S }, false), (Plan::Ring, false)]
    {
        let (mut world, session) = talking_in(&two_queues(2), &[]);
        let outside = world.add_phone(TRUNK, plan);
        let call_id = call_id(&world);
        assert_eq!(ask(&mut world, "1001", Command::Transfer { call_id, to: to_number("13900139000") }), Ok(()));
        world.run_for(MS * 500);
        assert_eq!(
            (state_of(&world, "1001"), world.live(ACME).calls[0].state),
            (AgentState::Ready, CallState::Dialing)
        );
        assert!(playing(&world).contains("music/default"));
        world.crash(MS * 100);
        assert!(playing(&world).contains("music/default"), "it rings on after a restart");
        world.run_for(S * 31);
        assert_eq!((joined(&world), playing(&world)), (2, String::new()), "{plan:?}");
        assert_eq!(state_of(&world, "1001") == AgentState::Talking, !is_joined, "{plan:?}");
        if is_joined {
            assert_eq!(world.live(ACME).calls[0].state, CallState::Talking);
            world.crash(S);
            assert_eq!(joined(&world), 2, "they talk on");
            let theirs = world.phone(outside).sessions()[0];
            hang_up(&mut world, outside, theirs);
        } else {
            hang_up(&mut world, carrier(), session);
        }
        world.run_for(S);
        let record = only_record(&world);
        assert_eq!(record.outcome, Outcome::Answered);
        assert!(record.legs.iter().any(|leg| leg.role == LegRole::Outside), "{:?}", record.legs);
        assert_clean(&mut world);
    }
}

#[test]
fn a_caller_who_goes_while_the_number_rings_ends_the_call() {
    let (mut world, session) = talking_in(&two_queues(2), &[]);
    let outside = world.add_phone(TRUNK, Plan::Ring);
    let call_id = call_id(&world);
    assert_eq!(ask(&mut world, "1001", Command::Transfer { call_id, to: to_number("13900139000") }), Ok(()));
    world.run_for(S);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    assert!(seen(&mut world, outside).iter().any(|seen| matches!(seen, Seen::Cancelled { .. })));
    assert_eq!(only_record(&world).cause, "caller_hangup");
    assert_clean(&mut world);
}

#[test]
fn what_can_not_be_is_refused_and_the_talk_goes_on() {
    let mut file = two_queues(3);
    agent_mut(&mut file, 2)["always_ready"] = json!(false);
    let (mut world, session) = talking_in(&file, &[]);
    let call_id = call_id(&world);
    let cases = [
        (to_queue("nobody"), NackCode::WrongState),
        (to_agent("1001"), NackCode::WrongState),
        (to_agent("9999"), NackCode::WrongState),
        // At no desk.
        (to_agent("1002"), NackCode::Busy),
        (To::Ivr { ivr: "main".into(), node: None }, NackCode::WrongState),
        // No prefix allows it; an emergency number.
        (to_number("+49 30 901820"), NackCode::Forbidden),
        (to_number("110"), NackCode::Forbidden),
    ];
    for (to, code) in cases {
        assert_eq!(ask(&mut world, "1001", Command::Transfer { call_id, to: to.clone() }), Err(code), "{to:?}");
    }
    assert_eq!(ask(&mut world, "1003", Command::Transfer { call_id, to: to_agent("1001") }), Err(NackCode::NotYours));
    assert_eq!((joined(&world), state_of(&world, "1001")), (2, AgentState::Talking));
    hang_up(&mut world, carrier(), session);
    assert_clean(&mut world);
}

#[test]
fn a_menu_takes_the_caller() {
    let mut file = super::menu::menu_file(1);
    file["queue"][0]["wrapup_s"] = json!(0);
    let mut world = world_with(&file, answers(50), Settings::default());
    ring_in(&mut world, "13800138000");
    world.run_for(S * 3);
    super::menu::press(&mut world, '2');
    world.run_for(S);
    assert_eq!(state_of(&world, "1001"), AgentState::Talking);
    let call_id = call_id(&world);
    let to = To::Ivr { ivr: "main".into(), node: None };
    assert_eq!(ask(&mut world, "1001", Command::Transfer { call_id, to }), Ok(()));
    world.run_for(MS * 100);
    assert!(playing(&world).contains("zh-CN/"), "{}", playing(&world));
    assert_eq!((state_of(&world, "1001"), world.live(ACME).calls[0].state), (AgentState::Ready, CallState::Ivr));
}

#[test]
fn a_caller_who_waits_after_a_transfer_is_taken_up_by_a_restart() {
    let mut file = two_queues(2);
    agent_mut(&mut file, 2)["always_ready"] = json!(false);
    let (mut world, session) = talking_in(&file, &[]);
    let call_id = call_id(&world);
    let id = world.command(ACME, "1001", Command::Transfer { call_id, to: to_queue("general") });
    assert_eq!(world.replies[&id], Ok(()));
    world.run_for(S);
    world.crash(S);
    assert!(playing(&world).contains("music/default"));
    assert_eq!(world.recordings.len(), 1, "its recording goes on");
    go_ready(&mut world, "1002");
    world.run_for(S);
    assert_eq!((state_of(&world, "1002"), joined(&world)), (AgentState::Talking, 2));
    let sides: Vec<usize> = world.sides.values().map(Vec::len).collect();
    assert_eq!(sides, [1, 1]);
    hang_up(&mut world, carrier(), session);
    assert_clean(&mut world);
}

#[test]
fn a_phones_transfer_button_hands_the_call_on_under_the_same_rules() {
    let (mut world, session) = talking_in(&two_queues(2), &[]);
    let theirs = world.phone(agent_phone(1)).sessions()[0];
    let refer = |world: &mut World, user: &str| {
        let uri = format!("sip:{user}@{SWITCH}");
        world.with_phone(agent_phone(1), |phone, now| phone.refer(now, theirs, &uri));
        world.run_for(S);
        seen(world, agent_phone(1)).iter().filter(|seen| matches!(seen, Seen::Referred { .. })).count()
    };
    for refused in ["9999", "+4930901820", "110"] {
        assert_eq!((refer(&mut world, refused), joined(&world)), (0, 2), "{refused}");
    }
    // The customer's side may not, whoever they name.
    world.with_phone(carrier(), |phone, now| phone.refer(now, session, &format!("sip:1002@{SWITCH}")));
    world.run_for(S);
    assert_eq!(state_of(&world, "1001"), AgentState::Talking);
    assert_eq!(refer(&mut world, "1002"), 1);
    assert_eq!((states(&world), joined(&world)), (vec![AgentState::Ready, AgentState::Talking], 2));
    hang_up(&mut world, carrier(), session);
    assert_clean(&mut world);
}
