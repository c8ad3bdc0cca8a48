use std::collections::BTreeMap;

use super::{SMALL, compile};
use crate::{Script, World};

/// Compiles `SMALL` with one text replaced by another and expects exactly these errors.
fn refused(from: &str, to: &str, expect: &[&str]) {
    assert!(SMALL.contains(from), "nothing to replace: {from}");
    check(&SMALL.replacen(from, to, 1), World::default(), expect);
}

fn check(source: &str, world: World<'_>, expect: &[&str]) {
    let errors = Script::compile(source, world).map(|_| ()).expect_err("refused");
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors, expect);
}

#[test]
fn a_whole_script_compiles() {
    let script = compile(SMALL);
    assert_eq!((script.name(), script.start().as_str(), script.locale()), ("small", "hello", None));
    assert!(script.has_node("menu") && !script.has_node("nowhere"));
    assert_eq!(script.nodes().count(), 7);
}

#[test]
fn an_edge_that_leads_nowhere_is_an_error_at_its_place() {
    refused("then = \"menu\"", "then = \"mneu\"", &["10:8: there is no node `mneu`; did you mean `menu`?"]);
    refused("2 = \"office\"", "2 = \"xyz\"", &["20:5: there is no node `xyz`"]);
    refused(
        "start = \"hello\"",
        "start = \"helo\"",
        &["4:9: there is no node `helo` to start at; did you mean `hello`?"],
    );
}

#[test]
fn unknown_words_name_the_nearest_known_one() {
    refused(
        "prompts = [\"main_menu\"]",
        "prompts = [\"main_menu\"]\ntimeout = 3",
        &["16:1: unknown key `timeout` in a menu node; did you mean `timeout_s`?"],
    );
    refused(
        "queue = \"general\"",
        "queue = \"general\"\nzzz = 1",
        &["52:1: unknown key `zzz` in a queue node; it may have name, kind, queue, priority, requires"],
    );
    refused("kind = \"hours\"", "kind = \"hour\"", &["43:8: unknown kind of node `hour`; did you mean `hours`?"]);
    refused(
        "repeat = 2, then = \"person\"",
        "repeats = 2, repeat = 2, then = \"person\"",
        &["16:34: unknown key `repeats` in a `silence` table; did you mean `repeat`?"],
    );
    refused(
        "name = \"small\"",
        "name = \"small\"\nlocal = \"en\"",
        &["4:1: unknown key `local` in a [script]; did you mean `locale`?"],
    );
    refused("[script]", "[nodes]\n[script]", &["2:2: unknown key `nodes` in a script file; did you mean `node`?"]);
}

#[test]
fn a_menu_without_an_answer_to_silence_or_a_wrong_key_is_refused() {
    let needs = |what: &str, who: &str| {
        format!(
            "13:8: a menu node needs `{what}`, for a caller who {who}: {what} = {{ prompts = \"{what}\", repeat = 2, then = \"...\" }}"
        )
    };
    let silence = "silence = { prompts = \"silence\", repeat = 2, then = \"person\" }\n";
    refused(silence, "", &[&needs("silence", "presses nothing")]);
    let invalid = "invalid = { prompts = \"invalid\", repeat = 2, then = \"bye\" }\n";
    refused(invalid, "", &[&needs("invalid", "presses a wrong key")]);
    refused("repeat = 2, then = \"person\"", "then = \"person\"", &["16:11: a `silence` table needs `repeat`"]);
    refused("repeat = 2, then = \"person\"", "repeat = 2", &["16:11: a `silence` table needs `then`"]);
    refused(
        "repeat = 2, then = \"person\"",
        "repeat = 11, then = \"person\"",
        &["16:43: `repeat` is a whole number from 0 to 10"],
    );
}

#[test]
fn digits_are_keys_of_a_telephone() {
    refused(
        "9 = \"english\"",
        "10 = \"english\"",
        &["21:1: `10` is no key of a telephone: use one of 0-9, \"*\", \"#\", A-D"],
    );
    refused(
        "9 = \"english\"",
        "E = \"english\"",
        &["21:1: `E` is no key of a telephone: use one of 0-9, \"*\", \"#\", A-D"],
    );
    refused("9 = \"english\"", "9 = 3", &["21:5: `9` is a text in quotes"]);
}

#[test]
fn a_node_that_nobody_reaches_is_refused() {
    refused("9 = \"english\"\n", "", &["24:8: no way leads to the node `english`: remove it or lead to it"]);
}

