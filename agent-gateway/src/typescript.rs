//! The web application's types, made from the Rust types: `agent-gateway/web/src/lib/generated/`.
//!
//! `ZONGJI_REGEN=1 cargo test -p agent-gateway --lib typescript` writes them; without the variable the test compares.

use std::fmt::Write as _;
use std::path::Path;

use ts_rs::{Config, ExportError, TS};

/// Writes every type, one a file, and `index.ts` into `dir`.
pub fn write_to(dir: &Path) -> Result<(), Error> {
    let config = Config::new().with_out_dir(dir);
    macro_rules! export {
        ($($ty:ty),* $(,)?) => { $( <$ty>::export_all(&config)?; )* };
    }
    use crate::protocol as p;
    use cti_switch::{desk, live};
    use zongji_sql as records;
    export![
        p::ClientFrame,
        p::ServerControl,
        p::EventFrame,
        p::TopicFrame,
        p::CloseCode,
        desk::CallerRecords,
        live::Live,
        cti_switch::config::Role,
        cti_switch::Outcome,
        records::customers::Customer,
        records::customers::CustomerNew,
        records::cases::Case,
        records::cases::CaseEvent,
        records::calls::Call,
        records::audit::AuditEntry,
        cti_switch::Callback,
        crate::api::CallbackRequest,
        records::voicemails::Voicemail,
        records::voicemails::VoicemailPatch,
        records::Listing<records::calls::Call>,
        crate::Problem,
        crate::api::SignIn,
        crate::api::Session,
        crate::api::Me,
        crate::api::Trace,
        crate::api::QueueReport,
        crate::api::AgentReport,
    ];
    write_index(dir)
}

/// One place to import from.
fn write_index(dir: &Path) -> Result<(), Error> {
    let mut names: Vec<String> = std::fs::read_dir(dir)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".ts").map(String::from))
        .filter(|name| name != "index")
        .collect();
    names.sort();
    let mut index = String::from("// Made from the Rust types by `make regen`. Do not edit.\n");
    for name in names {
        let enumeration = std::fs::read_to_string(dir.join(format!("{name}.ts")))?.contains("export enum");
        let type_only = if enumeration { "" } else { "type " };
        let _ = writeln!(index, "export {type_only}{{ {name} }} from \"./{name}\";");
    }
    std::fs::write(dir.join("index.ts"), index)?;
    Ok(())
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("a TypeScript type could not be written: {0}")]
    Export(#[from] ExportError),
    #[error("the folder of generated types could not be written: {0}")]
    Io(#[from] std::io::Error),
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;

    fn folder(dir: &Path) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(dir).into_iter().flatten() {
            let path = entry.expect("readable").path();
            let name = path.file_name().expect("named").to_string_lossy().into_owned();
            files.insert(name, std::fs::read_to_string(&path).expect("readable"));
        }
        files
    }

    #[test]
    fn the_generated_types_are_fresh() {
        let checked_in = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("web/src/lib/generated");
        if std::env::var_os("ZONGJI_REGEN").is_some() {
            for name in folder(&checked_in).keys() {
                std::fs::remove_file(checked_in.join(name)).expect("removable");
            }
            std::fs::create_dir_all(&checked_in).expect("creatable");
            write_to(&checked_in).expect("writes");
        }
        let temp = tempfile::tempdir().expect("temp dir");
        write_to(temp.path()).expect("writes");
        let (fresh, kept) = (folder(temp.path()), folder(&checked_in));
        for (name, text) in &fresh {
            assert_eq!(Some(text), kept.get(name), "{name} is stale: run `make regen`");
        }
        assert_eq!(fresh.keys().collect::<Vec<_>>(), kept.keys().collect::<Vec<_>>(), "run `make regen`");
    }
}
