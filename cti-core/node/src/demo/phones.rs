//! The demo's phones and callers, in a process of their own: they talk on while the server is killed and started again, or
//! becomes another program.
//!
//! The process says in a file where its phones are reached. It ends when that file is taken away, or when no server has held the
//! data for a while.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::{callers, folder_in, people};
use crate::data;

/// How long the phones wait for a server that is gone.
const ALONE_MAX: Duration = Duration::from_secs(15);
/// How often they look for it, and for their file.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// They must be reached by then.
const START_MAX: Duration = Duration::from_secs(20);
/// Callers begin when the tenant has been declared.
const CALL_AFTER: Duration = Duration::from_secs(1);

/// What the file says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Reached {
    sip: SocketAddr,
    callers: usize,
    /// Where each agent's phone is.
    uris: BTreeMap<String, String>,
}

/// The phones of this data directory.
pub struct Phones {
    pub uris: BTreeMap<String, String>,
    file: PathBuf,
    /// `None` where an earlier server started them.
    child: Option<Child>,
}

/// Finds those that wait for a server with this address, or starts new ones.
pub async fn find_or_start(data: &Path, sip: SocketAddr, callers: usize) -> anyhow::Result<Phones> {
    let folder = folder_in(data);
    data::prepare(&folder)?;
    let file = file_in(data);
    if let Some(reached) = read(&file)
        && (reached.sip, reached.callers) == (sip, callers)
        && reached.uris.contains_key(people::PARTNER)
        && data::is_held(&folder)
    {
        tracing::info!("the demo's phones are still there");
        return Ok(Phones { uris: reached.uris, file, child: None });
    }
    // Others end without their file; one that is still being ended holds the folder.
    forget(&file);
    let until = Instant::now() + START_MAX;
    let mut child = None;
    loop {
        if child.is_none() && !data::is_held(&folder) {
            child = Some(spawn(data, sip, callers).context("the demo's phones")?);
        }
        if let Some(reached) = read(&file) {
            return Ok(Phones { uris: reached.uris, file, child });
        }
        if Instant::now() > until {
            bail!("the demo's phones do not say where they are in {}", file.display());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl Phones {
    /// They hang up and end.
    pub fn end(mut self) {
        forget(&self.file);
        if let Some(mut child) = self.child.take()
            && let Err(error) = child.wait()
        {
            tracing::warn!(%error, "the demo's phones can not be waited for");
        }
    }
}

/// The phones' own process, until they are not needed any more.
pub async fn run(data: &Path, sip: SocketAddr, callers: usize) -> anyhow::Result<()> {
    let _alone = data::lock(&folder_in(data)).await?;
    let agents = people::agent_phones(sip.ip())?;
    let file = file_in(data);
    let reached = Reached { sip, callers, uris: agents.uris.clone() };
    data::write_private(&file, &serde_json::to_vec_pretty(&reached)?)?;
    tokio::time::sleep(CALL_AFTER).await;
    let _calling = callers::start(sip, callers)?;
    let mut served = Instant::now();
    while file.exists() && served.elapsed() < ALONE_MAX {
        if data::is_held(data) {
            served = Instant::now();
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    forget(&file);
    Ok(())
}

fn spawn(data: &Path, sip: SocketAddr, callers: usize) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["demo", "--phones-of", &sip.to_string(), "--callers", &callers.to_string()]);
    command.arg("--data").arg(data).stdin(Stdio::null()).stdout(Stdio::null());
    // Of a group of their own: an interrupt at the terminal is the server's, who tells them.
    command.process_group(0).spawn()
}

fn file_in(data: &Path) -> PathBuf {
    folder_in(data).join("phones.json")
}

fn read(file: &Path) -> Option<Reached> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

fn forget(file: &Path) {
    if let Err(error) = std::fs::remove_file(file)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "the phones' file {} can not be removed", file.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn phones_are_found_again_and_end_without_their_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let sip = SocketAddr::from(([127, 0, 0, 1], 9));
        let _server = data::lock(dir.path()).await.expect("free");
        data::prepare(&folder_in(dir.path())).expect("made");
        let at = dir.path().to_owned();
        let running = tokio::spawn(async move { run(&at, sip, 0).await });
        let until = Instant::now() + START_MAX;
        while read(&file_in(dir.path())).is_none() {
            assert!(Instant::now() < until && !running.is_finished(), "they say where they are");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let phones = find_or_start(dir.path(), sip, 0).await.expect("found");
        assert!(phones.child.is_none() && phones.uris.contains_key(people::HUMAN), "{:?}", phones.uris);
        phones.end();
        running.await.expect("no panic").expect("ended");
        assert!(!data::is_held(&folder_in(dir.path())));
    }
}
