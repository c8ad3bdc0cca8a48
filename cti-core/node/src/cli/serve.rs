//! `zongji serve`

use std::process::ExitCode;

use super::Place;
use crate::serve;

pub fn run(place: &Place) -> anyhow::Result<ExitCode> {
    serve::run(place.setup()?)?;
    Ok(ExitCode::SUCCESS)
}
