use std::sync::Arc;

use serde::Serialize;

/// Someone kept out for wrong SIP credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ban {
    pub id: String,
    /// An IPv4 address, or the network of an IPv6 one.
    pub source: String,
    /// Who is kept out there; `null` is whoever.
    pub user: Option<String>,
    pub failures: u32,
    pub since_ms: u64,
    pub until_ms: u64,
}

/// How the node's guard is asked.
#[derive(Clone)]
pub struct Bans {
    pub list: Arc<dyn Fn() -> Vec<Ban> + Send + Sync>,
    /// Lets in again by id; false where there is no such ban.
    pub lift: Arc<dyn Fn(&str) -> bool + Send + Sync>,
}

impl Default for Bans {
    /// Nobody is kept out.
    fn default() -> Self {
        Self { list: Arc::new(Vec::new), lift: Arc::new(|_| false) }
    }
}
