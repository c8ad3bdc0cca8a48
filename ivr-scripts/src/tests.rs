//! The language from outside: what compiles, what is refused and where, and how a walk goes.

mod compiling;
mod property;
mod walking;

use crate::{Action, Happening, Host, Script, Walk, World};

/// A menu with everything a caller may do wrong.
pub(crate) const SMALL: &str = r#"
[script]
name = "small"
start = "hello"

[[node]]
name = "hello"
kind = "play"
prompts = "welcome"
then = "menu"

[[node]]
name = "menu"
kind = "menu"
prompts = ["main_menu"]
silence = { prompts = "silence", repeat = 2, then = "person" }
invalid = { prompts = "invalid", repeat = 2, then = "bye" }
[node.digits]
1 = "number"
2 = "office"
9 = "english"
"*" = "menu"

[[node]]
name = "english"
kind = "language"
locale = "en"
then = "menu"

[[node]]
name = "number"
kind = "collect"
prompts = "enter_number"
into = "serial"
min_digits = 3
max_digits = 6
silence = { repeat = 1, then = "person" }
invalid = { prompts = "invalid", repeat = 1, then = "bye" }
then = "person"

[[node]]
name = "office"
kind = "hours"
hours = "office"
open = "person"
closed = "bye"

[[node]]
name = "person"
kind = "queue"
queue = "general"
priority = 5
requires = { english = 2 }

[[node]]
name = "bye"
kind = "hangup"
prompts = "goodbye"
"#;

pub(crate) struct Open(pub(crate) bool);

impl Host for Open {
    fn is_open(&self, hours: &str) -> bool {
        assert_eq!(hours, "office");
        self.0
    }
}

pub(crate) fn compile(source: &str) -> Script {
    Script::compile(source, World::default()).unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// One caller and what the switch was told, in short: `> node`, `play a b`, `stop`, `wait 5`, `lang en`, `set a=b`,
/// `queue q`, `hangup`. The long deadline while prompts play and the cleared one at the end are left out.
pub(crate) struct Caller {
    pub(crate) script: Script,
    pub(crate) walk: Walk,
    pub(crate) open: bool,
}

impl Caller {
    pub(crate) fn new(source: &str) -> Self {
        Self { script: compile(source), walk: Walk::new("zh-CN"), open: true }
    }

    pub(crate) fn step(&mut self, happening: Happening) -> String {
        // A walk that is written down and read again goes on as if nothing had been.
        self.walk = read_again(&self.walk);
        let actions = self.walk.step(&self.script, &Open(self.open), happening);
        actions.iter().filter_map(short).collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn enter(&mut self) -> String {
        self.step(Happening::Enter { node: None })
    }

    pub(crate) fn key(&mut self, key: char) -> String {
        self.step(Happening::Digit(key))
    }

    pub(crate) fn played(&mut self) -> String {
        self.step(Happening::Played)
    }

    pub(crate) fn late(&mut self) -> String {
        self.step(Happening::Deadline)
    }
}

fn read_again(walk: &Walk) -> Walk {
    let text = toml::to_string(walk).expect("a walk can be written");
    toml::from_str(&text).expect("and read")
}

fn short(action: &Action) -> Option<String> {
    Some(match action {
        Action::Entered(node) => format!("> {node}"),
        Action::Play { prompts } => format!("play {}", prompts.join(" ")),
        Action::StopPlaying => "stop".into(),
        Action::Deadline(Some(wait)) if *wait == crate::walk::PLAYING_MAX => return None,
        Action::Deadline(Some(wait)) => format!("wait {}", wait.as_secs()),
        Action::Deadline(None) => return None,
        Action::Locale(locale) => format!("lang {locale}"),
        Action::Set { name, value } => format!("set {name}={value}"),
        Action::Queue { queue, priority, requires } => {
            assert_eq!((*priority, requires.get("english")), (5, Some(&2)));
            format!("queue {queue}")
        }
        Action::Hangup => "hangup".into(),
    })
}
