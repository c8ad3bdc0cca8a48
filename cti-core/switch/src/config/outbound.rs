//! Where a tenant's switch may dial to, and how much.

use cti_base::{Country, E164};
use serde::{Deserialize, Serialize};

/// Nothing is dialled but what a prefix names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutboundDecl {
    /// Beginnings of E.164 numbers that may be dialled, as `+86`.
    pub prefixes: Vec<String>,
    /// Beginnings that may not, whatever `prefixes` says.
    pub deny: Vec<String>,
    /// At once.
    pub max_calls: u32,
    /// Begun in a second.
    pub max_cps: u32,
    /// Stands as the caller where no number of the tenant was dialled before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller_id: Option<String>,
}

impl Default for OutboundDecl {
    fn default() -> Self {
        Self { prefixes: Vec::new(), deny: Vec::new(), max_calls: 10, max_cps: 1, caller_id: None }
    }
}

/// The entries of `prefixes` and of `deny`, each.
const PREFIXES_MAX: usize = 256;
/// Digits of an E.164 number (ITU-T E.164, 6.2.1).
const DIGITS_MAX: usize = 15;

impl OutboundDecl {
    /// What is wrong with it: the key within `outbound`, and why.
    pub(super) fn faults(&self, country: Option<Country>) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        for (key, prefixes) in [("prefixes", &self.prefixes), ("deny", &self.deny)] {
            if prefixes.len() > PREFIXES_MAX {
                faults.push((key.to_owned(), format!("at most {PREFIXES_MAX} entries")));
            }
            for prefix in prefixes.iter().filter(|prefix| !is_prefix(prefix)) {
                faults
                    .push((key.to_owned(), format!("`{prefix}` begins no E.164 number: write it as `+86` or `+8610`")));
            }
        }
        for (key, limit) in [("max_calls", self.max_calls), ("max_cps", self.max_cps)] {
            if limit == 0 {
                faults.push((key.to_owned(), "must be at least 1; without `prefixes` nothing is dialled".to_owned()));
            }
        }
        if let (Some(id), Some(country)) = (&self.caller_id, country)
            && E164::parse(id, country).is_none()
        {
            faults.push(("caller_id".to_owned(), format!("`{id}` is no telephone number")));
        }
        faults
    }
}

fn is_prefix(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default();
    let begins = digits.bytes().next().is_some_and(|first| first != b'0');
    begins && digits.len() <= DIGITS_MAX && digits.bytes().all(|b| b.is_ascii_digit())
}
