use super::{Caller, SMALL};
use crate::{Happening, STEPS_MAX, shipped};

#[test]
fn a_caller_who_listens_and_presses_a_key_gets_there() {
    let mut caller = Caller::new(SMALL);
    assert_eq!(caller.enter(), "> hello, play welcome");
    assert_eq!(caller.played(), "> menu, play main_menu");
    assert_eq!(caller.played(), "wait 5");
    assert_eq!(caller.key('2'), "> office, > person, queue general");
    assert!(caller.walk.is_over());
    assert_eq!(caller.key('2') + &caller.played() + &caller.late(), "", "a walk that is over is over");
}

#[test]
fn a_key_interrupts_a_prompt() {
    let mut caller = Caller::new(SMALL);
    caller.enter();
    caller.played();
    assert_eq!(caller.key('2'), "stop, > office, > person, queue general");
}

#[test]
fn a_key_pressed_ahead_counts_for_the_next_menu() {
    let mut caller = Caller::new(SMALL);
    caller.enter();
    assert_eq!(caller.key('2'), "stop, > menu, > office, > person, queue general");
}

#[test]
fn keys_wait_for_a_prompt_that_must_be_heard() {
    let deaf = SMALL.replace("prompts = \"welcome\"", "prompts = \"welcome\"\nbarge_in = false");
    let mut caller = Caller::new(&deaf);
    caller.enter();
    assert_eq!(caller.key('1'), "");
    assert_eq!(caller.key('7'), "");
    assert_eq!(caller.played(), "> menu, > number, wait 3", "the menu takes the 1, the number begins with the 7");
    assert_eq!(caller.key('8') + &caller.key('9'), "wait 3wait 3");
    assert_eq!(caller.key('#'), "set serial=789, > person, queue general");
}

#[test]
fn keys_typed_ahead_without_end_are_bounded() {
    let deaf = SMALL.replace("prompts = \"welcome\"", "prompts = \"welcome\"\nbarge_in = false");
    let mut caller = Caller::new(&deaf);
    caller.enter();
    for _ in 0..1_000 {
        assert_eq!(caller.key('*'), "");
    }
    let stars = "> menu, ".repeat(crate::TYPED_AHEAD_MAX);
    assert_eq!(caller.played(), format!("{stars}> menu, play main_menu"));
}

#[test]
fn a_wrong_key_is_said_and_the_third_ends_the_call() {
    let mut caller = Caller::new(SMALL);
    caller.enter();
    caller.played();
    assert_eq!(caller.key('5'), "stop, play invalid main_menu");
    assert_eq!(caller.key('D'), "stop, play invalid main_menu");
    assert_eq!(caller.played(), "wait 5");
    assert_eq!(caller.key('7'), "> bye, play goodbye");
    assert_eq!(caller.key('1'), "", "it is too late");
    assert_eq!(caller.played(), "hangup");
}

#[test]
fn silence_is_asked_again_and_then_goes_to_a_person() {
    let mut caller = Caller::new(SMALL);
    caller.enter();
    caller.played();
    assert_eq!(caller.played(), "wait 5");
    assert_eq!(caller.late(), "play silence main_menu");
    assert_eq!(caller.played(), "wait 5");
    assert_eq!(caller.late(), "play silence main_menu");
    assert_eq!(caller.played(), "wait 5");
    assert_eq!(caller.late(), "> person, queue general");
}

#[test]
fn limits_begin_anew_when_the_menu_is_entered_again() {
    let mut caller = Caller::new(SMALL);
    caller.enter();
    caller.played();
    caller.key('5');
    caller.key('5');
    assert_eq!(caller.key('*'), "stop, > menu, play main_menu");
    assert_eq!(caller.key('5'), "stop, play invalid main_menu");
}

#[test]
fn another_language_is_spoken_from_there_on() {
    let mut caller = Caller::new(SMALL);
    caller.enter();
    caller.played();
    assert_eq!(caller.key('9'), "stop, > english, lang en, > menu, play main_menu");
    assert_eq!(caller.walk.locale(), "en");
}

#[test]
fn hours_decide() {
    let mut caller = Caller::new(SMALL);
    caller.open = false;
    caller.enter();
    caller.played();
    assert_eq!(caller.key('2'), "stop, > office, > bye, play goodbye");
}