#[test]
fn a_way_round_that_waits_for_nobody_is_refused() {
    let round = "closed = \"a\"\n[[node]]\nname = \"a\"\nkind = \"goto\"\nthen = \"b\"\n[[node]]\nname = \"b\"\nkind = \"language\"\nlocale = \"en\"\nthen = \"a\"";
    refused(
        "closed = \"bye\"",
        round,
        &["48:8: a caller who presses nothing would go round for ever: a -> b -> a; lead one of them out"],
    );
    refused(
        "repeat = 2, then = \"person\"",
        "repeat = 2, then = \"hello\"",
        &["13:8: a caller who presses nothing would go round for ever: menu -> hello -> menu; lead one of them out"],
    );
    refused(
        "closed = \"bye\"",
        "closed = \"office\"",
        &["42:8: a caller who presses nothing would go round for ever: office -> office; lead one of them out"],
    );
}

#[test]
fn numbers_and_kinds_of_values_are_checked() {
    refused("priority = 5", "priority = 101", &["52:12: `priority` is a whole number from -100 to 100"]);
    refused("priority = 5", "priority = \"high\"", &["52:12: `priority` is a whole number from -100 to 100"]);
    refused(
        "requires = { english = 2 }",
        "requires = { english = 6 }",
        &["53:24: `english` is a whole number from 1 to 5"],
    );
    refused("requires = { english = 2 }", "requires = 3", &["53:12: `requires` is a table, as `requires = { ... }`"]);
    refused("max_digits = 6", "max_digits = 2", &["31:8: `min_digits` is greater than `max_digits`"]);
    refused(
        "max_digits = 6",
        "max_digits = 6\nterminator = \"5\"",
        &["37:14: `terminator` is \"#\", \"*\" or \"\" for none"],
    );
    refused(
        "prompts = \"welcome\"",
        "prompts = \"../welcome\"",
        &["9:11: a prompt's name has letters, digits, `_` and `-`"],
    );
    refused("prompts = \"welcome\"", "prompts = []", &["7:8: a play node says at least one prompt"]);
    refused("prompts = \"welcome\"", "prompts = \"welcome\"\nbarge_in = 1", &["10:12: `barge_in` is true or false"]);
    refused("into = \"serial\"", "", &["31:8: a collect node needs `into`"]);
}

#[test]
fn a_name_used_twice_is_refused() {
    refused(
        "name = \"english\"",
        "name = \"office\"",
        &["21:5: there is no node `english`", "42:8: there is a node `office` already"],
    );
}

#[test]
fn what_is_not_toml_is_an_error_at_its_place() {
    let errors = Script::compile("[script]\nname = \n", World::default()).expect_err("refused");
    assert_eq!(errors[0].line, 2);
    check("", World::default(), &["1:1: a script file needs `script`", "1:1: the script has no `[[node]]`"]);
    check(
        "node = 3\n[script]\nname='a'\nstart='b'",
        World::default(),
        &["1:8: nodes are written `[[node]]`, with two brackets", "4:7: there is no node `b` to start at"],
    );
    let long = "#".repeat(crate::SOURCE_BYTES_MAX + 1);
    check(&long, World::default(), &["1:1: the script has more than 262144 bytes: split it"]);
}

#[test]
fn columns_count_characters_not_bytes() {
    refused(
        "then = \"menu\"",
        "# 您好\nprompt = \"您\"\nthen = \"menu\"",
        &["11:1: unknown key `prompt` in a play node; did you mean `prompts`?"],
    );
    refused("2 = \"office\"", "2 = \"服务\"", &["20:5: there is no node `服务`"]);
}

#[test]
fn what_a_script_refers_to_must_be_there() {
    let queues = ["generell".to_owned()];
    let hours = ["shop".to_owned()];
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let all = ["welcome", "main_menu", "silence", "invalid", "enter_number", "goodbye"];
    let prompts = BTreeMap::from([
        ("zh-CN".to_owned(), names(&all)),
        ("en".to_owned(), names(&all[..5])),
        ("music".to_owned(), names(&["default"])),
    ]);
    let world = World { queues: Some(&queues), hours: Some(&hours), prompts: Some(&prompts) };
    check(
        SMALL,
        world,
        &[
            "44:9: there is no hours `office`",
            "51:9: there is no queue `general`; did you mean `generell`?",
            "58:11: there is no prompt `goodbye` in en",
        ],
    );
    let german = SMALL.replace("locale = \"en\"", "locale = \"de\"");
    let world = World { prompts: Some(&prompts), ..World::default() };
    check(
        &german,
        world,
        &["27:10: there are no prompts in `de`; there are in en, zh-CN", "58:11: there is no prompt `goodbye` in en"],
    );
    let chinese = SMALL.replace("locale = \"en\"", "locale = \"zh-CN\"").replace("start", "locale = \"zh-CN\"\nstart");
    assert!(Script::compile(&chinese, world).is_ok(), "only the languages of the script count");
}
