//! A tenant's file with everything that it names beside it: scripts, passwords, secrets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cti_base::{AgentName, Pii};
use cti_switch::config::{ConfigError, Phone, Tenant, TenantDoc};
use md5::Md5;
use sha2::{Digest, Sha256};

use super::locate::locate;
use super::place::{Problem, Problems};
use super::read;

/// The realm of every phone's digest.
pub const REALM: &str = "zongji";
/// A password or secret file beyond this is refused, bytes.
const SECRET_BYTES_MAX: usize = 256;

/// A tenant's file, read and found right.
#[derive(Clone, Debug)]
pub struct TenantFile {
    /// Compiled; its `doc` holds the scripts' sources.
    pub tenant: Tenant,
    /// The passwords to sign in with, of the agents that have a `password_file`.
    pub passwords: BTreeMap<AgentName, String>,
}

/// HA1 of RFC 3261 22 and RFC 8760: MD5 and SHA-256 of `user:realm:secret`, lower-case hex.
pub fn ha1(user: &str, secret: &str) -> (String, String) {
    let text = format!("{user}:{REALM}:{secret}");
    (hex::encode(Md5::digest(&text)), hex::encode(Sha256::digest(&text)))
}

impl TenantFile {
    /// Reads the file and the files that it names, relative to it, and checks it all.
    pub fn load(file: &Path) -> Result<Self, Problems> {
        let text = read(file)?;
        let mut doc: TenantDoc = toml::from_str(&text).map_err(|error| Problem::of_toml(file, &text, &error))?;
        let mut reader = Reader { file, text: &text, problems: Vec::new() };
        for ivr in &mut doc.ivr {
            let script = reader.beside(&ivr.file);
            match read(&script) {
                Ok(source) => ivr.source = Some(source),
                Err(problem) => reader.fault(&format!("ivr[{}].file", ivr.name), &problem.to_string()),
            }
        }
        for trunk in &mut doc.trunk {
            if let Some(register) = &mut trunk.register {
                let path = format!("trunk[{}].register.secret_file", trunk.name);
                register.secret = reader.secret(&path, &register.secret_file).map(Pii::new);
            }
        }
        let mut passwords = BTreeMap::new();
        let mut digests = BTreeMap::new();
        for agent in &doc.agent {
            if let Some(path) = &agent.password_file
                && let Some(password) = reader.secret(&format!("agent[{}].password_file", agent.name), path)
            {
                passwords.insert(agent.name.clone(), password);
            }
            if let Phone::Sip { secret_file } = &agent.phone
                && let Some(secret) = reader.secret(&format!("agent[{}].phone.secret_file", agent.name), secret_file)
            {
                digests.insert(agent.name.clone(), ha1(agent.name.as_str(), &secret));
            }
        }
        if !reader.problems.is_empty() {
            return Err(Problems(reader.problems));
        }
        match Tenant::compile(doc.clone(), digests, Some(&ivr_scripts::shipped::prompt_names())) {
            Ok(tenant) => Ok(Self { tenant, passwords }),
            Err(errors) => {
                for error in errors {
                    reader.semantic(&doc, error);
                }
                Err(Problems(reader.problems))
            }
        }
    }
}

struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn beside(&self, name: &str) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(name)
    }

    fn fault(&mut self, path: &str, message: &str) {
        let problem = match locate(self.text, path) {
            Some(offset) => Problem::at(self.file, self.text, offset, format!("{path}: {message}")),
            None => Problem::at(self.file, self.text, 0, format!("{path}: {message}")),
        };
        self.problems.push(problem);
    }

    /// One line, without its end.
    fn secret(&mut self, path: &str, name: &str) -> Option<String> {
        let file = self.beside(name);
        let text = match read(&file) {
            Ok(text) => text,
            Err(problem) => {
                self.fault(path, &problem.to_string());
                return None;
            }
        };
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.is_empty() || secret.len() > SECRET_BYTES_MAX || secret.contains(['\r', '\n']) {
            let wanted = format!("{}: must hold one line of 1 to {SECRET_BYTES_MAX} bytes", file.display());
            self.fault(path, &wanted);
            return None;
        }
        Some(secret.to_owned())
    }

    /// A script's error (`FILE:line:column: message` at `ivr[name]`) is reported where it is: in the script.
    fn semantic(&mut self, doc: &TenantDoc, error: ConfigError) {
        let script = doc.ivr.iter().find(|ivr| error.path == format!("ivr[{}]", ivr.name));
        let in_script = script.and_then(|ivr| {
            let rest = error.message.strip_prefix(ivr.file.as_str())?.strip_prefix(':')?;
            let (line, rest) = rest.split_once(':')?;
            let (column, message) = rest.split_once(": ")?;
            Some(Problem {
                file: self.beside(&ivr.file),
                place: Some((line.parse().ok()?, column.parse().ok()?)),
                message: message.to_owned(),
            })
        });
        match in_script {
            Some(problem) => self.problems.push(problem),
            None => self.fault(&error.path, &error.message),
        }
    }
}
