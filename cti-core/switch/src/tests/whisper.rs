//! What an agent hears before the caller is joined, and phones that answer by themselves.

use super::*;
use cti_media::MediaCommand;

fn agent_plays(world: &World) -> Vec<String> {
    let leg = world.engine.calls.values().next().and_then(|call| call.talking()).map(|talking| talking.leg.id);
    let plays = world.media.iter().filter_map(|(_, command)| match command {
        MediaCommand::Play { leg: of, audio, .. } if Some(*of) == leg => Some(format!("{audio:?}")),
        _ => None,
    });
    plays.collect()
}

fn bridged(world: &World) -> usize {
    world.legs.values().filter(|leg| !leg.hears.is_empty()).count()
}

#[test]
fn the_agent_hears_whose_caller_it_is_and_then_the_caller() {
    let mut file = desk_file(1);
    file["queue"][0]["whisper"] = json!({"prompts": ["welcome"], "wait": true});
    let mut world = world_with(&file, answers(100), Settings::default());
    let session = ring_in(&mut world, &caller(0));
    world.run_for(S * 130);
    go_ready(&mut world, "1001");
    assert!(world.run_until(S * 2, |world| state_of(world, "1001") == AgentState::Talking));
    assert_eq!(bridged(&world), 0);
    let heard = agent_plays(&world);
    assert!(heard.len() == 1 && heard[0].contains("welcome") && heard[0].contains("minutes"), "{heard:?}");
    assert!(playing(&world).contains("music") || world.legs.values().any(|leg| leg.playing.is_some()));
    world.run_for(S * 4);
    assert_eq!(bridged(&world), 2);
    hang_up(&mut world, carrier(), session);
    assert_clean(&mut world);
}

#[test]
fn a_phone_is_asked_to_answer_by_itself_and_a_tone_comes_first() {
    let mut file = file(1);
    file["queue"][0]["auto_answer"] = json!(true);
    let mut world = world_with(&file, Plan::Ring, Settings::default());
    let session = ring_in(&mut world, &caller(0));
    world.run_for(MS * 20);
    assert!(world.offers[0].2.auto_answer);
    assert!(
        world.run_until(S * 2, |world| state_of(world, "1001") == AgentState::Talking),
        "asked to talk, it answers"
    );
    let heard = agent_plays(&world);
    assert!(heard.len() == 1 && heard[0].contains("Tone"), "{heard:?}");
    world.run_for(S * 2);
    assert_eq!(bridged(&world), 2);
    hang_up(&mut world, carrier(), session);
    assert_clean(&mut world);
}

#[test]
fn hold_a_crash_and_a_hangup_during_the_whisper_leave_nothing_behind() {
    let mut file = file(1);
    file["queue"][0]["whisper"] = json!({"prompts": ["welcome"]});
    let settings = Settings { prompt: S * 10, snapshot_every: 3, ..Settings::default() };
    for what in 0..4 {
        let mut world = world_with(&file, answers(100), settings.clone());
        world.desk_connects(ACME, "1001");
        let session = ring_in(&mut world, &caller(0));
        assert!(world.run_until(S * 2, |world| state_of(world, "1001") == AgentState::Talking));
        let call_id = call_id(&world);
        match what {
            0 => {
                world.command(ACME, "1001", Command::Hold { call_id });
                assert_eq!(bridged(&world), 0);
                world.command(ACME, "1001", Command::Retrieve { call_id });
                assert_eq!(bridged(&world), 2);
            }
            1 => {
                world.crash(S);
                assert_eq!(bridged(&world), 2);
            }
            2 => {
                world.command(ACME, "1001", Command::Hangup { call_id });
            }
            _ => world.run_for(S * 12),
        }
        hang_up(&mut world, carrier(), session);
        assert_clean(&mut world);
    }
}
