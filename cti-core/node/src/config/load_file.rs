//! A load file of `zongji simulate`, each error at its place.

use std::path::Path;

use cti_acd::Rules;
use cti_plan::{Load, LoadError, Step};
use toml::de::{DeTable, DeValue};

use super::place::{Problem, Problems};
use super::read;

/// Reads and checks the file; with rules, whether it fits the tenant of these.
pub fn load(file: &Path, rules: Option<&Rules>) -> Result<Load, Problems> {
    let text = read(file)?;
    let load: Load = toml::from_str(&text).map_err(|error| Problem::of_toml(file, &text, &error))?;
    let errors = load.check(rules);
    if errors.is_empty() {
        return Ok(load);
    }
    let problem = |LoadError { path, message }: LoadError| {
        let last = path.iter().rev().find_map(|step| match step {
            Step::Key(name) => Some(name.as_str()),
            Step::At(_) => None,
        });
        let message = format!("{}: {message}", last.unwrap_or_default());
        Problem::at(file, &text, offset(&text, &path), message)
    };
    Err(Problems(errors.into_iter().map(problem).collect()))
}

/// Where the deepest part of the path that is there begins.
fn offset(text: &str, path: &[Step]) -> usize {
    DeTable::parse(text).map_or(0, |table| in_table(table.get_ref(), path).unwrap_or(0))
}

fn in_table(table: &DeTable<'_>, path: &[Step]) -> Option<usize> {
    let (Step::Key(name), rest) = path.split_first()? else { return None };
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
    in_value(value.get_ref(), rest).or(Some(key.span().start))
}

fn in_value(value: &DeValue<'_>, path: &[Step]) -> Option<usize> {
    match value {
        DeValue::Table(table) => in_table(table, path),
        DeValue::Array(list) => {
            let (Step::At(at), rest) = path.split_first()? else { return None };
            let item = list.get(*at)?;
            in_value(item.get_ref(), rest).or(Some(item.span().start))
        }
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("load.toml");
        std::fs::write(&file, text).expect("written");
        let problems = load(&file, Some(&cti_plan::single_queue("repair", 2))).expect_err("it is wrong").to_string();
        problems.replace(&format!("{}/", dir.path().display()), "")
    }

    #[test]
    fn an_error_stands_at_its_place() {
        let check = |text: &str, expect: &str| assert_eq!(problems(text), expect);
        let stream = "[[arrivals]]\nper_hour = 5\ntalk = { exponential = 60 }\n";
        check(&format!("{stream}queues = {{ repar = 1 }}"), "load.toml:4:12: repar: there is no queue `repar`");
        check(
            &format!("{stream}quues = {{}}"),
            "load.toml:4:1: unknown key `quues`; the nearest known key is `queues`",
        );
        check(
            &format!("{stream}queues = {{ repair = 1 }}\n[[staff]]\nagents = [\"1\", \"7\"]"),
            "load.toml:6:16: agents: there is no agent `7`",
        );
        check(
            &format!("start = \"9\"\n{stream}queues = {{ repair = 1 }}"),
            "load.toml:1:9: `9` is no time of day: write it as \"08:30\"",
        );
        check(
            &format!("{stream}queues = {{ repair = 1 }}\npatience = {{ exponentail = 1 }}"),
            "load.toml:5:14: unknown choice `exponentail`; the nearest is `exponential`, all are: exponential, lognormal, fixed",
        );
    }
}
