//! Somebody is asked while the customer hears music; whatever comes of it, the customer can be retrieved.

use super::transfer::*;
use super::*;
use crate::desk::{CallState, Event, NackCode, PartyState};
use crate::fact::{LegRole, Outcome};

const TALKING: AgentState = AgentState::Talking;

/// 1001 talks with the caller and has consulted this one, who has had a second.
fn consulting(plan: Plan) -> (World, SessionId, cti_base::CallId) {
    let mut file = two_queues(3);
    agent_mut(&mut file, 2)["queues"] = json!(["general"]);
    let (mut world, session) = talking_in(&file, &[(2, plan)]);
    let call_id = call_id(&world);
    assert_eq!(ask(&mut world, "1001", Command::Consult { call_id, to: to_agent("1002") }), Ok(()));
    world.run_for(S);
    (world, session, call_id)
}

/// What the caller hears: music, or so many.
fn caller_hears(world: &World) -> Result<usize, String> {
    let customer = world.engine.calls.values().next().expect("a call").customer.id;
    let leg = &world.legs[&customer];
    match &leg.playing {
        Some((_, names, _)) => Err(names.join(" ")),
        None => Ok(leg.hears.len()),
    }
}

fn hears_music(world: &World) -> bool {
    caller_hears(world).is_err_and(|music| music.contains("music/"))
}

fn call_state(world: &World) -> CallState {
    world.live(ACME).calls[0].state
}

#[test]
fn a_colleague_is_consulted_swapped_with_and_cancelled() {
    let (mut world, session, call_id) = consulting(answers(50));
    assert_eq!(
        (states(&world), call_state(&world)),
        (vec![TALKING, TALKING, AgentState::Ready], CallState::Consulting)
    );
    assert!(hears_music(&world));
    assert_eq!(joined(&world), 2, "the two agents hear each other");
    assert_eq!(ask(&mut world, "1001", Command::Swap { call_id }), Ok(()));
    assert_eq!((caller_hears(&world), joined(&world)), (Ok(1), 2));
    assert!(playing(&world).contains("music/"), "who is consulted hears it now");
    assert_eq!(ask(&mut world, "1001", Command::Swap { call_id }), Ok(()));
    assert!(hears_music(&world));
    assert_eq!(ask(&mut world, "1001", Command::Retrieve { call_id }), Err(NackCode::WrongState));
    world.crash(MS * 300);
    assert!(hears_music(&world) && joined(&world) == 2, "all as it was after a restart");
    assert_eq!(ask(&mut world, "1002", Command::Swap { call_id }), Err(NackCode::NotYours));
    assert_eq!(ask(&mut world, "1001", Command::CancelConsult { call_id }), Ok(()));
    world.run_for(S);
    assert_eq!(
        (states(&world), call_state(&world)),
        (vec![TALKING, AgentState::Ready, AgentState::Ready], CallState::Talking)
    );
    assert_eq!((caller_hears(&world), playing(&world)), (Ok(1), String::new()));
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    let record = only_record(&world);
    assert!((1_200..1_400).contains(&record.hold_ms), "{}", record.hold_ms);
    assert_eq!(record.agent.as_ref().map(|agent| agent.as_str()), Some("1001"));
    assert_eq!(record.legs.len(), 3);
    assert_clean(&mut world);
}

#[test]
fn completed_the_caller_is_the_colleagues() {
    let (mut world, session, call_id) = consulting(answers(50));
    assert_eq!(ask(&mut world, "1001", Command::Complete { call_id }), Ok(()));
    assert_eq!(
        (states(&world), call_state(&world)),
        (vec![AgentState::Ready, TALKING, AgentState::Ready], CallState::Talking)
    );
    assert_eq!((caller_hears(&world), joined(&world)), (Ok(1), 2));
    let sides: Vec<usize> = world.sides.values().map(Vec::len).collect();
    assert_eq!(sides, [1, 1]);
    assert_eq!(ask(&mut world, "1002", Command::Hold { call_id }), Ok(()), "it is theirs");
    assert!(hears_music(&world));
    assert_eq!(ask(&mut world, "1002", Command::Retrieve { call_id }), Ok(()));
    world.run_for(S * 4);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    let record = only_record(&world);
    assert_eq!(record.agent.as_ref().map(|agent| agent.as_str()), Some("1002"));
    let started = world.facts.iter().filter(|(_, fact)| matches!(fact, Fact::RecordingStarted { .. })).count();
    assert_eq!((record.outcome, started), (Outcome::Answered, 1));
    let talked: u64 = world
        .facts
        .iter()
        .map(|(_, fact)| match fact {
            Fact::TalkEnded { talk_ms, .. } => *talk_ms,
            _ => 0,
        })
        .sum();
    assert_eq!(talked, record.talk_ms);
    assert_clean(&mut world);
}

