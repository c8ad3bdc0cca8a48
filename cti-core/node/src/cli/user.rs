//! `zongji user add|passwd|list|token`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use cti_base::TenantId;
use cti_switch::config::Role;

use super::Place;
use super::apply::read_line;
use crate::admin::{Answer, Request, UserLine};

#[derive(Subcommand)]
pub enum User {
    /// Add someone who may sign in
    Add {
        #[command(flatten)]
        who: Who,
        #[arg(long, value_enum, default_value = "agent")]
        role: RoleArg,
        /// The name that others see
        #[arg(long)]
        display: Option<String>,
        #[command(flatten)]
        password: Password,
    },
    /// Change a password; whoever is signed in with the old one is signed out
    Passwd {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        password: Password,
    },
    /// List a tenant's users
    List {
        #[arg(long)]
        tenant: String,
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a token for a program that acts as this user; it is shown once
    Token {
        #[command(flatten)]
        who: Who,
        /// What the token is for; an earlier token of this label stops working
        #[arg(long, default_value = "cli")]
        label: String,
    },
}

#[derive(Args)]
pub struct Who {
    #[arg(long)]
    tenant: String,
    #[arg(long)]
    name: String,
}

#[derive(Args)]
pub struct Password {
    /// A file with the password as its one line; `-` is standard input
    #[arg(long, value_name = "FILE")]
    password_file: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum RoleArg {
    Agent,
    Supervisor,
    Qa,
    Admin,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Agent => Self::Agent,
            RoleArg::Supervisor => Self::Supervisor,
            RoleArg::Qa => Self::Qa,
            RoleArg::Admin => Self::Admin,
        }
    }
}

impl User {
    pub fn run(self, place: &Place) -> anyhow::Result<ExitCode> {
        let mut as_json = false;
        let request = match self {
            Self::Add { who, role, display, password } => Request::UserAdd {
                tenant: TenantId::from(who.tenant),
                name: who.name,
                display,
                role: role.into(),
                password: read_line(&password.password_file)?,
            },
            Self::Passwd { who, password } => Request::UserPassword {
                tenant: TenantId::from(who.tenant),
                name: who.name,
                password: read_line(&password.password_file)?,
            },
            Self::List { tenant, json } => {
                as_json = json;
                Request::UserList { tenant: TenantId::from(tenant) }
            }
            Self::Token { who, label } => {
                Request::UserToken { tenant: TenantId::from(who.tenant), name: who.name, label }
            }
        };
        match place.ask(request)? {
            Answer::User { name } => println!("user {name}: done"),
            Answer::Users { users } if as_json => println!("{}", serde_json::to_string_pretty(&users)?),
            Answer::Users { users } => print(&users),
            Answer::Token { token } => println!("{token}"),
            Answer::Applied { .. } | Answer::Status(_) => bail!("the server answered something else"),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(users: &[UserLine]) {
    for user in users {
        let state = match (user.disabled, user.can_sign_in) {
            (true, _) => "disabled",
            (false, true) => "can sign in",
            (false, false) => "no password",
        };
        println!("{}\t{:?}\t{}\t{}", user.name, user.role, state, user.display);
    }
}
