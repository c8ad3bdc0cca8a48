//! How callers leave messages for a queue.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VoicemailDecl {
    /// The longest message.
    pub max_s: u32,
    /// So much silence ends it.
    pub silence_s: u32,
}

impl Default for VoicemailDecl {
    fn default() -> Self {
        Self { max_s: 120, silence_s: 5 }
    }
}
