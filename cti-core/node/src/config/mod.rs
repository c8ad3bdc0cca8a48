//! Reading configuration: `zongji.toml` with its environment, tenant files and IVR files, each error at its place.

mod check;
mod environment;
#[cfg(test)]
#[path = "tests.rs"]
mod file_tests;
mod load_file;
mod locate;
mod node_file;
mod place;
mod tenant_file;

use std::path::{Path, PathBuf};

pub use check::{Kind, check};
pub use load_file::load;
pub use node_file::{Digest, Durability, LogFormat, NodeConfig, PortRange};
pub use place::{Problem, Problems, line_column, nearest};
pub use tenant_file::{REALM, TenantFile, ha1};

/// A configuration file beyond this is refused unread, bytes.
pub const FILE_BYTES_MAX: u64 = 4 << 20;

/// What `[--config FILE] [--data DIR]` come to.
#[derive(Clone, Debug)]
pub struct Setup {
    pub config: NodeConfig,
    pub data: PathBuf,
}

impl Setup {
    /// Reads the file, if one is named, and lays the environment over it.
    pub fn load(file: Option<&Path>, data: &Path) -> Result<Self, Problems> {
        Self::load_with(file, data, std::env::vars())
    }

    fn load_with(
        file: Option<&Path>,
        data: &Path,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Problems> {
        let (name, text) = match file {
            Some(file) => (file, read(file)?),
            None => (Path::new("zongji.toml"), String::new()),
        };
        NodeConfig::parse(name, &text)?;
        let table: toml::Table = text.parse().map_err(|error| Problem::of_toml(name, &text, &error))?;
        let table = environment::overlay(table, variables).map_err(|message| Problem::of_file(name, message))?;
        let config: NodeConfig = table.try_into().map_err(|error| Problem::of_file(name, format!("{error}")))?;
        if let Some(fault) = config.fault() {
            return Err(Problem::of_file(name, fault).into());
        }
        Ok(Self { config, data: data.to_owned() })
    }

    pub fn database_url(&self) -> String {
        self.config.database.url.clone().unwrap_or_else(|| format!("sqlite:{}", self.data.join("zongji.db").display()))
    }

    pub fn recordings(&self) -> PathBuf {
        self.config.recordings.store.clone().unwrap_or_else(|| self.data.join("recordings"))
    }

    pub fn journal(&self) -> PathBuf {
        self.data.join("journal")
    }

    pub fn node_key(&self) -> PathBuf {
        self.data.join("node.key")
    }

    pub fn control_socket(&self) -> PathBuf {
        self.data.join("control.sock")
    }
}

/// The text of a file, at most [`FILE_BYTES_MAX`] of UTF-8.
pub fn read(file: &Path) -> Result<String, Problem> {
    let length = std::fs::metadata(file).map_err(|error| Problem::of_file(file, error.to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(Problem::of_file(file, format!("{length} bytes; at most {FILE_BYTES_MAX} are read")));
    }
    let bytes = std::fs::read(file).map_err(|error| Problem::of_file(file, error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
        Problem::at(file, &text, valid, "this byte is not UTF-8; save the file as UTF-8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_lives_under_the_data_directory_unless_said_otherwise() {
        let setup = Setup::load_with(None, Path::new("/d"), []).expect("defaults");
        assert_eq!(setup.database_url(), "sqlite:/d/zongji.db");
        assert_eq!(setup.recordings(), Path::new("/d/recordings"));
        let moved = [("ZONGJI_RECORDINGS__STORE".to_owned(), "file:/r".to_owned())];
        let setup = Setup::load_with(None, Path::new("/d"), moved).expect("one variable");
        assert_eq!(setup.recordings(), Path::new("/r"));
    }

    #[test]
    fn listening_over_tls_needs_a_certificate_from_wherever() {
        let check = |variables: &[(&str, &str)], expect: Option<&str>| {
            let variables = variables.iter().map(|(name, value)| (format!("ZONGJI_SIP__{name}"), (*value).to_owned()));
            let error = Setup::load_with(None, Path::new("/d"), variables).err().map(|error| error.to_string());
            assert_eq!(error.is_some(), expect.is_some(), "{error:?}");
            assert!(error.unwrap_or_default().contains(expect.unwrap_or_default()), "{expect:?}");
        };
        check(&[("TLS", "0.0.0.0:5061")], Some("[sip] tls is listened on with a certificate: set `tls_cert`"));
        check(&[("WSS", "0.0.0.0:5063"), ("TLS_CERT", "/c")], Some("set `tls_key`"));
        check(&[("TLS", "[::]:5061"), ("TLS_CERT", "/c"), ("TLS_KEY", "/k")], None);
        check(&[("WS", "0.0.0.0:5062")], None);
    }

    #[test]
    fn an_unreadable_file_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let missing = dir.path().join("no.toml");
        let error = Setup::load_with(Some(&missing), Path::new("/d"), []).expect_err("no file").to_string();
        assert!(error.contains("no.toml: No such file"), "{error}");
        let latin = dir.path().join("latin.toml");
        std::fs::write(&latin, b"[node]\nname = \"\xe9\"").expect("written");
        let error = Setup::load_with(Some(&latin), Path::new("/d"), []).expect_err("not UTF-8").to_string();
        assert!(error.contains("latin.toml:2:9: this byte is not UTF-8"), "{error}");
    }
}
