//! Supervisors listen, whisper and join in; each step is a fact for the audit.

use super::transfer::*;
use super::*;
use crate::desk::{Listen, NackCode};

/// 1001 talks; 1003 is a supervisor.
fn watched() -> (World, SessionId, cti_base::CallId) {
    let mut file = two_queues(3);
    agent_mut(&mut file, 3)["role"] = json!("supervisor");
    agent_mut(&mut file, 3)["queues"] = json!([]);
    let (world, session) = talking_in(&file, &[]);
    let call_id = call_id(&world);
    (world, session, call_id)
}

fn supervise(world: &mut World, agent: &str, call_id: cti_base::CallId, mode: Listen) -> Result<(), NackCode> {
    ask(world, agent, Command::Supervise { call_id, mode })
}

/// How many the caller, the agent and the supervisor hear.
fn hearing(world: &World) -> [usize; 3] {
    let call = world.engine.calls.values().next().expect("a call");
    let talking = call.talking().expect("talked on");
    let supervisor = talking.guests.first().and_then(|guest| guest.on()).expect("a supervisor").id;
    [call.customer.id, talking.leg.id, supervisor].map(|leg| world.legs[&leg].hears.len())
}

fn audited(world: &World) -> Vec<(String, Option<Listen>)> {
    let facts = world.facts.iter().filter_map(|(_, fact)| match fact {
        Fact::Supervised { supervisor, listen, .. } => Some((supervisor.to_string(), *listen)),
        _ => None,
    });
    facts.collect()
}

#[test]
fn a_supervisor_goes_from_listening_to_whispering_to_joining_in() {
    let (mut world, session, call_id) = watched();
    assert_eq!(supervise(&mut world, "1003", call_id, Listen::Monitor), Ok(()));
    assert_eq!(state_of(&world, "1003"), AgentState::Offered);
    world.run_for(S);
    assert_eq!((state_of(&world, "1003"), hearing(&world)), (AgentState::Talking, [1, 1, 2]));
    assert_eq!(supervise(&mut world, "1003", call_id, Listen::Whisper), Ok(()));
    assert_eq!(hearing(&world), [1, 2, 2]);
    let sides: Vec<usize> = world.sides.values().map(Vec::len).collect();
    assert_eq!(sides, [1, 1], "what is whispered is not recorded");
    world.crash(MS * 200);
    assert_eq!(hearing(&world), [1, 2, 2]);
    assert_eq!(supervise(&mut world, "1003", call_id, Listen::Barge), Ok(()));
    assert_eq!(hearing(&world), [2, 2, 2]);
    assert_eq!(supervise(&mut world, "1003", call_id, Listen::Monitor), Ok(()));
    assert_eq!(hearing(&world), [1, 1, 2]);
    assert_eq!(ask(&mut world, "1003", Command::Hangup { call_id }), Ok(()));
    world.run_for(S);
    assert_eq!((states(&world), joined(&world)), (vec![AgentState::Talking, AgentState::Ready, AgentState::Ready], 2));
    let modes = [Some(Listen::Monitor), Some(Listen::Whisper), Some(Listen::Barge), Some(Listen::Monitor), None];
    assert_eq!(audited(&world), modes.map(|mode| ("1003".to_owned(), mode)));
    hang_up(&mut world, carrier(), session);
    assert_clean(&mut world);
}

#[test]
fn only_supervisors_may_and_only_others_calls() {
    let (mut world, session, call_id) = watched();
    assert_eq!(supervise(&mut world, "1002", call_id, Listen::Monitor), Err(NackCode::Forbidden));
    assert_eq!(supervise(&mut world, "1001", call_id, Listen::Barge), Err(NackCode::Forbidden));
    assert_eq!(audited(&world), []);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    assert_eq!(supervise(&mut world, "1003", call_id, Listen::Monitor), Err(NackCode::WrongState));
    assert_clean(&mut world);
}

#[test]
fn a_supervisor_stays_through_hold_and_consultation_and_goes_with_the_call() {
    let (mut world, session, call_id) = watched();
    assert_eq!(supervise(&mut world, "1003", call_id, Listen::Monitor), Ok(()));
    world.run_for(S);
    assert_eq!(ask(&mut world, "1001", Command::Hold { call_id }), Ok(()));
    assert_eq!(hearing(&world), [0, 0, 1], "the agent alone");
    assert_eq!(ask(&mut world, "1001", Command::Retrieve { call_id }), Ok(()));
    assert_eq!(ask(&mut world, "1001", Command::Consult { call_id, to: to_agent("1002") }), Ok(()));
    world.run_for(S);
    assert_eq!(hearing(&world), [0, 1, 2], "the two who consult");
    assert_eq!(ask(&mut world, "1001", Command::Complete { call_id }), Ok(()));
    assert_eq!(hearing(&world), [1, 1, 2]);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    assert_eq!(states(&world), [AgentState::Ready; 3]);
    assert_eq!(audited(&world).last(), Some(&("1003".to_owned(), None)));
    assert_clean(&mut world);
}

#[test]
fn a_supervisors_phone_that_refuses_or_says_nothing_changes_nothing() {
    let (mut world, session, call_id) = watched();
    world.phone(agent_phone(3)).plan = Plan::Refuse { code: 486, after: MS * 50 };
    assert_eq!(supervise(&mut world, "1003", call_id, Listen::Monitor), Ok(()));
    world.run_for(S);
    assert_eq!((states(&world)[2], joined(&world)), (AgentState::Ready, 2));
    world.phone(agent_phone(3)).plan = answers(50);
    assert_eq!(supervise(&mut world, "1003", call_id, Listen::Monitor), Ok(()));
    world.run_for(S);
    let supervisor = world.engine.calls[&call_id].guests()[0].on().expect("on it").id;
    world.input(crate::Input::Media(cti_media::MediaEvent::Silent { leg: supervisor }));
    world.run_for(S);
    assert_eq!((states(&world)[2], joined(&world)), (AgentState::Ready, 2));
    hang_up(&mut world, carrier(), session);
    assert_clean(&mut world);
}
