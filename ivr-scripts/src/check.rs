//! Whether the nodes make a script that no caller gets lost in.

use std::collections::{BTreeMap, BTreeSet};

use cti_base::NodeName;

use crate::error::did_you_mean;
use crate::read::{At, Errors};
use crate::script::{Node, Script, World};

/// What was read of a script, whole or not.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) name: Option<String>,
    pub(crate) start: Option<At<String>>,
    pub(crate) locale: Option<At<String>>,
    pub(crate) nodes: BTreeMap<NodeName, (Node, Place)>,
    /// Nodes with errors of their own.
    pub(crate) unread: Vec<At<String>>,
    /// Edges of nodes that could not be read whole.
    pub(crate) edges_elsewhere: Vec<At<NodeName>>,
    pub(crate) prompts: Vec<At<String>>,
    pub(crate) queues: Vec<At<String>>,
    pub(crate) hours: Vec<At<String>>,
    /// Of `language` nodes.
    pub(crate) locales: Vec<At<String>>,
}

/// Where a node and its edges stand in the source.
pub(crate) struct Place {
    pub(crate) offset: usize,
    pub(crate) edges: Vec<At<NodeName>>,
}

impl Draft {
    pub(crate) fn into_script(self) -> Option<Script> {
        let start = NodeName::from(self.start?.value);
        Some(Script {
            name: self.name?,
            locale: self.locale.map(|locale| locale.value),
            start,
            nodes: self.nodes.into_iter().map(|(name, (node, _))| (name, node)).collect(),
        })
    }

    fn knows(&self, name: &str) -> bool {
        self.nodes.contains_key(name) || self.unread.iter().any(|node| node.value == name)
    }
}

pub(crate) fn check(draft: &Draft, world: World<'_>, errors: &mut Errors<'_>) {
    targets(draft, errors);
    // How the nodes hang together says nothing while one of them is wrong.
    if errors.list.is_empty() {
        reachable(draft, errors);
        silent_rounds(draft, errors);
    }
    known(&draft.queues, world.queues, "queue", errors);
    known(&draft.hours, world.hours, "hours", errors);
    prompts(draft, world, errors);
}

/// Every edge leads somewhere.
fn targets(draft: &Draft, errors: &mut Errors<'_>) {
    let names = || draft.nodes.keys().map(NodeName::as_str).chain(draft.unread.iter().map(|node| node.value.as_str()));
    let edges = draft.nodes.values().flat_map(|(_, place)| &place.edges).chain(&draft.edges_elsewhere);
    for edge in edges {
        if !draft.knows(edge.value.as_str()) {
            let hint = did_you_mean(edge.value.as_str(), names());
            errors.push(edge.offset, format!("there is no node `{}`{hint}", edge.value));
        }
    }
    if let Some(start) = &draft.start
        && !draft.knows(&start.value)
    {
        let hint = did_you_mean(&start.value, names());
        errors.push(start.offset, format!("there is no node `{}` to start at{hint}", start.value));
    }
}

fn reachable(draft: &Draft, errors: &mut Errors<'_>) {
    let Some(start) = &draft.start else { return };
    let mut seen = BTreeSet::from([start.value.as_str()]);
    let mut next = vec![start.value.as_str()];
    while let Some(name) = next.pop() {
        let Some((node, _)) = draft.nodes.get(name) else { continue };
        next.extend(node.targets().into_iter().map(NodeName::as_str).filter(|target| seen.insert(target)));
    }
    for (name, (_, place)) in &draft.nodes {
        if !seen.contains(name.as_str()) {
            errors.push(place.offset, format!("no way leads to the node `{name}`: remove it or lead to it"));
        }
    }
}

/// A caller who presses nothing must come to an end: the edges taken in silence make no circle. Depth first, each node once.
fn silent_rounds(draft: &Draft, errors: &mut Errors<'_>) {
    let mut done: BTreeSet<&NodeName> = BTreeSet::new();
    for first in draft.nodes.keys() {
        let mut path: Vec<(&NodeName, Vec<&NodeName>)> = Vec::new();
        let mut enter = Some(first);
        loop {
            if let Some(name) = enter.take() {
                if let Some(at) = path.iter().position(|(on_path, _)| *on_path == name) {
                    let round: Vec<&str> = path[at..].iter().map(|(node, _)| node.as_str()).collect();
                    let offset = draft.nodes.get(name).map_or(0, |(_, place)| place.offset);
                    let message = format!(
                        "a caller who presses nothing would go round for ever: {} -> {name}; lead one of them out",
                        round.join(" -> ")
                    );
                    errors.push(offset, message);
                } else if done.insert(name) {
                    let targets = draft.nodes.get(name).map(|(node, _)| node.silent_targets()).unwrap_or_default();
                    path.push((name, targets));
                }
            }
            match path.last_mut() {
                Some((_, targets)) => match targets.pop() {
                    Some(target) => enter = Some(target),
                    None => {
                        path.pop();
                    }
                },
                None => break,
            }
        }
    }
}

fn known(used: &[At<String>], world: Option<&[String]>, what: &str, errors: &mut Errors<'_>) {
    let Some(world) = world else { return };
    for name in used {
        if !world.contains(&name.value) {
            let hint = did_you_mean(&name.value, world.iter().map(String::as_str));
            errors.push(name.offset, format!("there is no {what} `{}`{hint}", name.value));
        }
    }
}

/// Every prompt is there in every locale that the script can be in.
fn prompts(draft: &Draft, world: World<'_>, errors: &mut Errors<'_>) {
    let Some(world) = world.prompts else { return };
    let locales = || world.keys().map(String::as_str).filter(|locale| *locale != "music");
    let mut wanted: BTreeSet<&str> = BTreeSet::new();
    for locale in draft.locale.iter().chain(&draft.locales) {
        if locales().any(|known| known == locale.value) {
            wanted.insert(&locale.value);
        } else {
            let hint = did_you_mean(&locale.value, locales());
            let all: Vec<&str> = locales().collect();
            errors.push(
                locale.offset,
                format!("there are no prompts in `{}`{hint}; there are in {}", locale.value, all.join(", ")),
            );
        }
    }
    if draft.locale.is_none() {
        wanted.extend(locales());
    }
    for prompt in &draft.prompts {
        let missing: Vec<&str> = wanted
            .iter()
            .copied()
            .filter(|locale| !world.get(*locale).is_some_and(|names| names.contains(&prompt.value)))
            .collect();
        if !missing.is_empty() {
            let hint = did_you_mean(&prompt.value, world.values().flatten().map(String::as_str));
            let hint = if missing.len() == wanted.len() { hint } else { String::new() };
            errors
                .push(prompt.offset, format!("there is no prompt `{}` in {}{hint}", prompt.value, missing.join(", ")));
        }
    }
}
