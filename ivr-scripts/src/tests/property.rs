use proptest::prelude::*;

use super::{Open, SMALL, compile};
use crate::{Action, Happening, NODES_MAX, STEPS_MAX, Script, Walk, World, shipped};

/// A script of random nodes; many are refused, and those that are not must hold what the compiler promises.
fn any_script() -> impl Strategy<Value = String> {
    let node = (0..8u8, 0..6u8, 0..6u8, 0..6u8, any::<bool>(), 0..3u8);
    prop::collection::vec(node, 1..7).prop_map(|nodes| {
        let count = nodes.len() as u8;
        let mut text = "[script]\nname = \"any\"\nstart = \"n0\"\n".to_owned();
        for (index, (kind, a, b, c, flag, repeat)) in nodes.into_iter().enumerate() {
            let (a, b, c) = (a % count, b % count, c % count);
            let retries = format!(
                "silence = {{ repeat = {repeat}, then = \"n{b}\" }}\ninvalid = {{ repeat = {repeat}, then = \"n{c}\" }}\n"
            );
            text += &format!("[[node]]\nname = \"n{index}\"\n");
            text += &match kind {
                0 => format!("kind = \"play\"\nprompts = \"p\"\nbarge_in = {flag}\nthen = \"n{a}\"\n"),
                1 => format!(
                    "kind = \"menu\"\nprompts = \"p\"\nbarge_in = {flag}\n{retries}digits = {{ 1 = \"n{a}\", 2 = \"n{c}\" }}\n"
                ),
                2 => format!(
                    "kind = \"collect\"\nprompts = \"p\"\nbarge_in = {flag}\ninto = \"v\"\nmax_digits = 3\n{retries}then = \"n{a}\"\n"
                ),
                3 => format!("kind = \"hours\"\nhours = \"office\"\nopen = \"n{a}\"\nclosed = \"n{b}\"\n"),
                4 => format!("kind = \"language\"\nlocale = \"en\"\nthen = \"n{a}\"\n"),
                5 => format!("kind = \"goto\"\nthen = \"n{a}\"\n"),
                6 => "kind = \"queue\"\nqueue = \"q\"\n".to_owned(),
                _ => "kind = \"hangup\"\n".to_owned(),
            };
        }
        text
    })
}

fn any_happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        3 => Just(Happening::Played),
        2 => Just(Happening::Deadline),
        5 => prop::sample::select(vec!['0', '1', '2', '9', '*', '#', 'A', 'z']).prop_map(Happening::Digit),
        1 => prop::option::of("n[0-6]").prop_map(|node| Happening::Enter { node: node.map(Into::into) }),
    ]
}

/// Runs a caller who presses nothing; answers how many steps it took to the end.
fn in_silence(script: &Script, open: bool) -> u32 {
    let mut walk = Walk::new("zh-CN");
    let mut happening = Happening::Enter { node: None };
    for step in 0..STEPS_MAX {
        let actions = walk.step(script, &Open(open), happening);
        let ended = actions.iter().any(|action| matches!(action, Action::Queue { .. } | Action::Hangup));
        assert_eq!(ended, walk.is_over());
        if ended {
            return step;
        }
        let plays = actions.iter().any(|action| matches!(action, Action::Play { .. }));
        happening = if plays { Happening::Played } else { Happening::Deadline };
    }
    panic!("a caller who presses nothing is still there");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_compiled_script_never_loses_a_caller(
        source in any_script(),
        happenings in prop::collection::vec(any_happening(), 0..60),
        open in any::<bool>(),
    ) {
        let Ok(script) = Script::compile(&source, World::default()) else { return Ok(()) };
        for node in script.nodes.values() {
            for target in node.targets() {
                prop_assert!(script.has_node(target.as_str()), "dangling {target}");
            }
        }
        in_silence(&script, open);

        let mut walk = Walk::new("zh-CN");
        let mut deadline = false;
        let mut entered = 0;
        for happening in std::iter::once(Happening::Enter { node: None }).chain(happenings) {
            for action in walk.step(&script, &Open(open), happening) {
                match action {
                    Action::Deadline(wait) => deadline = wait.is_some(),
                    Action::Entered(_) => entered += 1,
                    Action::Play { prompts } => prop_assert!(!prompts.is_empty()),
                    Action::StopPlaying | Action::Locale(_) | Action::Set { .. } | Action::Queue { .. } | Action::Hangup => {}
                }
            }
            prop_assert_eq!(deadline, !walk.is_over(), "a caller in the script always has a deadline, others none");
        }
        prop_assert!(entered <= STEPS_MAX);
    }

    #[test]
    fn no_text_makes_the_compiler_panic(cut in 0..SMALL.len(), junk in "[ -~\n]{0,12}", at in 0..SMALL.len()) {
        let mut text = SMALL.to_owned();
        text.insert_str(at, &junk);
        text.truncate(text.len() - cut.min(text.len()));
        for error in Script::compile(&text, World::default()).err().unwrap_or_default() {
            prop_assert!(error.line >= 1 && error.line <= text.matches('\n').count() + 1);
            prop_assert!(error.column >= 1 && !error.message.is_empty());
        }
    }
}

#[test]
fn many_of_the_random_scripts_do_compile() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let compiled = (0..2_000)
        .filter(|_| {
            let tree = any_script().new_tree(&mut runner).expect("a script");
            Script::compile(&proptest::strategy::ValueTree::current(&tree), World::default()).is_ok()
        })
        .count();
    assert!(compiled > 50, "only {compiled} of 2,000: the property above says little");
}

#[test]
fn silence_ends_within_the_limits() {
    for open in [true, false] {
        assert!(in_silence(&compile(SMALL), open) <= 8);
        assert!(in_silence(&compile(shipped::script("main").expect("shipped")), open) <= 8);
    }
    let chain: String = (0..NODES_MAX)
        .map(|n| match n + 1 {
            NODES_MAX => format!("[[node]]\nname = \"n{n}\"\nkind = \"hangup\"\n"),
            next => format!("[[node]]\nname = \"n{n}\"\nkind = \"goto\"\nthen = \"n{next}\"\n"),
        })
        .collect();
    let head = "[script]\nname = \"chain\"\nstart = \"n0\"\n";
    assert_eq!(in_silence(&compile(&format!("{head}{chain}")), true), 0);
    let longer = format!("{head}{chain}[[node]]\nname = \"more\"\nkind = \"goto\"\nthen = \"n0\"\n");
    let errors = Script::compile(&longer, World::default()).expect_err("too long");
    assert!(errors[0].message.contains("201 nodes"), "{errors:?}");
}
