//! What a queue's callbacks need: times that can be meant, a trunk, and numbers that may be dialled.

use cti_base::Country;

use super::Check;
use crate::config::QueueDecl;
use crate::outbound::{self, Refused};

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

    /// A number that callers are sent to.
    pub(super) fn outside(&mut self, path: &str, number: &str) {
        let decl = &self.doc.tenant;
        let Some(country) = Country::parse(&decl.country) else { return };
        match outbound::permit(&decl.outbound, country, number) {
            Err(Refused::NoNumber) => self.fault(path, format!("`{number}` is no telephone number")),
            Err(Refused::Short) => self.fault(path, format!("`{number}` is a short number: those are never dialled")),
            Err(Refused::NotAllowed) => {
                self.fault(
                    path,
                    format!("`{number}` may not be dialled: `[tenant] outbound.prefixes` does not allow it"),
                );
            }
            Ok(_) if self.doc.trunk.is_empty() => {
                self.fault(path, format!("`{number}` can not be dialled: there is no trunk"));
            }
            Ok(_) => {}
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
