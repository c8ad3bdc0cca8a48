//! From the path of a semantic error (`queue[repair].overflow.to`) to its place in the file.

use toml::de::{DeTable, DeValue};

/// The byte offset of the deepest part of `path` that the file has; `None` where it has none of it.
pub fn locate(text: &str, path: &str) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    descend(table.get_ref(), path)
}

fn descend(table: &DeTable<'_>, path: &str) -> Option<usize> {
    let step = Step::first(path)?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == step.key)?;
    let here = key.span().start;
    let below = match (value.get_ref(), step.entry) {
        (DeValue::Table(table), None) => descend(table, step.rest),
        (DeValue::Array(array), Some(name)) => {
            let entry = array
                .iter()
                .find(|item| item.get_ref().as_table().is_some_and(|table| is_named(table, name)))
                .and_then(|item| Some((item.span().start, item.get_ref().as_table()?)));
            match entry {
                Some((start, table)) => return descend(table, step.rest).or(Some(start)),
                None => None,
            }
        }
        _ => None,
    };
    below.or(Some(here))
}

/// Entries are known by `name`, numbers by `did`.
fn is_named(table: &DeTable<'_>, name: &str) -> bool {
    ["name", "did"].iter().any(|key| table.get(*key).and_then(|value| value.get_ref().as_str()) == Some(name))
}

/// One part of a path: `key` or `key[entry]`.
struct Step<'a> {
    key: &'a str,
    entry: Option<&'a str>,
    rest: &'a str,
}

impl<'a> Step<'a> {
    fn first(path: &'a str) -> Option<Self> {
        let end = path.find(['.', '[']).unwrap_or(path.len());
        let (key, after) = path.split_at(end);
        if key.is_empty() {
            return None;
        }
        let Some(entry) = after.strip_prefix('[') else {
            return Some(Self { key, entry: None, rest: after.strip_prefix('.').unwrap_or_default() });
        };
        // A name may hold a bracket itself: its end is the one before a dot or the end of the path.
        let close = entry.find("].").or_else(|| entry.ends_with(']').then(|| entry.len() - 1))?;
        let rest = entry.get(close + 2..).unwrap_or_default();
        Some(Self { key, entry: Some(&entry[..close]), rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::line_column;

    #[test]
    fn a_path_leads_to_its_line_and_column() {
        let text = "[tenant]\nid = \"a\"\n\n[[queue]]\nname = \"x\"\n\n[[queue]]\nname = \"b.c[1]\"\n\
                    overflow = { after_s = 5, to = { queue = \"no\" } }\n\n[[number]]\ndid = \"4001\"\n";
        let check = |path: &str, expect: Option<(usize, usize)>| {
            assert_eq!(locate(text, path).map(|offset| line_column(text, offset)), expect, "{path}");
        };
        check("tenant.id", Some((2, 1)));
        check("tenant.zone", Some((1, 2)));
        check("queue[x]", Some((4, 1)));
        check("queue[b.c[1]].overflow.to", Some((9, 27)));
        check("queue[b.c[1]].requires", Some((7, 1)));
        check("queue[missing].requires", Some((4, 3)));
        check("number[4001].trunk", Some((11, 1)));
        check("agent", None);
        check("", None);
    }
}
