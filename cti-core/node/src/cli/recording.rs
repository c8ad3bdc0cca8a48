//! `zongji recording verify` and `export`

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use chrono::{Days, NaiveDate, NaiveTime};
use clap::{Args, Subcommand};
use cti_base::TenantId;
use indicatif::ProgressBar;
use recordings::Verified;
use serde::Serialize;
use zongji_sql::calls::{self, Call, CallFilter};
use zongji_sql::recordings::{self as rows, Recording, RecordingGap, RecordingState};
use zongji_sql::{Page, Store, tenants};

use super::{FAILED, Place};
use crate::data;

/// The index that `export` writes: a line of JSON for each recording.
const INDEX: &str = "index.jsonl";

#[derive(Subcommand)]
pub enum Command {
    /// Check that every sealed recording is still the file that was sealed
    Verify {
        #[command(flatten)]
        which: Which,
        /// Print the figures as JSON
        #[arg(long)]
        json: bool,
    },
    /// Copy recordings out, each checked against its seal, with an index of what they are
    Export {
        /// Where to: made if it is not there; it must hold no export yet
        dir: PathBuf,
        #[command(flatten)]
        which: Which,
        /// Print the figures as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
pub struct Which {
    /// Only this tenant's
    #[arg(long)]
    tenant: Option<String>,
    /// Only of calls that began on this day (UTC) or later
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    from: Option<NaiveDate>,
    /// Only of calls that began on this day (UTC) or earlier
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    to: Option<NaiveDate>,
}

/// What the check came to.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Figures {
    /// Each is as it was sealed.
    intact: u64,
    /// Of the intact: with gaps, because the program was down meanwhile.
    resumed: u64,
    /// Of the intact: ended before their call did, as after a full disk.
    incomplete: u64,
    /// Not sealed: still being written, or failed.
    unsealed: u64,
    wrong: Vec<Wrong>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Wrong {
    tenant: TenantId,
    recording: String,
    what: String,
}

/// A line of the index. Times are UTC milliseconds.
#[derive(Serialize)]
struct Entry<'a> {
    /// Below the index's folder; null where there is none, or it is not as it was sealed.
    file: Option<&'a str>,
    tenant: &'a TenantId,
    recording: &'a str,
    call: &'a str,
    state: RecordingState,
    reason: Option<&'a str>,
    started_ms: u64,
    duration_ms: Option<u64>,
    channels: Option<u64>,
    bytes: Option<u64>,
    sha256: Option<&'a str>,
    /// Silence in which the program was down, ms since the recording's start.
    gaps: &'a [RecordingGap],
    from: &'a str,
    to: &'a str,
    queue: Option<&'a str>,
    agent: Option<&'a str>,
}

impl Command {
    pub fn run(self, place: &Place) -> anyhow::Result<ExitCode> {
        let setup = place.setup()?;
        data::prepare(&setup.data)?;
        let (figures, json, done) = crate::runtime()?.block_on(async {
            let store = Store::connect(&setup.database_url()).await.context("the database can not be opened")?;
            let root = setup.recordings();
            let done = match self {
                Self::Verify { which, json } => {
                    let verified =
                        each(&store, &which, |figures, call, row| verify_one(&root, figures, &call.tenant, row)).await;
                    verified.map(|figures| (figures, json, "intact"))
                }
                Self::Export { dir, which, json } => {
                    let exported = export(&store, &root, &dir, &which).await;
                    exported.map(|figures| (figures, json, "copied"))
                }
            };
            store.close().await;
            done
        })?;
        if json {
            println!("{}", serde_json::to_string_pretty(&figures)?);
        } else {
            for wrong in &figures.wrong {
                println!("tenant {} recording {}: {}", wrong.tenant, wrong.recording, wrong.what);
            }
            let Figures { intact, resumed, incomplete, unsealed, wrong } = &figures;
            println!(
                "{intact} {done} ({resumed} with a gap, {incomplete} incomplete), {} not as sealed, {unsealed} without a seal",
                wrong.len()
            );
        }
        Ok(if figures.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
    }
}

fn day(text: &str) -> Result<NaiveDate, String> {
    text.parse().map_err(|error| format!("{error}: a day is written as 2026-11-22"))
}

impl Which {
    fn filter(&self) -> CallFilter {
        let start_ms = |day: NaiveDate| u64::try_from(day.and_time(NaiveTime::MIN).and_utc().timestamp_millis()).ok();
        CallFilter {
            from_ms: self.from.and_then(start_ms),
            to_ms: self.to.and_then(|day| day.checked_add_days(Days::new(1))).and_then(start_ms),
            ..CallFilter::default()
        }
    }
}

/// Gives every recording asked for, with its call, to `one`.
async fn each(
    store: &Store,
    which: &Which,
    mut one: impl FnMut(&mut Figures, &Call, &Recording) -> anyhow::Result<()>,
) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let filter = which.filter();
    let bar = ProgressBar::new_spinner().with_message("recordings");
    let only = which.tenant.as_deref().map(TenantId::from);
    let tenants = tenants::list(store).await?;
    for tenant in tenants.into_iter().filter(|tenant| only.as_ref().is_none_or(|only| *only == tenant.id)) {
        let mut page = Page::limit(zongji_sql::LIMIT_MAX);
        loop {
            let listing = calls::list(store, &tenant.id, &filter, &page).await?;
            for call in listing.items {
                let Some(recording) = &call.recording else { continue };
                if let Some(row) = rows::get(store, &tenant.id, &recording.id).await? {
                    one(&mut figures, &call, &row)?;
                    bar.inc(1);
                }
            }
            match listing.next {
                Some(next) => page.after = Some(next),
                None => break,
            }
        }
    }
    bar.finish_and_clear();
    Ok(figures)
}

async fn export(store: &Store, root: &Path, dir: &Path, which: &Which) -> anyhow::Result<Figures> {
    std::fs::create_dir_all(dir).with_context(|| format!("{} can not be made", dir.display()))?;
    let path = dir.join(INDEX);
    if path.exists() {
        bail!("{} holds an export already", dir.display());
    }
    let mut index = BufWriter::new(File::create(&path).with_context(|| path.display().to_string())?);
    let figures =
        each(store, which, |figures, call, row| export_one(root, dir, &mut index, figures, call, row)).await?;
    index.flush().with_context(|| path.display().to_string())?;
    Ok(figures)
}

fn verify_one(root: &Path, figures: &mut Figures, tenant: &TenantId, row: &Recording) -> anyhow::Result<()> {
    let (Some(path), Some(sha256)) = (&row.path, &row.sha256) else {
        figures.unsealed += 1;
        return Ok(());
    };
    let found = recordings::verify(&recordings::resolve(root, path)?, sha256)?;
    figures.count(tenant, row, path, found);
    Ok(())
}

/// Copies one file and checks the copy, so that what lies in the export is what was sealed.
fn export_one(
    root: &Path,
    dir: &Path,
    index: &mut impl Write,
    figures: &mut Figures,
    call: &Call,
    row: &Recording,
) -> anyhow::Result<()> {
    let mut file = None;
    if let (Some(path), Some(sha256)) = (&row.path, &row.sha256) {
        let (from, to) = (recordings::resolve(root, path)?, recordings::resolve(dir, path)?);
        let found = if from.exists() {
            if let Some(folder) = to.parent() {
                std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
            }
            std::fs::copy(&from, &to).with_context(|| format!("{path} can not be copied"))?;
            recordings::verify(&to, sha256)?
        } else {
            Verified::Missing
        };
        if figures.count(&call.tenant, row, path, found) {
            file = Some(path.as_str());
        } else if to.exists() {
            std::fs::remove_file(&to).with_context(|| to.display().to_string())?;
        }
    } else {
        figures.unsealed += 1;
    }
    let entry = Entry {
        file,
        tenant: &call.tenant,
        recording: &row.id,
        call: &call.id,
        state: row.state,
        reason: row.reason.as_deref(),
        started_ms: row.started_ms,
        duration_ms: row.duration_ms,
        channels: row.channels,
        bytes: row.bytes,
        sha256: row.sha256.as_deref(),
        gaps: &row.gaps,
        from: &call.from,
        to: &call.to,
        queue: call.queue.as_deref(),
        agent: call.agent.as_deref(),
    };
    serde_json::to_writer(&mut *index, &entry)?;
    writeln!(index)?;
    Ok(())
}

impl Figures {
    /// Whether the file is the one that was sealed.
    fn count(&mut self, tenant: &TenantId, row: &Recording, path: &str, found: Verified) -> bool {
        let what = match found {
            Verified::Intact => {
                self.intact += 1;
                self.resumed += u64::from(!row.gaps.is_empty());
                self.incomplete += u64::from(row.state == RecordingState::Incomplete);
                return true;
            }
            Verified::Changed { sha256 } => format!("{path} is not the file that was sealed: SHA-256 {sha256}"),
            Verified::Missing => format!("{path} is missing"),
        };
        self.wrong.push(Wrong { tenant: tenant.clone(), recording: row.id.clone(), what });
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// printf sound | sha256sum
    const SEAL: &str = "dd29442deca69f52c50006b831cb216edf78a7da33748f0a80ff19f2ebe57ecd";

    fn row(path: Option<&str>, sha256: Option<&str>) -> Recording {
        Recording {
            id: "r".into(),
            call_id: "c".into(),
            path: path.map(Into::into),
            duration_ms: None,
            channels: None,
            sha256: sha256.map(Into::into),
            bytes: None,
            state: RecordingState::Sealed,
            reason: None,
            gaps: Vec::new(),
            started_ms: 0,
        }
    }

    fn resumed_and_incomplete() -> Recording {
        Recording {
            state: RecordingState::Incomplete,
            reason: Some("the disk was full".into()),
            gaps: vec![RecordingGap { from_ms: 100, to_ms: 350 }],
            ..row(Some("a.wav"), Some(SEAL))
        }
    }

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("a.wav"), "sound").expect("written");
        std::fs::write(dir.path().join("b.wav"), "silence").expect("written");
        dir
    }

