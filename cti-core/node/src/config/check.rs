//! `zongji check FILE`: which kind of file it is, by what stands in it, and whether it is right.

use std::path::Path;

use ivr_scripts::{Script, World};

use super::node_file::NodeConfig;
use super::place::{Problem, Problems};
use super::read;
use super::tenant_file::TenantFile;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Node,
    Tenant,
    Ivr,
    Load,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "configuration",
            Self::Tenant => "tenant",
            Self::Ivr => "IVR script",
            Self::Load => "load",
        }
    }

    /// By its tables: a tenant's file has `[tenant]` or the lists that belong to one, a load has arrivals, a
    /// configuration has a section of its own, and what has neither is a script.
    fn of(table: &toml::Table) -> Self {
        const TENANT: [&str; 6] = ["tenant", "trunk", "ivr", "number", "queue", "agent"];
        const NODE: [&str; 8] = ["http", "sip", "media", "database", "recordings", "journal", "metrics", "log"];
        let has = |keys: &[&str]| keys.iter().any(|key| table.contains_key(*key));
        let node_section = || {
            let section = table.get("node").and_then(toml::Value::as_table);
            section.is_some_and(|section| section.values().all(|value| !value.is_table()))
        };
        if has(&TENANT) {
            Self::Tenant
        } else if table.contains_key("arrivals") {
            Self::Load
        } else if has(&NODE) || node_section() || table.is_empty() {
            Self::Node
        } else {
            Self::Ivr
        }
    }
}

/// Checks one file and all that it names.
pub fn check(file: &Path) -> Result<Kind, Problems> {
    let text = read(file)?;
    let table: toml::Table = text.parse().map_err(|error| Problem::of_toml(file, &text, &error))?;
    let kind = Kind::of(&table);
    match kind {
        Kind::Node => {
            if let Some(fault) = NodeConfig::parse(file, &text)?.fault() {
                return Err(Problem::of_file(file, fault).into());
            }
        }
        Kind::Tenant => TenantFile::load(file).map(drop)?,
        Kind::Ivr => check_script(file, &text)?,
        Kind::Load => super::load(file, None).map(drop)?,
    }
    Ok(kind)
}

fn check_script(file: &Path, text: &str) -> Result<(), Problems> {
    let prompts = ivr_scripts::shipped::prompt_names();
    Script::compile(text, World { prompts: Some(&prompts), ..World::default() }).map(drop).map_err(|errors| {
        let problem = |error: ivr_scripts::ScriptError| Problem {
            file: file.to_owned(),
            place: Some((error.line, error.column)),
            message: error.message,
        };
        Problems(errors.into_iter().map(problem).collect())
    })
}
