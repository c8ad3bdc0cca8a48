//! `zongji recording verify`

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use cti_base::TenantId;
use recordings::Verified;
use serde::Serialize;
use zongji_sql::calls::{self, CallFilter};
use zongji_sql::recordings::{self as rows, Recording};
use zongji_sql::{Page, Store, tenants};

use super::{FAILED, Place};
use crate::data;

#[derive(Subcommand)]
pub enum Command {
    /// Check that every sealed recording is still the file that was sealed
    Verify {
        /// Only this tenant's
        #[arg(long)]
        tenant: Option<String>,
        /// Print the figures as JSON
        #[arg(long)]
        json: bool,
    },
}

/// What the check came to.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Figures {
    intact: u64,
    /// Not sealed: still being written, failed, or broken off with the program.
    unsealed: u64,
    wrong: Vec<Wrong>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Wrong {
    tenant: TenantId,
    recording: String,
    what: String,
}

impl Command {
    pub fn run(self, place: &Place) -> anyhow::Result<ExitCode> {
        let Self::Verify { tenant, json } = self;
        let setup = place.setup()?;
        data::prepare(&setup.data)?;
        let figures = crate::runtime()?.block_on(async {
            let store = Store::connect(&setup.database_url()).await.context("the database can not be opened")?;
            let figures = verify_all(&store, &setup.recordings(), tenant.map(TenantId::from)).await;
            store.close().await;
            figures
        })?;
        if json {
            println!("{}", serde_json::to_string_pretty(&figures)?);
        } else {
            for wrong in &figures.wrong {
                println!("tenant {} recording {}: {}", wrong.tenant, wrong.recording, wrong.what);
            }
            let (intact, unsealed) = (figures.intact, figures.unsealed);
            println!("{intact} intact, {} not as sealed, {unsealed} without a seal", figures.wrong.len());
        }
        Ok(if figures.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
    }
}

async fn verify_all(store: &Store, root: &Path, only: Option<TenantId>) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let tenants = tenants::list(store).await?;
    for tenant in tenants.into_iter().filter(|tenant| only.as_ref().is_none_or(|only| *only == tenant.id)) {
        let mut page = Page::limit(zongji_sql::LIMIT_MAX);
        loop {
            let listing = calls::list(store, &tenant.id, &CallFilter::default(), &page).await?;
            for call in listing.items {
                let Some(recording) = call.recording else { continue };
                if let Some(row) = rows::get(store, &tenant.id, &recording.id).await? {
                    verify_one(root, &tenant.id, &row, &mut figures)?;
                }
            }
            match listing.next {
                Some(next) => page.after = Some(next),
                None => break,
            }
        }
    }
    Ok(figures)
}

fn verify_one(root: &Path, tenant: &TenantId, row: &Recording, figures: &mut Figures) -> anyhow::Result<()> {
    let (Some(path), Some(sha256)) = (&row.path, &row.sha256) else {
        figures.unsealed += 1;
        return Ok(());
    };
    let what = match recordings::verify(&recordings::resolve(root, path)?, sha256)? {
        Verified::Intact => {
            figures.intact += 1;
            return Ok(());
        }
        Verified::Changed { sha256: found } => format!("{path} is not the file that was sealed: SHA-256 {found}"),
        Verified::Missing => format!("{path} is missing"),
    };
    figures.wrong.push(Wrong { tenant: tenant.clone(), recording: row.id.clone(), what });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(path: Option<&str>, sha256: Option<&str>) -> Recording {
        Recording {
            id: "r".into(),
            call_id: "c".into(),
            path: path.map(Into::into),
            duration_ms: None,
            channels: None,
            sha256: sha256.map(Into::into),
            bytes: None,
            state: rows::RecordingState::Sealed,
            reason: None,
            started_ms: 0,
        }
    }

    #[test]
    fn a_changed_or_missing_file_is_told_and_an_intact_one_counted() {
        // printf sound | sha256sum
        const SEAL: &str = "dd29442deca69f52c50006b831cb216edf78a7da33748f0a80ff19f2ebe57ecd";
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("a.wav"), "sound").expect("written");
        std::fs::write(dir.path().join("b.wav"), "silence").expect("written");
        let mut figures = Figures::default();
        let acme = TenantId::from("acme");
        for row in [
            row(Some("a.wav"), Some(SEAL)),
            row(Some("b.wav"), Some(SEAL)),
            row(Some("c.wav"), Some(SEAL)),
            row(None, None),
        ] {
            verify_one(dir.path(), &acme, &row, &mut figures).expect("read");
        }
        assert_eq!((figures.intact, figures.unsealed, figures.wrong.len()), (1, 1, 2));
        assert!(figures.wrong[0].what.starts_with("b.wav is not the file"), "{figures:?}");
        assert_eq!(figures.wrong[1].what, "c.wav is missing");
        assert!(verify_one(dir.path(), &acme, &row(Some("../x"), Some(SEAL)), &mut figures).is_err());
    }
}
