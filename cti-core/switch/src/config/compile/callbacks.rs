//! What a queue's callbacks need: times that can be meant, a trunk, and numbers that may be dialled.

use super::Check;
use crate::config::QueueDecl;

/// Of `dial_timeout_s`, in seconds: less is no ring, more is nobody's patience.
const DIAL_TIMEOUT_S: std::ops::RangeInclusive<u32> = 5..=120;
const ATTEMPTS: std::ops::RangeInclusive<u32> = 1..=20;

impl Check<'_> {
    pub(super) fn callback(&mut self, path: &str, queue: &QueueDecl) {
        let (decl, path) = (&queue.callback, format!("{path}.callback"));
        let range = |value: u32, range: &std::ops::RangeInclusive<u32>| {
            (!range.contains(&value)).then(|| format!("{value} is not from {} to {}", range.start(), range.end()))
        };
        if let Some(fault) = range(decl.dial_timeout_s, &DIAL_TIMEOUT_S) {
            self.fault(format!("{path}.dial_timeout_s"), fault);
        }
        if let Some(fault) = range(decl.attempts, &ATTEMPTS) {
            self.fault(format!("{path}.attempts"), fault);
        }
        self.seconds(format!("{path}.retry_after_s"), decl.retry_after_s, 1);
        if let Some(name) = &decl.trunk
            && self.doc.trunk.iter().all(|trunk| trunk.name != *name)
        {
            self.fault(format!("{path}.trunk"), format!("there is no trunk `{name}`"));
        }
    }

    /// A key that promises a callback.
    pub(super) fn callback_key(&mut self, path: &str) {
        if self.doc.tenant.outbound.prefixes.is_empty() {
            let text = "nobody could be called back: name what may be dialled in `[tenant] outbound.prefixes`";
            self.fault(path, text);
        } else if self.doc.trunk.is_empty() {
            self.fault(path, "nobody could be called back: there is no trunk");
        }
    }
}