    #[test]
    fn a_changed_or_missing_file_is_told_and_an_intact_one_counted() {
        let dir = folder();
        let mut figures = Figures::default();
        let acme = TenantId::from("acme");
        for row in [
            row(Some("a.wav"), Some(SEAL)),
            resumed_and_incomplete(),
            row(Some("b.wav"), Some(SEAL)),
            row(Some("c.wav"), Some(SEAL)),
            row(None, None),
        ] {
            verify_one(dir.path(), &mut figures, &acme, &row).expect("read");
        }
        assert_eq!((figures.intact, figures.unsealed, figures.wrong.len()), (2, 1, 2));
        assert_eq!((figures.resumed, figures.incomplete), (1, 1));
        assert!(figures.wrong[0].what.starts_with("b.wav is not the file"), "{figures:?}");
        assert_eq!(figures.wrong[1].what, "c.wav is missing");
        assert!(verify_one(dir.path(), &mut figures, &acme, &row(Some("../x"), Some(SEAL))).is_err());
    }

    #[test]
    fn an_export_holds_what_was_sealed_and_an_index_with_the_gaps() {
        let (dir, out) = (folder(), tempfile::tempdir().expect("a directory"));
        let call: Call = serde_json::from_str(CALL).expect("a call");
        let (mut figures, mut index) = (Figures::default(), Vec::new());
        for row in [resumed_and_incomplete(), row(Some("b.wav"), Some(SEAL)), row(None, None)] {
            export_one(dir.path(), out.path(), &mut index, &mut figures, &call, &row).expect("copied");
        }
        assert_eq!(std::fs::read(out.path().join("a.wav")).expect("copied"), b"sound");
        assert!(!out.path().join("b.wav").exists(), "what is not as it was sealed is no export");
        assert_eq!((figures.intact, figures.wrong.len(), figures.unsealed), (1, 1, 1));
        let text = String::from_utf8(index).expect("text");
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!((&lines[0]["file"], &lines[0]["state"]), (&"a.wav".into(), &"incomplete".into()));
        assert_eq!(lines[0]["gaps"], serde_json::json!([{ "from_ms": 100, "to_ms": 350 }]));
        assert_eq!((&lines[0]["reason"], &lines[0]["agent"]), (&"the disk was full".into(), &"1001".into()));
        assert!(lines[1]["file"].is_null() && lines[2]["file"].is_null());
    }

    #[test]
    fn days_are_whole_days_in_utc() {
        let which = Which { tenant: None, from: day("2026-11-22").ok(), to: day("2026-11-22").ok() };
        let filter = which.filter();
        assert_eq!((filter.from_ms, filter.to_ms), (Some(1_795_305_600_000), Some(1_795_392_000_000)));
        assert!(day("22.11.2026").is_err());
    }

    const CALL: &str = r#"{"id":"c","tenant":"acme","direction":"inbound","outcome":"answered","cause":"caller_hangup",
        "from":"+8613800138000","to":"4001001000","trunk":null,"ivr_path":[],"queue":"repair","agent":"1001","customer_id":null,
        "case_ids":[],"started_ms":0,"queued_ms":null,"offered_ms":null,"answered_ms":null,"ended_ms":1,"wait_ms":0,"ring_ms":0,
        "talk_ms":0,"hold_ms":0,"wrapup_ms":null,"legs":[],"segments":[],"recording":null,"disposition":null,"quality":{},
        "vars":{}}"#;
}
