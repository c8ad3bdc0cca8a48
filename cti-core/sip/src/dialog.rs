//! Dialogs (RFC 3261 12): identity, route set, target, and where the next request goes.

use std::net::IpAddr;

use rsip::headers::Header;
use serde::{Deserialize, Serialize};

use crate::saved::is_default;
use crate::stack::{ClientId, Stack};
use crate::wire::{Builder, Message, NameAddr, Uri, canonical, next_cseq, split};
use crate::{Flow, Transport};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dialog {
    pub call_id: String,
    pub local_tag: String,
    /// Empty until the peer gave one, and for peers of RFC 2543.
    pub remote_tag: String,
    /// Our and the peer's address as From and To have them, without tags.
    local: String,
    remote: String,
    pub local_cseq: u32,
    remote_cseq: Option<u32>,
    /// Route values, the nearest first.
    #[serde(default, skip_serializing_if = "is_default")]
    routes: Vec<String>,
    /// The peer's Contact: the request URI of what we send.
    target: String,
    /// Where the peer was last reached.
    pub flow: Flow,
    /// The peer stands behind an address translator: its Contact can not be reached, the flow can.
    #[serde(default, skip_serializing_if = "is_default")]
    pinned: bool,
}

/// Routes kept of a Record-Route list; a longer one is no real one.
const ROUTES_MAX: usize = 32;

impl Dialog {
    /// The dialog of an INVITE of ours before any answer.
    pub fn calling(
        call_id: String,
        local_tag: String,
        local: String,
        remote: String,
        target: &str,
        flow: Flow,
    ) -> Self {
        let reached = Uri::parse(target).ok().and_then(|uri| uri.address()).map(|(_, address)| address.ip());
        Self {
            call_id,
            local_tag,
            remote_tag: String::new(),
            local,
            remote,
            local_cseq: 1,
            remote_cseq: None,
            routes: Vec::new(),
            target: target.to_owned(),
            flow,
            pinned: reached.is_some_and(|ip| ip != canonical(flow.remote.ip())),
        }
    }

    /// The dialog that an INVITE of a peer's opens (12.1.1).
    pub fn called(invite: &Message, local_tag: String, flow: Flow) -> Self {
        let mut dialog = Self {
            call_id: invite.call_id.clone(),
            local_tag,
            remote_tag: invite.from.tag().unwrap_or("").to_owned(),
            local: invite.to.bare(),
            remote: invite.from.bare(),
            local_cseq: 0,
            remote_cseq: Some(invite.cseq.number),
            routes: record_routes(invite),
            target: invite.from.uri_text.clone(),
            flow,
            pinned: false,
        };
        dialog.refresh_target(invite);
        let source = canonical(flow.remote.ip());
        let translated = |ip: IpAddr| ip != source;
        let via_differs = invite.via.host.parse().is_ok_and(translated);
        let target = Uri::parse(&dialog.target).ok().and_then(|uri| uri.address());
        dialog.pinned = via_differs && target.is_some_and(|(_, address)| translated(address.ip()));
        dialog
    }

    /// Takes tag, routes and target from an answer to our INVITE (12.1.2).
    pub fn answered(&mut self, response: &Message, flow: Flow) {
        self.remote_tag = response.to.tag().unwrap_or("").to_owned();
        self.routes = record_routes(response);
        self.routes.reverse();
        self.refresh_target(response);
        self.came_by(flow);
    }

    /// RFC 3261 12.2: the Contact of a re-INVITE, an UPDATE or their 2xx is the new target.
    pub fn refresh_target(&mut self, message: &Message) {
        let contact =
            message.list(|h| matches!(h, Header::Contact(_))).first().and_then(|value| NameAddr::parse(value));
        if let Some(contact) = contact.filter(|contact| contact.uri().is_ok()) {
            self.target = contact.uri_text;
        }
    }

    /// A stream that the peer writes on is one we may write on.
    pub fn came_by(&mut self, flow: Flow) {
        if flow.connection.is_some() && flow.transport == self.flow.transport {
            self.flow = flow;
        }
    }