#[test]
fn who_refuses_is_silent_or_goes_leaves_the_caller_on_hold_to_be_retrieved() {
    let refuses = Plan::Refuse { code: 486, after: MS * 100 };
    let leaves = Plan::Answer { after: MS * 50, talk: Some(S * 2) };
    for plan in [refuses, Plan::Ring, leaves] {
        let (mut world, session, call_id) = consulting(plan);
        world.run_for(S * 35);
        assert_eq!((state_of(&world, "1001"), call_state(&world)), (TALKING, CallState::Held), "{plan:?}");
        assert!(hears_music(&world), "{plan:?}");
        assert_eq!(state_of(&world, "1002"), AgentState::Ready, "{plan:?}");
        assert_eq!(ask(&mut world, "1001", Command::Retrieve { call_id }), Ok(()), "{plan:?}");
        assert_eq!((caller_hears(&world), call_state(&world)), (Ok(1), CallState::Talking), "{plan:?}");
        hang_up(&mut world, carrier(), session);
        assert_clean(&mut world);
    }
}

#[test]
fn an_agents_phone_that_hangs_up_completes_or_brings_the_caller_back() {
    for plan in [answers(50), Plan::Ring] {
        let (mut world, session, _) = consulting(plan);
        let theirs = world.phone(agent_phone(1)).sessions()[0];
        hang_up(&mut world, agent_phone(1), theirs);
        world.run_for(S);
        if plan == Plan::Ring {
            // Back in the queue, whose only free agent is the same.
            assert_eq!((states(&world)[0], caller_hears(&world)), (TALKING, Ok(1)));
        } else {
            assert_eq!((states(&world)[1], caller_hears(&world)), (TALKING, Ok(1)));
        }
        hang_up(&mut world, carrier(), session);
        world.run_for(S);
        assert_eq!(only_record(&world).outcome, Outcome::Answered, "the caller was never dropped");
        assert_clean(&mut world);
    }
}

#[test]
fn a_caller_who_goes_ends_it_for_all() {
    for after in [MS * 100, S * 3] {
        let (mut world, session, _) = consulting(answers(1_500));
        world.run_for(after);
        hang_up(&mut world, carrier(), session);
        world.run_for(S);
        assert_eq!(states(&world), [AgentState::Ready; 3]);
        assert_eq!(only_record(&world).cause, "caller_hangup");
        assert_clean(&mut world);
    }
}

#[test]
fn an_outside_number_is_consulted_and_gets_the_call() {
    let (mut world, session) = talking_in(&two_queues(2), &[]);
    let outside = world.add_phone(TRUNK, answers(100));
    let call_id = call_id(&world);
    assert_eq!(ask(&mut world, "1001", Command::Consult { call_id, to: to_number("13900139000") }), Ok(()));
    assert_eq!(ask(&mut world, "1001", Command::Complete { call_id }), Err(NackCode::WrongState), "it rings");
    world.run_for(S);
    assert!(hears_music(&world));
    assert_eq!(ask(&mut world, "1001", Command::Complete { call_id }), Ok(()));
    assert_eq!((state_of(&world, "1001"), caller_hears(&world)), (AgentState::Ready, Ok(1)));
    world.run_for(S * 2);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    assert!(seen(&mut world, outside).iter().any(|seen| matches!(seen, Seen::Ended { .. })));
    assert!(only_record(&world).legs.iter().any(|leg| leg.role == LegRole::Outside));
    assert_clean(&mut world);
}

