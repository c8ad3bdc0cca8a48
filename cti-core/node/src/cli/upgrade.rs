//! `zongji upgrade`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;

use super::Place;
use crate::admin::control::{self, AskError};
use crate::admin::{Answer, Request, Status};
use crate::config::Setup;

/// The new program has to answer within this, from when the old one was asked.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

#[derive(Args)]
pub struct Upgrade {
    /// The new program; without it the running one's own file, as it is by now
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// What became of it.
#[derive(Serialize)]
struct Done {
    version_before: String,
    version: String,
    pid: u32,
    /// Calls that were taken up.
    calls: u64,
    /// From asking until the new program answered, its being looked at included.
    took_ms: u64,
    /// From the old program's last moment until the new one took calls: nothing was passed on.
    away_ms: u64,
    /// From the new program's beginning until it took calls.
    start_ms: u64,
}

impl Upgrade {
    pub fn run(&self, place: &Place) -> anyhow::Result<ExitCode> {
        let setup = place.setup()?;
        let binary = match &self.binary {
            Some(file) => Some(std::path::absolute(file).with_context(|| file.display().to_string())?),
            None => None,
        };
        let done = crate::runtime()?.block_on(upgrade(&setup, binary))?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&done)?);
        } else {
            println!(
                "zongji {} became zongji {} (process {}) in {} ms: {} calls taken up, {} ms without a server",
                done.version_before, done.version, done.pid, done.took_ms, done.calls, done.away_ms
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn upgrade(setup: &Setup, binary: Option<PathBuf>) -> anyhow::Result<Done> {
    let asked = Instant::now();
    let Some(before) = status(setup).await else {
        bail!("no server runs on {}: start the new program instead", setup.data.display());
    };
    match control::ask(&setup.control_socket(), &Request::Upgrade { binary }).await {
        Some(Err(AskError::Refused(message))) => bail!("{message}; the running program goes on"),
        Some(Ok(other)) => bail!("the server answered something else: {other:?}"),
        // Its connections end with the old program.
        Some(Err(AskError::NoAnswer(_))) | None => {}
    }
    while asked.elapsed() < ANSWER_WITHIN {
        if let Some(now) = status(setup).await.filter(|now| now.instance != before.instance) {
            return Ok(Done {
                version_before: before.version,
                version: now.version,
                pid: now.pid,
                calls: now.taken_up,
                took_ms: u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX),
                away_ms: now.away_ms,
                start_ms: now.start_ms,
            });
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    bail!(
        "the new program does not answer on {} after {} s: see its log",
        setup.control_socket().display(),
        ANSWER_WITHIN.as_secs()
    )
}

async fn status(setup: &Setup) -> Option<Status> {
    match control::ask(&setup.control_socket(), &Request::Status).await {
        Some(Ok(Answer::Status(status))) => Some(status),
        Some(Ok(_) | Err(_)) | None => None,
    }
}