    /// Whether a request of the peer's comes in order (12.2.2), and takes its number.
    pub fn in_order(&mut self, number: u32) -> bool {
        let good = self.remote_cseq.is_none_or(|last| number > last);
        if good {
            self.remote_cseq = Some(number);
        }
        good
    }

    pub fn bump(&mut self) -> u32 {
        self.local_cseq = next_cseq(self.local_cseq);
        self.local_cseq
    }

    /// A request within the dialog with everything up to CSeq, and where it goes (12.2.1.1).
    pub fn request(&self, stack: &Stack, method: &str, cseq: u32, client: (ClientId, u32)) -> (Builder, Flow) {
        let flow = self.next_hop(stack);
        (self.request_by(stack, flow, method, cseq, client), flow)
    }

    /// The same by a flow that is chosen already.
    pub fn request_by(&self, stack: &Stack, flow: Flow, method: &str, cseq: u32, client: (ClientId, u32)) -> Builder {
        let strict = self.routes.first().filter(|route| !is_loose(route));
        let uri = strict.map_or(self.target.as_str(), |route| bare_uri(route));
        let mut out = Builder::request(method, uri);
        out.line("Via", &stack.via(&flow, client));
        match strict {
            None => self.routes.iter().for_each(|route| {
                out.line("Route", route);
            }),
            Some(_) => {
                self.routes.iter().skip(1).for_each(|route| {
                    out.line("Route", route);
                });
                out.line("Route", &format!("<{}>", self.target));
            }
        }
        out.line("Max-Forwards", MAX_FORWARDS).line("From", &format!("{};tag={}", self.local, self.local_tag));
        match self.remote_tag.as_str() {
            "" => out.line("To", &self.remote),
            tag => out.line("To", &format!("{};tag={tag}", self.remote)),
        };
        out.line("Call-ID", &self.call_id).line("CSeq", &format!("{cseq} {method}"));
        out
    }

    /// Whether a request now would go by a way that is there: datagrams, or a stream that is open.
    pub fn is_reached(&self, stack: &Stack) -> bool {
        let flow = self.next_hop(stack);
        flow.transport == Transport::Udp || stack.is_open(&flow)
    }

    /// The peer's URI, as the digest of a request within the dialog has it.
    pub fn target(&self) -> &str {
        &self.target
    }

    fn next_hop(&self, stack: &Stack) -> Flow {
        let open = self.flow.transport == Transport::Udp || stack.is_open(&self.flow);
        let here = if open { self.flow } else { Flow { connection: None, ..self.flow } };
        if self.pinned && open {
            return here;
        }
        if !open
            && self.routes.is_empty()
            && let Some(flow) = stack.registered_again(&self.target, &self.flow)
        {
            return flow;
        }
        let hop = self.routes.first().map_or(self.target.as_str(), |route| bare_uri(route));
        let Some((transport, remote)) = Uri::parse(hop).ok().and_then(|uri| uri.address()) else { return here };
        let transport = match transport {
            // A URI says the same for both (RFC 7118 5).
            Some(Transport::Ws) if self.flow.transport == Transport::Wss => Transport::Wss,
            Some(transport) => transport,
            None => self.flow.transport,
        };
        if transport == self.flow.transport {
            if open && transport != Transport::Udp && remote.ip() == canonical(self.flow.remote.ip()) {
                return here;
            }
            if transport == Transport::Udp {
                return Flow { remote, ..here };
            }
        }
        stack.flow_to(transport, remote).unwrap_or(here)
    }
}

/// RFC 3261 8.1.1.6.
pub const MAX_FORWARDS: &str = "70";

fn record_routes(message: &Message) -> Vec<String> {
    let values = message.headers.iter().filter_map(|header| match header {
        Header::RecordRoute(_) => Some(crate::wire::header_value(header)),
        _ => None,
    });
    values.flat_map(|value| split(value, b',')).take(ROUTES_MAX).map(str::to_owned).collect()
}

fn bare_uri(route: &str) -> &str {
    let from = route.find('<').map_or(0, |at| at + 1);
    let to = route[from..].find('>').map_or(route.len(), |at| from + at);
    route[from..to].trim()
}

fn is_loose(route: &str) -> bool {
    Uri::parse(bare_uri(route)).is_ok_and(|uri| uri.param("lr").is_some())
}
