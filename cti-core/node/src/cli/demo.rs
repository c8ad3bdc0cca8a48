//! `zongji demo`

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;

use super::Place;
use crate::{demo, serve};

#[derive(Args)]
pub struct Demo {
    /// Simulated callers at once; 0 leaves the lines to you
    #[arg(long, value_name = "N", default_value_t = demo::CALLERS_DEFAULT, value_parser = callers)]
    callers: usize,
    /// Look whether this program could serve as it is called, and end
    #[arg(long, hide = true)]
    check_only: bool,
    /// Be the phones and callers of the demo at this SIP address
    #[arg(long, hide = true, value_name = "ADDR:PORT")]
    phones_of: Option<SocketAddr>,
}

impl Demo {
    pub fn run(&self, place: &Place) -> anyhow::Result<ExitCode> {
        let setup = place.setup()?;
        if self.check_only {
            serve::check(&setup)?;
        } else if let Some(sip) = self.phones_of {
            demo::run_phones(&setup, sip, self.callers)?;
        } else {
            demo::run(setup, self.callers)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn callers(text: &str) -> Result<usize, String> {
    let wanted = format!("a number of callers is 0 to {}", demo::CALLERS_MAX);
    text.parse().ok().filter(|callers| *callers <= demo::CALLERS_MAX).ok_or(wanted)
}
