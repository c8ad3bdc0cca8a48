//! The command line. Exit code 0: done; 1: the work failed; 2: the call was wrong.

mod check;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Problems, Setup};

/// The work failed.
const FAILED: u8 = 1;

#[derive(Parser)]
#[command(name = "zongji", version, about = "Zongji, an open call centre in one binary.", arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

/// Where the configuration and the data are.
#[derive(Args)]
pub struct Place {
    /// The configuration; without it every key has its default
    #[arg(long, global = true, value_name = "FILE", env = "ZONGJI_CONFIG")]
    config: Option<PathBuf>,
    /// The data directory: database, recordings, journal, key
    #[arg(long, global = true, value_name = "DIR", default_value = "zongji-data", env = "ZONGJI_DATA")]
    data: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Check configuration, tenant and IVR files without a server
    Check(check::Check),
}

impl Place {
    pub fn setup(&self) -> Result<Setup, Problems> {
        Setup::load(self.config.as_deref(), &self.data)
    }
}

/// Reads the command line, does what it says, and tells by the exit code how it went.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Check(check) => check.run(),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("zongji: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
