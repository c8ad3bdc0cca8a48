//! From TOML to nodes. What each node must have is checked here, how they hang together in `check`.

use std::collections::BTreeMap;
use std::time::Duration;

use cti_base::NodeName;
use toml::de::{DeTable, DeValue};

use crate::check::{self, Draft, Place};
use crate::error::{ScriptError, did_you_mean};
use crate::read::{At, Errors, Fields, text_of, whole_of};
use crate::script::{Node, Retries, Retry, Script, World};
use crate::{COLLECT_DIGITS_MAX, NODES_MAX, PROMPTS_MAX, SOURCE_BYTES_MAX};

const KINDS: [&str; 8] = ["play", "menu", "collect", "hours", "language", "queue", "hangup", "goto"];
/// What a telephone can send (RFC 4733 3.2).
const KEYS: &str = "0123456789*#ABCD";
const NAME_BYTES_MAX: usize = 64;
const SECONDS: std::ops::RangeInclusive<i64> = 1..=60;
const REPEATS: std::ops::RangeInclusive<i64> = 0..=10;
const PRIORITIES: std::ops::RangeInclusive<i64> = -100..=100;
const LEVELS: std::ops::RangeInclusive<i64> = 1..=5;

pub(crate) fn compile(source: &str, world: World<'_>) -> Result<Script, Vec<ScriptError>> {
    let mut errors = Errors { source, list: Vec::new() };
    let draft = read(source, &mut errors);
    if let Some(draft) = &draft {
        check::check(draft, world, &mut errors);
    }
    let mut list = errors.list;
    list.sort_by_key(|error| (error.line, error.column));
    list.dedup();
    match draft.and_then(Draft::into_script) {
        Some(script) if list.is_empty() => Ok(script),
        Some(_) | None => {
            if list.is_empty() {
                list.push(ScriptError::at(source, 0, "the script is not complete"));
            }
            Err(list)
        }
    }
}

fn read(source: &str, errors: &mut Errors<'_>) -> Option<Draft> {
    if source.len() > SOURCE_BYTES_MAX {
        errors.push(0, format!("the script has more than {SOURCE_BYTES_MAX} bytes: split it"));
        return None;
    }
    let (document, faults) = DeTable::parse_recoverable(source);
    if !faults.is_empty() {
        for fault in faults {
            errors.push(fault.span().map_or(0, |span| span.start), fault.message());
        }
        return None;
    }
    let top = Fields::new(document.get_ref(), "script file", 0);
    top.only(&["script", "node"], errors);
    let mut draft = Draft::default();
    if let Some((table, span)) = top.table("script", errors) {
        let head = Fields::new(table, "[script]", span.start);
        head.only(&["name", "start", "locale"], errors);
        draft.name = head.text("name", errors).map(|name| name.value);
        draft.start = head.text("start", errors);
        draft.locale = head.text_or("locale", errors);
    }
    match top.get("node").map(|value| (value.get_ref(), value.span())) {
        Some((DeValue::Array(list), _)) => {
            for value in list {
                match value.get_ref() {
                    DeValue::Table(table) => node(table, value.span().start, &mut draft, errors),
                    _ => errors.push(value.span().start, "a node is a table, as `[[node]]`"),
                }
            }
            if list.len() > NODES_MAX {
                errors.push(0, format!("{} nodes: a script may have {NODES_MAX}", list.len()));
            }
        }
        Some((_, span)) => errors.push(span.start, "nodes are written `[[node]]`, with two brackets"),
        None => errors.push(0, "the script has no `[[node]]`"),
    }
    Some(draft)
}

fn node(table: &DeTable<'_>, offset: usize, draft: &mut Draft, errors: &mut Errors<'_>) {
    let mut fields = Fields::new(table, "node", offset);
    let name = fields.text("name", errors);
    if let Some(name) = &name {
        fields.offset = name.offset;
        if name.value.is_empty() || name.value.len() > NAME_BYTES_MAX || name.value.chars().any(char::is_control) {
            errors
                .push(name.offset, format!("a node's name has 1 to {NAME_BYTES_MAX} bytes and no control characters"));
        }
    }
    let Some(kind) = fields.text("kind", errors) else {
        // Known by name, so that edges to it are not reported as well.
        draft.unread.extend(name);
        return;
    };
    if !KINDS.contains(&kind.value.as_str()) {
        let hint = did_you_mean(&kind.value, KINDS);
        let hint = if hint.is_empty() { format!("; it is one of {}", KINDS.join(", ")) } else { hint };
        errors.push(kind.offset, format!("unknown kind of node `{}`{hint}", kind.value));
        draft.unread.extend(name);
        return;
    }
    fields.what = format!("{} node", kind.value);
    let mut reader = NodeReader { fields, draft, errors, edges: Vec::new() };
    let node = reader.node(&kind.value);
    let edges = std::mem::take(&mut reader.edges);
    let (Some(name), Some(node)) = (name.clone(), node) else {
        draft.unread.extend(name);
        draft.edges_elsewhere.extend(edges);
        return;
    };
    let offset = name.offset;
    let name = NodeName::from(name.value);
    if draft.nodes.contains_key(&name) {
        errors.push(offset, format!("there is a node `{name}` already"));
        return;
    }
    draft.nodes.insert(name, (node, Place { offset, edges }));
}

