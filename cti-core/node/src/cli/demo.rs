//! `zongji demo`

use std::process::ExitCode;

use clap::Args;

use super::Place;
use crate::demo;

#[derive(Args)]
pub struct Demo {
    /// Simulated callers at once; 0 leaves the lines to you
    #[arg(long, value_name = "N", default_value_t = demo::CALLERS_DEFAULT, value_parser = callers)]
    callers: usize,
}

impl Demo {
    pub fn run(&self, place: &Place) -> anyhow::Result<ExitCode> {
        demo::run(place.setup()?, self.callers)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn callers(text: &str) -> Result<usize, String> {
    let wanted = format!("a number of callers is 0 to {}", demo::CALLERS_MAX);
    text.parse().ok().filter(|callers| *callers <= demo::CALLERS_MAX).ok_or(wanted)
}
