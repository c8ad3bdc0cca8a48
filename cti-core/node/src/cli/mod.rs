//! The command line. Exit code 0: done; 1: the work failed; 2: the call was wrong.

mod apply;
mod check;
mod demo;
mod forecast;
mod recording;
mod serve;
mod simulate;
mod staff;
mod upgrade;
mod user;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use clap::{Args, Parser, Subcommand};
use zongji_sql::Store;

use crate::admin::{self, Answer, Request, control};
use crate::config::{Problems, Setup};
use crate::{data, phone};

/// The work failed.
const FAILED: u8 = 1;
/// The call was wrong.
const USAGE: u8 = 2;

#[derive(Parser)]
#[command(
    name = "zongji",
    version,
    about = "Zongji, an open call centre in one binary.",
    arg_required_else_help = true
)]
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
    /// Run the call centre
    Serve(serve::Serve),
    /// Run it with a sample tenant, simulated callers and simulated agents
    Demo(demo::Demo),
    /// Make the running server another program without dropping a call
    Upgrade(upgrade::Upgrade),
    /// Declare tenants from files: prints the differences, drops no call
    Apply(apply::Apply),
    /// Check configuration, tenant and IVR files without a server
    Check(check::Check),
    /// The people and programs who sign in
    #[command(subcommand)]
    User(user::User),
    /// The recordings' seals
    #[command(subcommand)]
    Recording(recording::Command),
    /// Run the tenant's own rules over simulated callers, and print the figures
    Simulate(simulate::Simulate),
    /// How many agents a service level takes: Erlang C, or with a patience Erlang A
    Staff(staff::Staff),
    /// The calls that are to come, with a back-test and the agents that they take
    Forecast(forecast::Forecast),
    /// A SIP phone: calls, or waits for calls and answers them
    Phone(Box<phone::Args>),
}

impl Place {
    pub fn setup(&self) -> Result<Setup, Problems> {
        Setup::load(self.config.as_deref(), &self.data)
    }

    /// Has a request carried out: by the server that runs on this data, or else on the data itself.
    fn ask(&self, request: Request) -> anyhow::Result<Answer> {
        let setup = self.setup()?;
        data::prepare(&setup.data)?;
        crate::runtime()?.block_on(async {
            if let Some(answer) = ask_server(&setup, &request).await? {
                return Ok(answer);
            }
            let store = Store::connect(&setup.database_url()).await.context("the database can not be opened")?;
            let done = admin::carry_out(&store, request).await.map_err(|message| anyhow!(message));
            store.close().await;
            Ok(done?.answer)
        })
    }
}

/// The running server's answer; `None` where none runs. One that is starting is waited for.
async fn ask_server(setup: &Setup, request: &Request) -> anyhow::Result<Option<Answer>> {
    const STARTING_MAX: Duration = Duration::from_secs(20);
    const LOOK_AGAIN: Duration = Duration::from_millis(100);
    let until = Instant::now() + STARTING_MAX;
    loop {
        if let Some(answer) = control::ask(&setup.control_socket(), request).await {
            return Ok(Some(answer?));
        }
        if !data::is_held(&setup.data) {
            return Ok(None);
        }
        if Instant::now() > until {
            bail!("the server on {} does not answer on its control socket: is it ending?", setup.data.display());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Reads the command line, does what it says, and tells by the exit code how it went.
pub fn main() -> ExitCode {
    let Cli { place, command } = Cli::parse();
    let done = match command {
        Command::Serve(serve) => serve.run(&place),
        Command::Upgrade(upgrade) => upgrade.run(&place),
        Command::Demo(demo) => demo.run(&place),
        Command::Apply(apply) => apply.run(&place),
        Command::Check(check) => check.run(),
        Command::User(user) => user.run(&place),
        Command::Recording(recording) => recording.run(&place),
        Command::Simulate(simulate) => simulate.run(),
        Command::Staff(staff) => staff.run(),
        Command::Forecast(forecast) => forecast.run(&place),
        Command::Phone(args) => phone::run(*args),
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
