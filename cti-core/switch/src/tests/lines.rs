//! An agent's phone with two lines: it asks somebody by the second and joins the two by REFER with Replaces; and another
//! phone that takes a call over.

use cti_media::Direction;

use super::transfer::*;
use super::*;
use crate::desk::CallState;
use crate::fact::Outcome;

const TALKING: AgentState = AgentState::Talking;
const READY: AgentState = AgentState::Ready;

/// 1001 talks with the caller, holds them, and has dialled this by the other line; both lines.
fn asking(user: &str, plan: Plan) -> (World, SessionId, [SessionId; 2]) {
    let mut file = two_queues(3);
    agent_mut(&mut file, 2)["queues"] = json!(["general"]);
    let (mut world, session) = talking_in(&file, &[(2, plan)]);
    let first = world.phone(agent_phone(1)).sessions()[0];
    world.with_phone(agent_phone(1), |phone, now| phone.offer_direction(now, first, Direction::SendOnly));
    world.run_for(S);
    let second = dial(&mut world, 1, user);
    world.run_for(S);
    (world, session, [first, second])
}

fn dial(world: &mut World, n: usize, user: &str) -> SessionId {
    world.with_phone(agent_phone(n), |phone, now| {
        phone.dial(now, &format!("sip:{user}@{SWITCH}"), &(1000 + n).to_string(), Codec::Pcma, None)
    })
}

/// The phone refers one line to the other; whether that was taken.
fn refer(world: &mut World, [from, to]: [SessionId; 2]) -> bool {
    let count = |world: &mut World| {
        seen(world, agent_phone(1)).iter().filter(|seen| matches!(seen, Seen::Referred { .. })).count()
    };
    let before = count(world);
    world.with_phone(agent_phone(1), |phone, now| {
        let replaces = phone.replaces(to).replace('@', "%40").replace(';', "%3B").replace('=', "%3D");
        phone.refer(now, from, &format!("sip:1002@{SWITCH}?Replaces={replaces}"));
    });
    world.run_for(S);
    count(world) > before
}

fn answered(world: &mut World, session: SessionId) -> bool {
    seen(world, agent_phone(1)).contains(&Seen::Answered { session })
}

fn hears_music(world: &World) -> bool {
    let customer = world.engine.calls.values().next().expect("a call").customer.id;
    world.legs[&customer].playing.as_ref().is_some_and(|(_, names, _)| names.join("").contains("music/"))
}

#[test]
fn who_was_asked_by_the_second_line_gets_the_customer_by_a_refer_of_either_line() {
    for turned in [false, true] {
        let (mut world, session, mut lines) = asking("1002", answers(50));
        assert!(answered(&mut world, lines[1]));
        assert_eq!(
            (states(&world), world.live(ACME).calls[0].state),
            (vec![TALKING, TALKING, READY], CallState::Consulting)
        );
        assert!(hears_music(&world));
        assert_eq!(joined(&world), 2, "the second line and who is consulted");
        world.crash(MS * 300);
        assert!(hears_music(&world) && joined(&world) == 2, "all as it was after a restart");
        if turned {
            lines.reverse();
        }
        assert!(refer(&mut world, lines));
        assert_eq!((states(&world), joined(&world)), (vec![READY, TALKING, READY], 2));
        assert_eq!((playing(&world), world.phone(agent_phone(1)).sessions().len()), (String::new(), 0));
        hang_up(&mut world, carrier(), session);
        world.run_for(S);
        let record = only_record(&world);
        assert_eq!(record.agent.as_ref().map(|agent| agent.as_str()), Some("1002"));
        assert_eq!((record.outcome, record.legs.len()), (Outcome::Answered, 4));
        assert_clean(&mut world);
    }
}

