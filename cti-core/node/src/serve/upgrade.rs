//! The running server becomes another program: the same process, the same arguments, no call lost.
//!
//! The new program is looked at first. Then the switch stands still, its whole state is on disk, and the process is replaced;
//! all else is as after a crash. Nothing is handed over: every socket is closed by the kernel and bound again.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// The new program has to say its version, and that it could serve, within this each.
const LOOK_MAX: Duration = Duration::from_secs(10);
/// What it prints of that is read so far, bytes.
const SAID_MAX: usize = 2_000;
/// Makes `serve` and `demo` look whether they could, and end.
pub const CHECK_FLAG: &str = "--check-only";

/// This program and how it was called, taken at its start: its file may be replaced while it runs.
#[derive(Clone, Debug)]
pub struct Program {
    file: PathBuf,
    name: OsString,
    args: Vec<OsString>,
}

impl Program {
    /// The one that runs. Must be asked at its start.
    pub fn running() -> io::Result<Self> {
        let mut args = std::env::args_os();
        let file = std::env::current_exe()?;
        let name = args.next().unwrap_or_else(|| file.clone().into());
        Ok(Self { file, name, args: args.collect() })
    }

    /// The same call of another program; of the same file, as it is by now, for `None`.
    pub fn becomes(&self, file: Option<PathBuf>) -> Self {
        match file {
            Some(file) => Self { name: file.clone().into(), file, args: self.args.clone() },
            None => self.clone(),
        }
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Asks the program what it is and whether it could serve as it would be called; its version. An error says what is wrong
    /// with it.
    pub async fn look(&self) -> Result<String, String> {
        let version = self.ask(&["--version".into()]).await?;
        let version = version.trim();
        if !version.starts_with("zongji ") {
            let said: String = version.chars().take(80).collect();
            return Err(format!("{} is not zongji: to --version it says {said:?}", self.file.display()));
        }
        let mut args = self.args.clone();
        args.push(CHECK_FLAG.into());
        self.ask(&args).await?;
        Ok(version.to_owned())
    }

    /// Becomes it. Returns only where that fails, and then nothing has changed.
    pub fn exec(&self) -> io::Error {
        std::process::Command::new(&self.file).arg0(&self.name).args(&self.args).exec()
    }

    async fn ask(&self, args: &[OsString]) -> Result<String, String> {
        let file = self.file.display();
        let mut command = Command::new(&self.file);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let child = command.spawn().map_err(|error| format!("{file} can not be run: {error}"))?;
        let ended = timeout(LOOK_MAX, child.wait_with_output()).await;
        let ended = ended.map_err(|_| format!("{file} did not end within {} s", LOOK_MAX.as_secs()))?;
        let output = ended.map_err(|error| format!("{file} can not be run: {error}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said: String = said.trim().chars().take(SAID_MAX).collect();
            return Err(format!("{file} can not take over ({}): {said}", output.status));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn script(dir: &Path, text: &str) -> Program {
        let file = dir.join("program");
        std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o700)).expect("executable");
        Program { name: file.clone().into(), file, args: vec!["serve".into(), "--data".into(), "d".into()] }
    }

    #[tokio::test]
    async fn only_a_program_that_is_zongji_and_could_serve_is_taken() {
        let dir = tempfile::tempdir().expect("a directory");
        let says = "[ \"$1\" = --version ] && echo zongji 9.9.9 && exit 0";
        let right = format!("{says}\n[ \"$*\" = \"serve --data d {CHECK_FLAG}\" ]");
        assert_eq!(script(dir.path(), &right).look().await, Ok("zongji 9.9.9".into()));
        let refused = async |text: &str, expect: &str| {
            let error = script(dir.path(), text).look().await.expect_err(text);
            assert!(error.contains(expect), "{error}");
        };
        refused("echo bash 5", "is not zongji: to --version it says \"bash 5\"").await;
        refused("exit 3", "can not take over (exit status: 3)").await;
        refused(&format!("{says}\necho unknown key >&2; exit 1"), "can not take over (exit status: 1): unknown key")
            .await;
        let missing = Program { file: "/nonexistent/zongji".into(), ..script(dir.path(), "") };
        assert!(missing.look().await.expect_err("missing").contains("can not be run: No such file"));
    }

    #[test]
    fn a_program_that_can_not_be_become_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("zongji");
        std::fs::write(&file, "no program").expect("written");
        let program = Program { name: "zongji".into(), file, args: Vec::new() };
        assert_eq!(program.exec().kind(), io::ErrorKind::PermissionDenied);
    }
}
