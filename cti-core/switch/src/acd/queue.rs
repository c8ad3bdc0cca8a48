use cti_base::QueueName;
use serde::{Deserialize, Serialize};

use crate::config::QueueDecl;

/// One queue beside what the ACD keeps of it: who waits in it and who is ready for it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Queue {
    /// The tenant's document has it: it is written down there.
    #[serde(skip, default = "undeclared")]
    pub decl: QueueDecl,
}

/// Stands in while a queue is read back.
fn undeclared() -> QueueDecl {
    QueueDecl::named(QueueName::from(""))
}

impl Queue {
    pub(crate) fn new(decl: QueueDecl) -> Self {
        Self { decl }
    }
}
