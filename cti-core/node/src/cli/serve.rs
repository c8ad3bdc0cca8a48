//! `zongji serve`

use std::process::ExitCode;

use clap::Args;

use super::Place;
use crate::serve;

#[derive(Args)]
pub struct Serve {
    /// Look whether this program could serve as it is called, and end
    #[arg(long, hide = true)]
    check_only: bool,
}

impl Serve {
    pub fn run(&self, place: &Place) -> anyhow::Result<ExitCode> {
        let setup = place.setup()?;
        if self.check_only {
            serve::check(&setup)?;
        } else {
            serve::run(setup)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