#[test]
fn a_number_ends_with_its_terminator_its_length_or_a_pause() {
    let check = |keys: &str, pause: bool, expect: &str| {
        let mut caller = Caller::new(SMALL);
        caller.enter();
        caller.key('1');
        let mut last = String::new();
        for key in keys.chars() {
            last = caller.key(key);
        }
        if pause {
            last = caller.late();
        }
        assert_eq!(last, expect, "{keys}");
    };
    check("123#", false, "set serial=123, > person, queue general");
    check("123456", false, "set serial=123456, > person, queue general");
    check("1234", true, "set serial=1234, > person, queue general");
    check("12#", false, "play invalid enter_number");
    check("12", true, "play invalid enter_number");
    check("#", false, "stop, play invalid enter_number");
    check("12*", false, "play invalid enter_number");
    check("12#12#", false, "> bye, play goodbye");
}

#[test]
fn a_number_that_nobody_types_is_asked_again() {
    let mut caller = Caller::new(SMALL);
    caller.enter();
    assert_eq!(caller.key('1'), "stop, > menu, > number, play enter_number");
    assert_eq!(caller.played(), "wait 6");
    assert_eq!(caller.late(), "play enter_number");
    assert_eq!(caller.played(), "wait 6");
    assert_eq!(caller.late(), "> person, queue general");
}

#[test]
fn a_playback_that_never_reports_its_end_does_not_hold_the_caller() {
    let mut caller = Caller::new(SMALL);
    caller.enter();
    assert_eq!(caller.late(), "stop, > menu, play main_menu");
    assert_eq!(caller.late(), "stop, wait 5");
    assert_eq!(caller.played(), "", "a late end of the prompt changes nothing");
}

#[test]
fn a_caller_can_come_in_at_a_node() {
    let mut caller = Caller::new(SMALL);
    assert_eq!(caller.step(Happening::Enter { node: Some("menu".into()) }), "> menu, play main_menu");
    assert_eq!(caller.step(Happening::Enter { node: Some("nowhere".into()) }), "stop, > hello, play welcome");
}

#[test]
fn what_is_no_key_of_a_telephone_is_nothing() {
    let mut caller = Caller::new(SMALL);
    caller.enter();
    for odd in ['x', 'E', ' ', '一', '\0'] {
        assert_eq!(caller.key(odd), "");
    }
}

#[test]
fn a_caller_who_goes_round_for_ever_is_hung_up_on() {
    let mut caller = Caller::new(SMALL);
    caller.enter();
    let mut menus = 0;
    while !caller.walk.is_over() {
        caller.key('*');
        menus += 1;
        assert!(menus <= STEPS_MAX);
    }
    assert_eq!(menus, STEPS_MAX - 1, "the greeting was one step");
}

#[test]
fn a_walk_under_a_script_that_lost_its_node_hangs_up() {
    let mut caller = Caller::new(SMALL);
    caller.enter();
    caller.script = super::compile(&SMALL.replace("\"hello\"", "\"hallo\""));
    assert_eq!(caller.played(), "hangup");
}

#[test]
fn the_demos_menu_leads_where_it_says() {
    let source = shipped::script("main").expect("shipped");
    let source = source
        .replace("priority = 10", "")
        .replace("kind = \"queue\"", "kind = \"queue\"\npriority = 5\nrequires = { english = 2 }");
    let mut caller = Caller::new(&source);
    assert_eq!(caller.enter(), "> office, > welcome, play welcome recording_notice");
    assert_eq!(caller.played(), "> menu, play main_menu language_hint");
    assert_eq!(caller.key('2'), "stop, > repair, queue repair");

    let check = |key: char, node: &str, queue: &str| {
        let mut caller = Caller::new(&source);
        caller.enter();
        assert_eq!(caller.key(key), format!("stop, > menu, > {node}, queue {queue}"));
    };
    check('1', "inquiry", "general");
    check('3', "complaint", "general");
    check('4', "rescue", "rescue");
    check('0', "agent", "general");

    let mut caller = Caller::new(&source);
    caller.enter();
    caller.played();
    assert_eq!(caller.key('9'), "stop, > english, lang en, > menu_en, play main_menu language_hint");
    assert_eq!(caller.key('9'), "stop, > chinese, lang zh-CN, > menu, play main_menu language_hint");
    assert_eq!(caller.key('5'), "stop, play invalid main_menu language_hint");

    caller.open = false;
    assert_eq!(caller.step(Happening::Enter { node: None }), "stop, > office, > closed, play closed");
}
