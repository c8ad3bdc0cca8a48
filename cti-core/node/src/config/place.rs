//! Where in a file something is wrong, and what, in words that say what to do.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

/// One thing wrong with one file: printed as `file:line:column: message`. Lines and columns count from 1, columns in
/// characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub file: PathBuf,
    /// `None` where the file as a whole is at fault, as when it can not be read.
    pub place: Option<(usize, usize)>,
    pub message: String,
}

impl Problem {
    pub fn of_file(file: &Path, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), place: None, message: message.into() }
    }

    /// At a byte offset of `text`.
    pub fn at(file: &Path, text: &str, offset: usize, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), place: Some(line_column(text, offset)), message: message.into() }
    }

    /// A TOML error, with the nearest known key named where a key or a choice is unknown.
    pub fn of_toml(file: &Path, text: &str, error: &toml::de::Error) -> Self {
        let message = explain(error.message());
        let offset = error.span().map(|span| narrow(text, span, error.message()));
        match offset {
            Some(offset) => Self::at(file, text, offset, message),
            None => Self::at(file, text, 0, message),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match self.place {
            Some((line, column)) => write!(f, "{file}:{line}:{column}: {}", self.message),
            None => write!(f, "{file}: {}", self.message),
        }
    }
}

/// All that is wrong, at least one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

pub fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The known name that `wrong` is nearest to.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .min_by_key(|(distance, name)| (*distance, *name))
        .map(|(_, name)| name)
}

/// serde's words turned into ours; the known names stand between back quotes, the unknown one first.
fn explain(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field") {
        let wrong = quoted.next().unwrap_or_default();
        return match nearest(wrong, quoted) {
            Some(known) => format!("unknown key `{wrong}`; the nearest known key is `{known}`"),
            None => format!("unknown key `{wrong}`; this table takes no keys"),
        };
    }
    if message.starts_with("unknown variant") {
        let wrong = quoted.next().unwrap_or_default();
        let known: Vec<&str> = quoted.collect();
        let near = nearest(wrong, known.iter().copied()).unwrap_or_default();
        return format!("unknown choice `{wrong}`; the nearest is `{near}`, all are: {}", known.join(", "));
    }
    if let Some(rest) = message.strip_prefix("missing field ") {
        return format!("the required key {rest} is missing");
    }
    message.lines().next().unwrap_or_default().to_owned()
}

/// Within a tagged table the parser only knows the table's place: looks for the unknown key itself inside it.
fn narrow(text: &str, span: Range<usize>, message: &str) -> usize {
    if !message.starts_with("unknown field") {
        return span.start;
    }
    let wrong = message.split('`').nth(1).unwrap_or_default();
    match DeTable::parse(text) {
        Ok(table) => find_key(table.get_ref(), wrong, &span).unwrap_or(span.start),
        Err(_) => span.start,
    }
}

fn find_key(table: &DeTable<'_>, wrong: &str, within: &Range<usize>) -> Option<usize> {
    for (key, value) in table {
        let at = key.span().start;
        if key.get_ref() == wrong && within.contains(&at) {
            return Some(at);
        }
        let deeper = match value.get_ref() {
            DeValue::Table(table) => find_key(table, wrong, within),
            DeValue::Array(array) => array
                .iter()
                .filter_map(|item| item.get_ref().as_table())
                .find_map(|table| find_key(table, wrong, within)),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => None,
        };
        if deeper.is_some() {
            return deeper;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_lines_and_characters_from_one() {
        let check = |text: &str, offset: usize, expect: (usize, usize)| {
            assert_eq!(line_column(text, offset), expect, "{text:?} {offset}");
        };
        check("", 0, (1, 1));
        check("a\nbc", 2, (2, 1));
        check("a\nbc", 3, (2, 2));
        check("名 = x", "名 = ".len(), (1, 5));
        check("名", 1, (1, 1));
        check("a\n", 99, (2, 1));
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest_known_one() {
        let check = |message: &str, expect: &str| assert_eq!(explain(message), expect);
        check(
            "unknown field `lisen`, expected one of `listen`, `tls_cert`",
            "unknown key `lisen`; the nearest known key is `listen`",
        );
        check("unknown field `x`, there are no fields", "unknown key `x`; this table takes no keys");
        check(
            "unknown variant `md6`, expected one of `md5`, `both`",
            "unknown choice `md6`; the nearest is `md5`, all are: md5, both",
        );
        check("missing field `id`", "the required key `id` is missing");
    }
}