#[test]
fn four_talk_together_and_go_one_by_one() {
    let (mut world, session, call_id) = consulting(answers(50));
    let outside = world.add_phone(TRUNK, answers(50));
    assert_eq!(ask(&mut world, "1001", Command::Conference { call_id }), Ok(()));
    assert_eq!((caller_hears(&world), call_state(&world)), (Ok(2), CallState::Conference));
    assert_eq!(ask(&mut world, "1001", Command::Consult { call_id, to: to_number("13900139000") }), Ok(()));
    world.run_for(S);
    assert_eq!(caller_hears(&world), Ok(1), "the customer and the colleague go on meanwhile");
    assert_eq!(ask(&mut world, "1001", Command::Conference { call_id }), Ok(()));
    assert!(world.legs.values().all(|leg| leg.hears.len() == 3), "{:?}", world.legs);
    let sides: Vec<usize> = world.sides.values().map(Vec::len).collect();
    assert_eq!(sides, [1, 3], "all of them are recorded");
    world.crash(MS * 500);
    assert!(world.legs.values().all(|leg| leg.hears.len() == 3), "{:?}", world.legs);
    // The colleague is muted, then leaves; the agent leaves the customer to the number.
    assert_eq!(ask(&mut world, "1002", Command::Mute { call_id }), Ok(()));
    assert_eq!(world.legs.values().filter(|leg| leg.muted).count(), 1);
    assert_eq!(ask(&mut world, "1002", Command::Hangup { call_id }), Ok(()));
    assert_eq!((states(&world), caller_hears(&world)), (vec![TALKING, AgentState::Ready, AgentState::Ready], Ok(2)));
    assert_eq!(ask(&mut world, "1001", Command::Hangup { call_id }), Ok(()));
    assert_eq!((states(&world), caller_hears(&world)), (vec![AgentState::Ready; 3], Ok(1)));
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    assert!(seen(&mut world, outside).iter().any(|seen| matches!(seen, Seen::Ended { .. })));
    assert_clean(&mut world);
}

#[test]
fn the_desks_are_told_who_is_on_the_call() {
    let mut file = two_queues(3);
    for n in 1..=2 {
        agent_mut(&mut file, n)["always_ready"] = json!(false);
    }
    let mut world = world_with(&file, answers(50), Settings::default());
    go_ready(&mut world, "1001");
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S);
    go_ready(&mut world, "1002");
    let call_id = call_id(&world);
    assert_eq!(ask(&mut world, "1001", Command::Consult { call_id, to: to_agent("1002") }), Ok(()));
    let view = |world: &World, agent: &str| {
        let views = world.desk.iter().rev().filter(|(_, name, _)| name.as_str() == agent);
        views
            .filter_map(|(_, _, event)| match event {
                Event::CallParties(view) | Event::CallConnected(view) | Event::CallEnded(view) => {
                    Some((**view).clone())
                }
                _ => None,
            })
            .next()
            .expect("a view")
    };
    let states = |world: &World, agent: &str| -> Vec<PartyState> {
        view(world, agent).parties.iter().map(|party| party.state).collect()
    };
    assert_eq!(states(&world, "1001"), [PartyState::Held, PartyState::Talking, PartyState::Ringing]);
    let (_, _, offer) = world.offers.last().expect("an offer");
    assert_eq!(offer.joining.as_ref().and_then(|joining| joining.by.as_ref()).map(|by| by.as_str()), Some("1001"));
    world.run_for(S);
    assert_eq!(states(&world, "1001"), [PartyState::Held, PartyState::Talking, PartyState::Talking]);
    assert!(view(&world, "1001").leads && view(&world, "1001").aside);
    assert!(!view(&world, "1002").leads, "it is not theirs");
    world.command(ACME, "1001", Command::Complete { call_id });
    assert!(view(&world, "1002").leads);
    assert_eq!(view(&world, "1001").state, CallState::Ended);
    hang_up(&mut world, carrier(), session);
    assert_clean(&mut world);
}

#[test]
fn nobody_is_consulted_who_is_busy_and_no_more_than_eight_are_on_a_call() {
    let mut file = two_queues(10);
    for n in 2..=10 {
        agent_mut(&mut file, n)["queues"] = json!(["general"]);
    }
    let (mut world, session) = talking_in(&file, &[]);
    let call_id = call_id(&world);
    let consult = |n: usize| Command::Consult { call_id, to: to_agent(&(1000 + n).to_string()) };
    for n in 2..=7 {
        assert_eq!(ask(&mut world, "1001", consult(n)), Ok(()), "{n}");
        world.run_for(S);
        assert_eq!(ask(&mut world, "1001", consult(n + 1)), Err(NackCode::WrongState), "one at a time");
        assert_eq!(ask(&mut world, "1001", Command::Conference { call_id }), Ok(()), "{n}");
    }
    assert_eq!(ask(&mut world, "1001", consult(2)), Err(NackCode::Busy));
    assert_eq!(ask(&mut world, "1001", consult(8)), Err(NackCode::Busy), "eight are on it");
    hang_up(&mut world, carrier(), session);
    assert_clean(&mut world);
}
