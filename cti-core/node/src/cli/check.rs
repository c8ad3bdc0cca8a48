//! `zongji check FILE...`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::FAILED;
use crate::config::{self, Problem};

#[derive(Args)]
pub struct Check {
    /// Configuration, tenant or IVR files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print the problems as a JSON list
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    file: String,
    line: Option<usize>,
    column: Option<usize>,
    message: &'a str,
}

impl Check {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let mut problems = Vec::new();
        for file in &self.files {
            match config::check(file) {
                Ok(kind) if !self.json => println!("{}: {}, no problems", file.display(), kind.as_str()),
                Ok(_) => {}
                Err(found) => problems.extend(found.0),
            }
        }
        if self.json {
            let lines: Vec<Line<'_>> = problems.iter().map(Line::from).collect();
            println!("{}", serde_json::to_string_pretty(&lines)?);
        } else {
            for problem in &problems {
                println!("{problem}");
            }
        }
        Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
    }
}

impl<'a> From<&'a Problem> for Line<'a> {
    fn from(problem: &'a Problem) -> Self {
        Self {
            file: problem.file.display().to_string(),
            line: problem.place.map(|(line, _)| line),
            column: problem.place.map(|(_, column)| column),
            message: &problem.message,
        }
    }
}
