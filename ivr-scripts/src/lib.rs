//! The IVR script language: TOML compiled to a checked graph of nodes, stepped by the switch. Pure.
//!
//! A [`Script`] is made once by [`Script::compile`], which refuses what a caller could get lost in. A [`Walk`] is one
//! caller's place in it. **Call [`Walk::step`] with what happened, carry out every [`Action`] it returns in order, then
//! wait for the next happening or for the deadline it set.** A walk serialises, so that it can be taken up again.
//!
//! # The language
//! ```toml
//! [script]
//! name = "main"
//! start = "menu"                # where a caller begins
//! locale = "zh-CN"              # optional: else the tenant's
//!
//! [[node]]
//! name = "menu"
//! kind = "menu"                 # play, menu, collect, hours, language, queue, hangup or goto
//! prompts = ["main_menu"]       # one name or a list, without language
//! timeout_s = 5                 # how long to wait for a key after the prompts (default 5)
//! barge_in = true               # a key ends the prompts (default); false: keys count when the prompts are over
//! digits = { 1 = "repair", "*" = "menu" }
//! silence = { prompts = "silence", repeat = 2, then = "repair" }   # no key: said again twice, then on
//! invalid = { prompts = "invalid", repeat = 2, then = "bye" }      # the third wrong key goes on
//!
//! [[node]]
//! name = "repair"
//! kind = "queue"
//! queue = "repair"
//! priority = 0                  # optional, -100 to 100; higher is served first
//! requires = { repair = 3 }     # optional: skills and least level, 1 to 5
//!
//! [[node]]
//! name = "bye"
//! kind = "hangup"
//! prompts = "goodbye"           # optional
//! ```
//! | kind | further keys |
//! |---|---|
//! | `play` | `prompts`, `then`, `barge_in`: a key ends it, and counts for the next menu |
//! | `collect` | `prompts`, `into` (a variable), `min_digits` 1, `max_digits`, `terminator` `"#"`, `timeout_s` 6 to the first digit, `digit_timeout_s` 3 between digits, `barge_in`, `silence`, `invalid`, `then` |
//! | `hours` | `hours` (by name), `open`, `closed` |
//! | `language` | `locale`, `then` |
//! | `goto` | `then` |
//!
//! Keys pressed before they are asked for are kept, up to [`TYPED_AHEAD_MAX`], for the next menu or collect. A caller who
//! presses nothing always comes to an end: a way round that waits for no key is refused at compile time.

pub mod announce;
mod check;
mod compile;
mod error;
mod read;
mod script;
pub mod shipped;
mod walk;

#[cfg(test)]
mod tests;

pub use error::ScriptError;
pub use script::{Script, World};
pub use walk::{Action, Happening, Host, Walk};

/// Nodes of one script.
pub const NODES_MAX: usize = 200;
/// Nodes that one caller may enter in one walk: after it the walk hangs up.
pub const STEPS_MAX: u32 = 1_000;
/// Keys that are kept until they are asked for.
pub const TYPED_AHEAD_MAX: usize = 16;
/// Bytes of one script.
pub const SOURCE_BYTES_MAX: usize = 256 * 1024;
/// Prompts that one node may say in a row.
pub const PROMPTS_MAX: usize = 16;
/// Digits of one collected number.
pub const COLLECT_DIGITS_MAX: usize = 32;
