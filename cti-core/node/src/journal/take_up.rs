//! From what the journal kept to the engine as it was: the last snapshot, and every input after it handled again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cti_base::Timestamp;
use cti_switch::{Effect, Engine, EngineConfig, Input};
use serde::{Deserialize, Serialize};

use super::store::{self, Store};
use super::{Cut, JournalError, KeptGroup, Opened};

/// What came of taking up.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// There was nothing to take up, or it could not be: the engine is a new one.
    pub is_new: bool,
    pub snapshot_bytes: usize,
    pub groups: u64,
    /// Inputs handled again.
    pub inputs: u64,
    /// Facts that were not derived again as the journal has them.
    pub facts_differing: u64,
    /// When the last input was handled before the end.
    pub last_at: Timestamp,
    pub took: Duration,
    pub cut: Option<Cut>,
    pub moved_aside: Option<PathBuf>,
}

#[derive(Serialize)]
struct EntryRef<'a> {
    at: Timestamp,
    input: &'a Input,
}

#[derive(Deserialize)]
struct Entry {
    at: Timestamp,
    input: Input,
}

/// Makes the engine of what was kept; a new one of `seed` where there is nothing. The journal is cut where a group can not be
/// handled again, be it that this program's code panics on it. **Where the report does not say new, the engine's next input is
/// `Input::Restarted`**, and the clock reads no less than `last_at`.
pub fn take_up(opened: &mut Opened, config: EngineConfig, seed: [u8; 32]) -> Result<(Engine, Report), JournalError> {
    let started = Instant::now();
    let mut report = Report::default();
    let engine = loop {
        let Some(restored) = restore(opened, config.clone()) else { break None };
        report = Report { snapshot_bytes: restored.1, ..Report::default() };
        match replay(restored.0, opened, &mut report) {
            Ok(engine) => break Some(engine),
            Err(whole) => opened.cut_after(whole)?,
        }
    };
    report.is_new = engine.is_none();
    let engine = engine.unwrap_or_else(|| Engine::new(config, seed));
    report.last_at = opened.kept.last_at;
    report.cut = opened.kept.cut;
    report.moved_aside = opened.kept.moved_aside.clone();
    report.took = started.elapsed();
    if !report.is_new {
        tracing::info!(
            snapshot_bytes = report.snapshot_bytes,
            groups = report.groups,
            inputs = report.inputs,
            took_ms = report.took.as_millis(),
            "the calls of the journal are taken up"
        );
    }
    if report.facts_differing > 0 {
        tracing::error!(facts = report.facts_differing, "the journal's inputs did not lead to its facts again");
    }
    Ok((engine, report))
}

/// Whether this program understands what a running server keeps in `folder`: its last snapshot. Reads only.
pub fn could_take_up(folder: &Path, key: &[u8; 32], config: EngineConfig) -> Result<(), String> {
    let path = folder.join(store::FILE);
    let unread = |error: &dyn std::fmt::Display| format!("the journal {} can not be read: {error}", path.display());
    let Some(store) = Store::open_to_read(&path, key).map_err(|error| unread(&error))? else { return Ok(()) };
    let (snapshot, broken) = store.snapshot().map_err(|error| unread(&error))?;
    match snapshot {
        Some(snapshot) => Engine::restore(config, &snapshot.state)
            .map(drop)
            .map_err(|error| format!("the calls in progress are not understood: {error}")),
        None if broken > 0 => Err(unread(&"it was written with another node.key")),
        None => Ok(()),
    }
}

/// Appends one input, as it is read here, to a group's.
pub(super) fn write(group: &mut Vec<u8>, at: Timestamp, input: &Input) -> Result<(), rmp_serde::encode::Error> {
    rmp_serde::encode::write_named(group, &EntryRef { at, input })
}

/// The engine of the last snapshot, and the snapshot's size.
fn restore(opened: &Opened, config: EngineConfig) -> Option<(Engine, usize)> {
    let snapshot = opened.kept.snapshot.as_ref()?;
    match catch_unwind(AssertUnwindSafe(|| Engine::restore(config, &snapshot.state))) {
        Ok(Ok(engine)) => Some((engine, snapshot.state.len())),
        Ok(Err(error)) => {
            tracing::error!(%error, group = snapshot.number, "the last snapshot can not be taken up: its calls are lost");
            None
        }
        Err(_) => {
            tracing::error!(
                group = snapshot.number,
                "the last snapshot can not be taken up, by a panic: its calls are lost"
            );
            None
        }
    }
}

/// Handles every group again; or gives the number of the last that could be.
fn replay(mut engine: Engine, opened: &Opened, report: &mut Report) -> Result<Engine, u64> {
    for group in &opened.kept.groups {
        let derived = catch_unwind(AssertUnwindSafe(|| replay_group(&mut engine, group)));
        let (inputs, facts) = match derived {
            Ok(Ok(derived)) => derived,
            Ok(Err(error)) => {
                tracing::error!(%error, group = group.number, "a group of the journal can not be read");
                return Err(group.number - 1);
            }
            Err(_) => {
                tracing::error!(group = group.number, "a group of the journal can not be handled again, by a panic");
                return Err(group.number - 1);
            }
        };
        report.groups += 1;
        report.inputs += inputs;
        if group.facts > 0 || !facts.is_empty() {
            report.facts_differing += differing(opened, group, &facts);
        }
    }
    Ok(engine)
}

/// Gives the number of inputs, and the facts as JSON.
fn replay_group(engine: &mut Engine, group: &KeptGroup) -> Result<(u64, Vec<String>), rmp_serde::decode::Error> {
    let mut rest = &group.inputs[..];
    let (mut inputs, mut facts) = (0, Vec::new());
    while !rest.is_empty() {
        let entry: Entry = rmp_serde::from_read(&mut rest)?;
        engine.handle(entry.at, entry.input);
        inputs += 1;
        while let Some(effect) = engine.poll_effect() {
            if let Effect::Fact(fact) = effect {
                facts.push(serde_json::to_string(&fact).unwrap_or_default());
            }
        }
    }
    Ok((inputs, facts))
}

fn differing(opened: &Opened, group: &KeptGroup, derived: &[String]) -> u64 {
    let stored = opened.facts_of(group);
    let same = stored.iter().zip(derived).filter(|((_, stored), derived)| stored == *derived).count();
    (stored.len().max(derived.len()) - same) as u64
}

#[cfg(test)]
#[path = "take_up_tests.rs"]
mod tests;
