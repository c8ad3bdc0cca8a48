//! `zongji apply FILE...`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use super::{FAILED, Place, USAGE};
use crate::admin::{Answer, Applied, Package, Request};
use crate::config::TenantFile;

/// A tenant's file, checked whole before anything is changed
#[derive(Args)]
pub struct Apply {
    /// Tenant files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Apply to a server elsewhere (this version takes tenant files on the server's own machine only)
    #[arg(long, value_name = "URL", hide = true)]
    server: Option<String>,
    /// Print the changes as JSON
    #[arg(long)]
    json: bool,
}

impl Apply {
    pub fn run(&self, place: &Place) -> anyhow::Result<ExitCode> {
        if let Some(server) = &self.server {
            eprintln!(
                "zongji: --server {server}: this version takes tenant files through its data directory only: run \
                 `zongji apply --data DIR FILE` on the server's machine"
            );
            return Ok(ExitCode::from(USAGE));
        }
        let mut packages = Vec::new();
        let mut problems = Vec::new();
        for file in &self.files {
            match TenantFile::load(file) {
                Ok(tenant) => packages.push(Package::from(tenant)),
                Err(found) => problems.extend(found.0),
            }
        }
        if !problems.is_empty() {
            for problem in &problems {
                eprintln!("{problem}");
            }
            return Ok(ExitCode::from(FAILED));
        }
        match place.ask(Request::Apply { packages })? {
            Answer::Applied { tenants } if self.json => println!("{}", serde_json::to_string_pretty(&tenants)?),
            Answer::Applied { tenants } => print(&tenants),
            other => bail!("the server answered something else: {other:?}"),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(tenants: &[Applied]) {
    for applied in tenants {
        if applied.changes.is_empty() {
            println!("tenant {}: no changes", applied.tenant);
            continue;
        }
        println!("tenant {}:", applied.tenant);
        for change in &applied.changes {
            println!("  {change}");
        }
    }
}

/// One line from a file, or from standard input where it is `-`.
pub fn read_line(file: &std::path::Path) -> anyhow::Result<String> {
    let text = if file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin()).context("standard input can not be read")?
    } else {
        crate::config::read(file).map_err(crate::config::Problems::from)?
    };
    let line = text.trim_end_matches(['\r', '\n']);
    if line.is_empty() || line.contains(['\r', '\n']) {
        bail!("{}: must hold one line, the password", file.display());
    }
    Ok(line.to_owned())
}
