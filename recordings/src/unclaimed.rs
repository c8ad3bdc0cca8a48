//! Files that a crash broke off and that no call asks for: found after a start, made playable, and told of.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use cti_base::{RecordingId, Timestamp};

use crate::recorder::Shared;
use crate::store::day_folder;
use crate::{ErrorReason, SealError, peaks, repair, seal};

/// How many days' folders are looked through, the day of the start included.
const DAYS: u64 = 3;
/// Entries of folders that are looked at in one search.
const ENTRIES_MAX: usize = 500_000;
const DAY_MS: u64 = 86_400_000;

/// Recordings that this process writes or has written. `None` while nobody searches.
#[derive(Default)]
pub(crate) struct Claims(Mutex<Option<BTreeSet<RecordingId>>>);

impl Claims {
    pub(crate) fn begin(&self) {
        self.lock().get_or_insert_default();
    }

    pub(crate) fn end(&self) {
        *self.lock() = None;
    }

    /// Waits while that very file may be under repair: milliseconds.
    pub(crate) fn claim(&self, recording: RecordingId) {
        if let Some(claims) = self.lock().as_mut() {
            claims.insert(recording);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<BTreeSet<RecordingId>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sealed file has its peaks beside it; one without, older than `since` and not claimed, is repaired and given them, so that
/// the next search passes it by.
pub(crate) fn search(root: &Path, shared: &Shared, since: SystemTime) {
    let now_ms = since.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |passed| passed.as_millis() as u64);
    let mut left = ENTRIES_MAX;
    for tenant in entries(root, &mut left) {
        for day in 0..DAYS {
            let started = Timestamp::from_millis(now_ms.saturating_sub(day * DAY_MS));
            let folder = tenant.path().join(day_folder(started));
            for entry in entries(&folder, &mut left) {
                look_at(&entry.path(), shared, since);
            }
        }
    }
    if left == 0 {
        tracing::warn!(limit = ENTRIES_MAX, "there are more recordings than are searched for broken-off ones");
    }
}

fn look_at(file: &Path, shared: &Shared, since: SystemTime) {
    let Some(recording) = recording_of(file) else { return };
    let is_old = file.metadata().and_then(|data| data.modified()).is_ok_and(|modified| modified < since);
    if !is_old || peaks::path_beside(file).exists() {
        return;
    }
    let claims = shared.claims.lock();
    if claims.as_ref().is_some_and(|claims| claims.contains(&recording)) {
        return;
    }
    let repaired = repair(file);
    drop(claims);
    match repaired {
        Ok(repaired) => {
            tracing::warn!(
                recording.id = %recording,
                file = %file.display(),
                duration_ms = repaired.frames / 8,
                bytes_cut = repaired.bytes_cut,
                "a recording that nobody asks for was made playable"
            );
            write_peaks(file, shared);
        }
        Err(error) => tracing::warn!(recording.id = %recording, %error, "a file of no use among the recordings"),
    }
    shared.counters.error(ErrorReason::Unclaimed);
}

fn write_peaks(file: &Path, shared: &Shared) {
    let measured = seal::measure(file, |_| {});
    let written = measured.and_then(|(_, found)| {
        peaks::write(file, &found).map_err(|source| SealError::Io { path: file.display().to_string(), source })
    });
    if let Err(error) = written {
        shared.counters.error(ErrorReason::Peaks);
        tracing::warn!(%error, "a waveform could not be made");
    }
}

/// The recording's id in `CALL-RECORDING.wav`; ids have 36 characters.
fn recording_of(file: &Path) -> Option<RecordingId> {
    let name = file.file_name()?.to_str()?.strip_suffix(".wav")?;
    let (call, recording) = (name.get(..36)?, name.get(36..)?.strip_prefix('-')?);
    cti_base::CallId::parse(call)?;
    RecordingId::parse(recording)
}

/// A folder's entries; one that is not there has none.
fn entries(folder: &Path, left: &mut usize) -> Vec<DirEntry> {
    let Ok(reading) = fs::read_dir(folder) else { return Vec::new() };
    let found: Vec<DirEntry> = reading.filter_map(Result::ok).take(*left).collect();
    *left -= found.len();
    found
}
