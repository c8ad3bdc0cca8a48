//! The demo's people: those who sign in, and the phones of the agents.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use cti_base::{AgentName, TenantId};
use cti_sip::Transport;
use cti_switch::config::Role;

use super::{any_port, speech};
use crate::admin::Request;
use crate::data;
use crate::phone::{Answer, CallScript, LineConfig, Phone, PhoneConfig, Span};
use crate::serve::Server;

/// The agent that a person plays: signed in at the desktop, with a phone that answers when the desktop says so.
pub const HUMAN: &str = "1001";
/// The agent who talks by the browser's own microphone: no phone is simulated.
pub const BROWSER: &str = "1002";
/// The partner's workshop: an outside number that callers are sent to. Whoever is called back answers here too.
pub const PARTNER: &str = "partner";
/// Simulated agents, by the number that they have in the tenant's file.
const SIMULATED: [&str; 6] = ["1101", "1102", "1103", "1104", "1105", "1106"];

struct Seat {
    user: &'static str,
    role: Role,
    display: &'static str,
    what: &'static str,
}

const SEATS: [Seat; 5] = [
    Seat { user: HUMAN, role: Role::Agent, display: "王芳", what: "agent 王芳: go ready and take calls" },
    Seat {
        user: BROWSER,
        role: Role::Agent,
        display: "刘洋",
        what: "agent 刘洋: the same, by the browser's microphone",
    },
    Seat { user: "2001", role: Role::Supervisor, display: "陈主管", what: "supervisor" },
    Seat { user: "3001", role: Role::Qa, display: "李质检", what: "quality: history and player" },
    Seat { user: "admin", role: Role::Admin, display: "管理员", what: "administrator" },
];

/// One who may sign in.
pub struct Person {
    pub user: &'static str,
    pub password: String,
    pub what: &'static str,
    role: Role,
    display: &'static str,
}

/// The demo's sign-ins, made once for a data directory.
pub struct SignIns(Vec<Person>);

/// The agents' phones, and where each is reached.
pub struct AgentPhones {
    pub uris: BTreeMap<String, String>,
    _phone: Phone,
}

/// Where the sign-ins are kept.
pub fn file_in(data: &Path) -> PathBuf {
    data.join("demo-signins.txt")
}

pub fn simulated() -> impl Iterator<Item = &'static str> {
    SIMULATED.into_iter()
}

impl SignIns {
    /// Reads the file, or makes it with new passwords.
    pub fn load_or_make(data: &Path) -> anyhow::Result<Self> {
        let file = file_in(data);
        let known = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("{} can not be read", file.display())),
        };
        let known: BTreeMap<&str, &str> = known.lines().filter_map(|line| line.split_once(' ')).collect();
        let mut people = Vec::new();
        for seat in &SEATS {
            let password = match known.get(seat.user) {
                Some(password) => (*password).to_owned(),
                None => data::random_password()?,
            };
            people.push(Person { user: seat.user, password, what: seat.what, role: seat.role, display: seat.display });
        }
        let lines: String = people.iter().map(|person| format!("{} {}\n", person.user, person.password)).collect();
        data::write_private(&file, lines.as_bytes())?;
        Ok(Self(people))
    }

    pub fn people(&self) -> &[Person] {
        &self.0
    }

    /// The passwords that belong into the tenant's file.
    pub fn agents(&self) -> BTreeMap<AgentName, String> {
        let agents = self.0.iter().filter(|person| person.role == Role::Agent);
        agents.map(|person| (AgentName::from(person.user), person.password.clone())).collect()
    }
}

/// Those who sign in but take no calls. Who is there already gets the password of the file.
pub async fn add_office(server: &Server, sign_ins: &SignIns) -> anyhow::Result<()> {
    let tenant = TenantId::from("demo");
    for person in sign_ins.people().iter().filter(|person| person.role != Role::Agent) {
        let known = zongji_sql::users::get(&server.store, &tenant, person.user).await?;
        let request = match known {
            None => Request::UserAdd {
                tenant: tenant.clone(),
                name: person.user.into(),
                display: Some(person.display.into()),
                role: person.role,
                password: person.password.clone(),
            },
            Some(user) if user.password_hash.is_some() => continue,
            Some(_) => Request::UserPassword {
                tenant: tenant.clone(),
                name: person.user.into(),
                password: person.password.clone(),
            },
        };
        server.ask(request).await.map_err(|error| anyhow!(error))?;
    }
    Ok(())
}

/// One line for each agent, and the partner's: the simulated answer after a moment, the person's when the desktop says so.
pub fn agent_phones(ip: IpAddr) -> anyhow::Result<AgentPhones> {
    let moment = Answer::After(Span::between(Duration::from_millis(800), Duration::from_millis(3_500)));
    let mut lines = vec![line(HUMAN, ip, Answer::Manual)?];
    for name in simulated() {
        lines.push(line(name, ip, moment.clone())?);
    }
    lines.push(line(PARTNER, ip, moment)?);
    let names: Vec<&str> = std::iter::once(HUMAN).chain(simulated()).chain([PARTNER]).collect();
    let phone = Phone::start(PhoneConfig { lines }, |_| {}).context("the agents' phones")?;
    if phone.addresses().len() != names.len() {
        bail!("the agents' phones are {} and not {}", phone.addresses().len(), names.len());
    }
    let uris = names.iter().zip(phone.addresses());
    let uris = uris.map(|(name, address)| ((*name).to_owned(), format!("sip:{name}@{address}"))).collect();
    Ok(AgentPhones { uris, _phone: phone })
}

fn line(name: &str, ip: IpAddr, answer: Answer) -> anyhow::Result<LineConfig> {
    Ok(LineConfig {
        listen: any_port(ip),
        transport: Transport::Udp,
        user: name.to_owned(),
        register: None,
        answer,
        script: CallScript { sound: speech("zh-CN", &["queue_welcome", "connecting"])?, ..CallScript::default() },
        incoming_max: 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_passwords_of_a_data_directory_stay_and_differ_from_anothers() {
        let (one, two) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let passwords = |dir: &Path| -> Vec<String> {
            let sign_ins = SignIns::load_or_make(dir).expect("made");
            sign_ins.people().iter().map(|person| person.password.clone()).collect()
        };
        let first = passwords(one.path());
        assert_eq!(first, passwords(one.path()));
        let other = passwords(two.path());
        assert!(first.iter().zip(&other).all(|(a, b)| a != b));
        assert_eq!(first.len(), SEATS.len());
    }
}
