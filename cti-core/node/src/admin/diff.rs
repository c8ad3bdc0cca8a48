//! What an apply changes, entity by entity.

use std::fmt;

use cti_base::AgentName;
use cti_switch::config::TenantDoc;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The lists of a tenant's file, with the key that names an entry.
const LISTS: [(&str, &str); 6] =
    [("trunk", "name"), ("ivr", "name"), ("hours", "name"), ("number", "did"), ("queue", "name"), ("agent", "name")];
/// A value longer than this is named, not shown.
const SHOWN_BYTES_MAX: usize = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sign {
    #[serde(rename = "+")]
    Added,
    #[serde(rename = "-")]
    Removed,
    #[serde(rename = "~")]
    Changed,
}

/// One entity's change. Printed as `~ queue repair: wrapup_s 30 -> 5`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub sign: Sign,
    /// `queue repair`
    pub entity: String,
    /// What changed of it, each as `key` or `key before -> after`.
    pub keys: Vec<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.sign {
            Sign::Added => '+',
            Sign::Removed => '-',
            Sign::Changed => '~',
        };
        write!(f, "{sign} {}", self.entity)?;
        match self.keys.is_empty() {
            true => Ok(()),
            false => write!(f, ": {}", self.keys.join(", ")),
        }
    }
}

/// What is different from `before` to `after`, in the file's order.
pub fn diff(before: Option<&TenantDoc>, after: &TenantDoc) -> Vec<Change> {
    // Both come from files that were read, so they can be written.
    let value = |doc: &TenantDoc| serde_json::to_value(doc).unwrap_or(Value::Null);
    let old = before.map(value).unwrap_or(Value::Null);
    let new = value(after);
    let mut changes = Vec::new();
    let entity = format!("tenant {}", after.tenant.id);
    compare(&mut changes, entity, old.get("tenant"), new.get("tenant"));
    for (list, key) in LISTS {
        let (old, new) = (entries(&old, list, key), entries(&new, list, key));
        for (name, entry) in &new {
            let earlier = old.iter().find(|(other, _)| other == name).map(|(_, entry)| *entry);
            compare(&mut changes, format!("{list} {name}"), earlier, Some(entry));
        }
        for (name, entry) in old.iter().filter(|(name, _)| !new.iter().any(|(other, _)| other == name)) {
            compare(&mut changes, format!("{list} {name}"), Some(entry), None);
        }
    }
    changes
}

/// Adds what only the records know (a password, a secret) to an agent's change.
pub fn note(changes: &mut Vec<Change>, agent: &AgentName, key: &str, changed: bool) {
    if !changed {
        return;
    }
    let entity = format!("agent {agent}");
    match changes.iter_mut().find(|change| change.entity == entity) {
        Some(change) if change.sign == Sign::Changed => change.keys.push(key.to_owned()),
        Some(_) => {}
        None => changes.push(Change { sign: Sign::Changed, entity, keys: vec![key.to_owned()] }),
    }
}

/// The entries of a list by name; a DID may stand on several trunks.
fn entries<'a>(doc: &'a Value, list: &str, key: &str) -> Vec<(String, &'a Value)> {
    let entries = doc.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |entry: &'a Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
    let name = |entry: &'a Value| match list {
        "number" => format!("{} on {}", text(entry, key), text(entry, "trunk")),
        _ => text(entry, key).to_owned(),
    };
    entries.iter().map(|entry| (name(entry), entry)).collect()
}

fn compare(changes: &mut Vec<Change>, entity: String, old: Option<&Value>, new: Option<&Value>) {
    let change = match (old, new) {
        (None, None) => return,
        (None, Some(_)) => Change { sign: Sign::Added, entity, keys: Vec::new() },
        (Some(_), None) => Change { sign: Sign::Removed, entity, keys: Vec::new() },
        (Some(old), Some(new)) if old == new => return,
        (Some(old), Some(new)) => Change { sign: Sign::Changed, entity, keys: changed_keys(old, new) },
    };
    changes.push(change);
}

fn changed_keys(old: &Value, new: &Value) -> Vec<String> {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return Vec::new() };
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    let changed = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
    changed
        .map(|key| match (shown(key, old.get(key)), shown(key, new.get(key))) {
            (Some(before), Some(after)) => format!("{key} {before} -> {after}"),
            _ => key.clone(),
        })
        .collect()
}

fn shown(key: &str, value: Option<&Value>) -> Option<String> {
    let text = match value {
        None => return Some("none".to_owned()),
        // Too long to be shown, and what holds a secret.
        Some(_) if key == "source" || key == "register" => return None,
        Some(value) => value.to_string(),
    };
    (text.len() <= SHOWN_BYTES_MAX).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doc(text: &str) -> TenantDoc {
        toml::from_str(&format!("tenant = {{ id = \"a\", name = \"A\" }}\n{text}")).expect("a tenant")
    }

    fn lines(before: Option<&TenantDoc>, after: &TenantDoc) -> Vec<String> {
        diff(before, after).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_entity_that_came_went_or_changed_is_named_once() {
        let before = doc("[[queue]]\nname = \"q\"\nwrapup_s = 30\n[[queue]]\nname = \"old\"\n");
        let after = doc("[[queue]]\nname = \"new\"\n[[queue]]\nname = \"q\"\nwrapup_s = 5\nrecord = true\n");
        assert_eq!(
            lines(Some(&before), &after),
            ["+ queue new", "~ queue q: record false -> true, wrapup_s 30 -> 5", "- queue old"]
        );
        assert_eq!(lines(None, &doc("[[queue]]\nname = \"q\"\n")), ["+ tenant a", "+ queue q"]);
    }

    #[test]
    fn the_same_file_again_changes_nothing_and_order_does_not_count() {
        let one = doc("[[queue]]\nname = \"q\"\n[[queue]]\nname = \"r\"\n");
        let two = doc("[[queue]]\nname = \"r\"\n[[queue]]\nname = \"q\"\n");
        assert!(lines(Some(&one), &one).is_empty());
        assert!(lines(Some(&one), &two).is_empty());
    }

    #[test]
    fn a_new_password_is_a_change_of_its_agent_and_is_not_shown() {
        let mut changes = Vec::new();
        note(&mut changes, &"1001".into(), "password", true);
        note(&mut changes, &"1001".into(), "secret", true);
        note(&mut changes, &"1002".into(), "secret", false);
        assert_eq!(changes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["~ agent 1001: password, secret"]);
    }
}
