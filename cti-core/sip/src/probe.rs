//! OPTIONS to a peer, to see whether it is there (RFC 3261 11).

use cti_base::Timestamp;

use crate::dialog::MAX_FORWARDS;
use crate::session::ACCEPT;
use crate::stack::{Stack, User};
use crate::transaction::ClientKind;
use crate::wire::{Builder, clean, host_text};
use crate::{ProbeId, Target};

pub fn send(stack: &mut Stack, now: Timestamp, target: &Target) -> ProbeId {
    let id = ProbeId(stack.next_number());
    let flow = target.flow;
    let client = stack.begin();
    let (uri, here) = (clean(&target.uri), host_text(stack.host(&flow).ip()));
    let (tag, call_id) = (stack.rng.hex::<8>(), stack.rng.hex::<16>());
    let mut out = Builder::request("OPTIONS", &uri);
    out.line("Via", &stack.via(&flow, client))
        .line("Max-Forwards", MAX_FORWARDS)
        .line("From", &format!("<sip:{here}>;tag={tag}"))
        .line("To", &format!("<{uri}>"))
        .line("Call-ID", &call_id)
        .line("CSeq", "1 OPTIONS")
        .line("Contact", &stack.contact(&flow, ""))
        .line("Accept", ACCEPT)
        .line("User-Agent", &stack.config.user_agent);
    stack.start_client(now, client, ClientKind::NonInvite, flow, out.end(), User::Probe(id));
    id
}

/// Whether a status says that somebody is there who takes calls: any but those of RFC 3261 21.5.4, and of nobody (21.4.9).
pub const fn is_alive(code: u16) -> bool {
    !matches!(code, 408 | 503)
}