struct NodeReader<'a, 't, 'i, 's> {
    fields: Fields<'t, 'i>,
    draft: &'a mut Draft,
    errors: &'a mut Errors<'s>,
    edges: Vec<At<NodeName>>,
}

impl NodeReader<'_, '_, '_, '_> {
    fn node(&mut self, kind: &str) -> Option<Node> {
        match kind {
            "play" => {
                self.only(&["prompts", "barge_in", "then"]);
                let (prompts, barge_in, then) = (self.prompts(true), self.barge_in(), self.edge("then"));
                Some(Node::Play { prompts: prompts?, barge_in, then: then? })
            }
            "menu" => self.menu(),
            "collect" => self.collect(),
            "hours" => {
                self.only(&["hours", "open", "closed"]);
                let (hours, open, closed) =
                    (self.fields.text("hours", self.errors), self.edge("open"), self.edge("closed"));
                self.draft.hours.extend(hours.clone());
                Some(Node::Hours { hours: hours?.value, open: open?, closed: closed? })
            }
            "language" => {
                self.only(&["locale", "then"]);
                let (locale, then) = (self.fields.text("locale", self.errors), self.edge("then"));
                self.draft.locales.extend(locale.clone());
                Some(Node::Language { locale: locale?.value, then: then? })
            }
            "queue" => {
                self.only(&["queue", "priority", "requires"]);
                let queue = self.fields.text("queue", self.errors);
                let priority = self.fields.whole_or("priority", 0, PRIORITIES, self.errors) as i32;
                let requires = self.levels();
                self.draft.queues.extend(queue.clone());
                Some(Node::Queue { queue: queue?.value, priority, requires })
            }
            "hangup" => {
                self.only(&["prompts"]);
                self.prompts(false).map(|prompts| Node::Hangup { prompts })
            }
            _ => {
                self.only(&["then"]);
                self.edge("then").map(|then| Node::Goto { then })
            }
        }
    }

    fn menu(&mut self) -> Option<Node> {
        self.only(&["prompts", "barge_in", "timeout_s", "digits", "silence", "invalid"]);
        let prompts = self.prompts(true);
        let barge_in = self.barge_in();
        let timeout = self.seconds("timeout_s", 5);
        let digits = self.digits();
        let retries = self.retries();
        Some(Node::Menu { prompts: prompts?, barge_in, timeout, digits: digits?, retries: retries? })
    }

    fn collect(&mut self) -> Option<Node> {
        self.only(&[
            "prompts",
            "barge_in",
            "into",
            "min_digits",
            "max_digits",
            "terminator",
            "timeout_s",
            "digit_timeout_s",
            "silence",
            "invalid",
            "then",
        ]);
        let most = COLLECT_DIGITS_MAX as i64;
        let prompts = self.prompts(true);
        let barge_in = self.barge_in();
        let into = self.fields.text("into", self.errors);
        let min_digits = self.fields.whole_or("min_digits", 1, 0..=most, self.errors);
        let max_digits = self.fields.whole("max_digits", 1..=most, self.errors);
        let terminator = self.terminator();
        let first_timeout = self.seconds("timeout_s", 6);
        let digit_timeout = self.seconds("digit_timeout_s", 3);
        let retries = self.retries();
        let then = self.edge("then");
        if let Some(into) = &into
            && (into.value.len() > NAME_BYTES_MAX || !is_word(&into.value))
        {
            self.errors.push(into.offset, "`into` is a name of letters, digits, `_` and `-`");
        }
        if max_digits.is_some_and(|max| min_digits > max) {
            self.errors.push(self.fields.offset, "`min_digits` is greater than `max_digits`");
        }
        Some(Node::Collect {
            prompts: prompts?,
            barge_in,
            into: into?.value,
            min_digits: min_digits as usize,
            max_digits: max_digits? as usize,
            terminator,
            first_timeout,
            digit_timeout,
            retries: retries?,
            then: then?,
        })
    }

    fn only(&mut self, keys: &[&str]) {
        let mut known = vec!["name", "kind"];
        known.extend(keys);
        self.fields.only(&known, self.errors);
    }

