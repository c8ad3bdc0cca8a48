use axum::routing::MethodFilter;
use cti_switch::config::Role;

use crate::auth::SignedIn;

/// What an endpoint is: read by the guard, the OpenAPI document and the tests.
pub struct Endpoint {
    pub method: Method,
    pub path: &'static str,
    pub access: Access,
    pub summary: &'static str,
    /// Query parameters; any other is refused.
    pub query: &'static [Parameter],
    /// The JSON body's type, where there is one.
    pub body: Option<&'static str>,
    /// The success: status and what is in it.
    pub answer: (u16, Answer),
    /// Which problems it gives beyond those any endpoint gives (401, 403, 429, 500, 503).
    pub problems: &'static [u16],
}

/// Name and meaning.
pub type Parameter = (&'static str, &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Patch,
    Delete,
}

/// What a success carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Nothing,
    One(&'static str),
    /// `{items, next}` of these.
    List(&'static str),
    /// Bytes of this media type.
    Bytes(&'static str),
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Anyone,
    /// Whoever is signed in. What they see may depend on their role.
    SignedIn,
    Roles(&'static [Role]),
    /// The installation's own administrator (tenant `system`).
    System,
}

impl Access {
    pub fn allows(self, who: &SignedIn) -> bool {
        match self {
            Self::Anyone | Self::SignedIn => true,
            Self::Roles(roles) => roles.contains(&who.role),
            Self::System => who.is_system(),
        }
    }

    /// In words, for a refusal and for the document.
    pub fn words(self) -> String {
        match self {
            Self::Anyone => "anyone".into(),
            Self::SignedIn => "anyone signed in".into(),
            Self::Roles(roles) => {
                let words: Vec<String> = roles.iter().map(|role| format!("{role:?}").to_ascii_lowercase()).collect();
                format!("role {}", words.join(" or "))
            }
            Self::System => "an administrator of tenant system".into(),
        }
    }
}

impl Method {
    pub fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }

    /// As OpenAPI spells it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

pub const ADMIN: Access = Access::Roles(&[Role::Admin]);
/// Those who run the centre.
pub const ADMIN_SUPERVISOR: Access = Access::Roles(&[Role::Supervisor, Role::Admin]);
/// Those who read reports.
pub const REPORTS: Access = Access::Roles(&[Role::Supervisor, Role::Qa, Role::Admin]);
pub const DESK_AND_QA: Access = Access::Roles(&[Role::Agent, Role::Supervisor, Role::Qa, Role::Admin]);
/// Those who log customers and cases.
pub const DESK: Access = Access::Roles(&[Role::Agent, Role::Supervisor, Role::Admin]);

/// The two parameters of every list.
pub const AFTER: Parameter = ("after", "the `next` of the page before");
pub const LIMIT: Parameter = ("limit", "items on a page, 1 to 1000; 100 where not given");
