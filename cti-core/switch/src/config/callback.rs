//! How a queue calls back.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallbackDecl {
    pub first: DialFirst,
    /// How long the customer's phone rings.
    pub dial_timeout_s: u32,
    pub attempts: u32,
    pub retry_after_s: u32,
    /// The tenant's first where none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trunk: Option<String>,
}

/// Whose phone rings first when the turn has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DialFirst {
    /// The agent is kept free meanwhile.
    #[default]
    Customer,
    /// The agent hears the customer's phone ring.
    Agent,
}

impl Default for CallbackDecl {
    fn default() -> Self {
        Self { first: DialFirst::default(), dial_timeout_s: 30, attempts: 3, retry_after_s: 300, trunk: None }
    }
}