    fn barge_in(&mut self) -> bool {
        self.fields.flag_or("barge_in", true, self.errors)
    }

    fn seconds(&mut self, key: &str, default: i64) -> Duration {
        Duration::from_secs(self.fields.whole_or(key, default, SECONDS, self.errors) as u64)
    }

    fn edge(&mut self, key: &str) -> Option<NodeName> {
        let target = self.fields.text(key, self.errors)?;
        Some(self.edge_to(target))
    }

    fn edge_to(&mut self, target: At<String>) -> NodeName {
        let name = NodeName::from(target.value);
        self.edges.push(At { value: name.clone(), offset: target.offset });
        name
    }

    fn prompts(&mut self, needed: bool) -> Option<Vec<String>> {
        if needed && self.fields.get("prompts").is_none() {
            self.fields.text("prompts", self.errors)?;
        }
        let list = self.fields.texts_or("prompts", self.errors);
        let prompts = self.prompt_names(list);
        if needed && prompts.is_empty() {
            self.errors.push(self.fields.offset, format!("a {} says at least one prompt", self.fields.what));
        }
        Some(prompts)
    }

    fn prompt_names(&mut self, list: Vec<At<String>>) -> Vec<String> {
        if list.len() > PROMPTS_MAX {
            self.errors.push(list[PROMPTS_MAX].offset, format!("at most {PROMPTS_MAX} prompts in a row"));
        }
        for prompt in &list {
            if prompt.value.len() > NAME_BYTES_MAX || !is_word(&prompt.value) {
                self.errors.push(prompt.offset, "a prompt's name has letters, digits, `_` and `-`");
            }
        }
        self.draft.prompts.extend(list.iter().cloned());
        list.into_iter().map(|prompt| prompt.value).collect()
    }

    fn digits(&mut self) -> Option<BTreeMap<char, NodeName>> {
        let (table, span) = self.fields.table("digits", self.errors)?;
        let mut digits = BTreeMap::new();
        for (key, target) in table {
            let text: &str = key.get_ref();
            let mut chars = text.chars();
            let digit = chars.next().map(|first| first.to_ascii_uppercase());
            match (digit.filter(|digit| KEYS.contains(*digit)), chars.next()) {
                (Some(digit), None) => {
                    if let Some(target) = text_of(target, text, self.errors) {
                        let target = self.edge_to(target);
                        digits.insert(digit, target);
                    }
                }
                (Some(_) | None, _) => {
                    let message = format!("`{text}` is no key of a telephone: use one of 0-9, \"*\", \"#\", A-D");
                    self.errors.push(key.span().start, message);
                }
            }
        }
        if table.is_empty() {
            self.errors.push(span.start, "a menu has at least one digit");
        }
        Some(digits)
    }

    fn terminator(&mut self) -> Option<char> {
        let Some(text) = self.fields.text_or("terminator", self.errors) else { return Some('#') };
        match text.value.as_str() {
            "#" => Some('#'),
            "*" => Some('*'),
            "" => None,
            _ => {
                self.errors.push(text.offset, "`terminator` is \"#\", \"*\" or \"\" for none");
                None
            }
        }
    }

    fn retries(&mut self) -> Option<Retries> {
        let (silence, invalid) = (self.retry("silence"), self.retry("invalid"));
        Some(Retries { silence: silence?, invalid: invalid? })
    }

    fn retry(&mut self, key: &str) -> Option<Retry> {
        if self.fields.get(key).is_none() {
            let what = if key == "silence" { "presses nothing" } else { "presses a wrong key" };
            let message = format!(
                "a {} needs `{key}`, for a caller who {what}: {key} = {{ prompts = \"{key}\", repeat = 2, then = \"...\" }}",
                self.fields.what
            );
            self.errors.push(self.fields.offset, message);
            return None;
        }
        let (table, span) = self.fields.table_or(key, self.errors)?;
        let fields = Fields::new(table, format!("`{key}` table"), span.start);
        fields.only(&["prompts", "repeat", "then"], self.errors);
        let list = fields.texts_or("prompts", self.errors);
        let prompts = self.prompt_names(list);
        let repeat = fields.whole("repeat", REPEATS, self.errors);
        let then = fields.text("then", self.errors).map(|target| self.edge_to(target));
        Some(Retry { prompts, repeat: repeat? as u8, then: then? })
    }

    fn levels(&mut self) -> BTreeMap<String, u8> {
        let Some((table, _)) = self.fields.table_or("requires", self.errors) else { return BTreeMap::new() };
        let mut levels = BTreeMap::new();
        for (skill, level) in table {
            if let Some(level) = whole_of(level, skill.get_ref(), LEVELS, self.errors) {
                levels.insert(skill.get_ref().to_string(), level as u8);
            }
        }
        levels
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}