#[test]
fn the_phone_goes_from_line_to_line_and_hangs_either_up() {
    let (mut world, session, [first, second]) = asking("1002", answers(50));
    let turn = |world: &mut World, to: SessionId, from: SessionId| {
        world.with_phone(agent_phone(1), |phone, now| phone.offer_direction(now, from, Direction::SendOnly));
        world.run_for(S);
        world.with_phone(agent_phone(1), |phone, now| phone.offer_direction(now, to, Direction::SendRecv));
        world.run_for(S);
    };
    turn(&mut world, first, second);
    assert!(!hears_music(&world));
    assert_eq!(joined(&world), 2, "the customer and the first line");
    turn(&mut world, second, first);
    assert!(hears_music(&world));
    assert_eq!(joined(&world), 2);
    hang_up(&mut world, agent_phone(1), second);
    world.run_for(S);
    assert_eq!((states(&world), hears_music(&world)), (vec![TALKING, READY, READY], true));
    world.with_phone(agent_phone(1), |phone, now| phone.offer_direction(now, first, Direction::SendRecv));
    world.run_for(S);
    assert_eq!((joined(&world), hears_music(&world)), (2, false));
    hang_up(&mut world, carrier(), session);
    assert_clean(&mut world);
}

#[test]
fn who_does_not_answer_or_hangs_up_takes_the_second_line_along() {
    let (mut world, session, lines) = asking("1002", Plan::Ring);
    assert!(!refer(&mut world, lines), "nobody is there to be referred to");
    assert_eq!(states(&world), [TALKING, AgentState::Offered, READY]);
    world.run_for(S * 60);
    assert_eq!((states(&world)[0], world.phone(agent_phone(1)).sessions().len()), (TALKING, 1));
    hang_up(&mut world, carrier(), session);
    assert_clean(&mut world);
    // A number is asked in the same way, where it may be dialled.
    let (mut world, session, lines) = asking("13900139000", answers(50));
    world.phone(carrier()).plan = answers(10);
    assert!(answered(&mut world, lines[1]));
    let (mut other, _, lines) = asking("+4930901820", answers(50));
    assert!(seen(&mut other, agent_phone(1)).contains(&Seen::Failed { session: lines[1], code: 403 }));
    hang_up(&mut world, carrier(), session);
    assert_clean(&mut world);
}

#[test]
fn a_phone_that_has_no_call_dials_one_of_its_own_and_nobody_comes_in_as_another() {
    let (mut world, session) = talking_in(&two_queues(2), &[]);
    let own = dial(&mut world, 2, "1001");
    world.run_for(S);
    // Of two calls one waits, for 1001 alone.
    assert_eq!((world.live(ACME).calls.len(), states(&world)[1]), (2, READY));
    hang_up(&mut world, agent_phone(2), own);
    world.run_for(S);
    // 1002's phone is not 1001's, whatever From says.
    let forged = world.with_phone(agent_phone(2), |phone, now| {
        phone.dial(now, &format!("sip:1002@{SWITCH}"), "1001", Codec::Pcma, None)
    });
    world.run_for(S);
    assert!(seen(&mut world, agent_phone(2)).contains(&Seen::Failed { session: forged, code: 403 }));
    hang_up(&mut world, carrier(), session);
    assert_clean(&mut world);
}

#[test]
fn another_agents_phone_takes_the_call_over() {
    let (mut world, session) = talking_in(&two_queues(2), &[]);
    let theirs = world.phone(agent_phone(1)).sessions()[0];
    let replaces = world.phone(agent_phone(1)).replaces(theirs);
    let take = |world: &mut World, from: &str, replaces: &str| {
        let replaces = replaces.to_owned();
        let session = world.with_phone(agent_phone(2), |phone, now| {
            phone.dial_replacing(now, &format!("sip:1001@{SWITCH}"), from, replaces)
        });
        world.run_for(S);
        session
    };
    let wrong = take(&mut world, "1002", "x;to-tag=1;from-tag=2");
    assert!(seen(&mut world, agent_phone(2)).contains(&Seen::Failed { session: wrong, code: 481 }));
    let early = take(&mut world, "1002", &format!("{replaces};early-only"));
    assert!(seen(&mut world, agent_phone(2)).contains(&Seen::Failed { session: early, code: 486 }));
    assert_eq!(joined(&world), 2);
    let taken = take(&mut world, "1002", &replaces);
    assert!(seen(&mut world, agent_phone(2)).contains(&Seen::Answered { session: taken }));
    assert_eq!((states(&world), joined(&world)), (vec![READY, TALKING], 2));
    assert_eq!(world.phone(agent_phone(1)).sessions().len(), 0);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    assert_eq!(only_record(&world).agent.as_ref().map(|agent| agent.as_str()), Some("1002"));
    assert_clean(&mut world);
}
