//! Wrap-up as the queue has it, and how many misses are a break.

use super::*;

fn after_a_talk(file: &Value) -> World {
    let mut world = world_with(file, Plan::Answer { after: MS * 50, talk: Some(S) }, Settings::default());
    go_ready(&mut world, "1001");
    ring_in(&mut world, &caller(0));
    world.run_for(S * 3);
    world
}

#[test]
fn wrapup_lasts_as_long_as_the_queue_says() {
    let mut file = desk_file(1);
    file["queue"][0]["wrapup_s"] = json!(30);
    for (mode, after_29_s, after_31_s) in [
        ("fixed", AgentState::Wrapup, AgentState::Ready),
        ("until_done", AgentState::Wrapup, AgentState::Wrapup),
        ("none", AgentState::Ready, AgentState::Ready),
    ] {
        file["queue"][0]["wrapup"] = json!(mode);
        let mut world = after_a_talk(&file);
        world.run_for(S * 26);
        assert_eq!(state_of(&world, "1001"), after_29_s, "{mode}");
        world.run_for(S * 4);
        assert_eq!(state_of(&world, "1001"), after_31_s, "{mode}");
    }
}

#[test]
fn a_wrapup_without_an_end_ends_with_the_agent_or_their_desk() {
    let mut file = desk_file(1);
    file["queue"][0]["wrapup"] = json!("until_done");
    let mut world = after_a_talk(&file);
    let call_id = only_record(&world).id;
    let extend = world.command(ACME, "1001", Command::ExtendWrapup { call_id });
    assert!(world.replies[&extend].is_err(), "there is nothing to extend");
    world.run_for(S * 4_000);
    world.command(ACME, "1001", Command::FinishWrapup { call_id, disposition: None });
    assert_eq!(state_of(&world, "1001"), AgentState::Ready);
    assert_clean(&mut world);

    let mut world = after_a_talk(&file);
    world.desk_leaves(ACME, "1001");
    world.run_for(S * 30);
    assert_eq!(state_of(&world, "1001"), AgentState::Offline);
    assert_clean(&mut world);
}

#[test]
fn so_many_misses_as_the_queue_says_are_a_break() {
    let mut file = file(1);
    file["queue"][0]["misses_max"] = json!(3);
    let mut world = world_with(&file, Plan::Ring, Settings::default());
    ring_in(&mut world, &caller(0));
    world.run_for(S * 15 * 2 + S * 12);
    assert_ne!(state_of(&world, "1001"), AgentState::Break);
    world.run_for(S * 20);
    assert_eq!(state_of(&world, "1001"), AgentState::Break);
}
