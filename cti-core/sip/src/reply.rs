//! Responses, within transactions and without.

use std::net::SocketAddr;

use bytes::Bytes;
use rsip::headers::{Header, Headers};

use crate::session::{ACCEPT, ALLOW, ALLOW_EVENTS, SUPPORTED};
use crate::stack::Stack;
use crate::wire::{Builder, Malformed, Message, Via, header_value, reason};
use crate::{Event, Flow, RejectReason};

/// A response up to CSeq, with our name.
pub fn start(stack: &Stack, request: &Message, flow: Flow, code: u16, to_tag: Option<&str>) -> Builder {
    let mut out = Builder::response(code, reason(code));
    out.answering(&request.headers, &request.via, flow.remote, to_tag).line("Server", &stack.config.user_agent);
    out
}

/// Answers outside of any transaction (RFC 3261 8.2.7), with a tag that is the same for the same request.
pub fn stateless(
    stack: &mut Stack,
    request: &Message,
    flow: Flow,
    code: u16,
    complete: impl FnOnce(&Stack, &mut Builder),
) {
    let tag = request.to.tag().is_none().then(|| stack.stateless_tag(&[&request.call_id, request.via.branch()]));
    let mut out = start(stack, request, flow, code, tag.as_deref());
    complete(stack, &mut out);
    let flow = stack.reply_flow(flow, request.via.port);
    stack.send(flow, out.end());
}

/// A stateless refusal that is counted. ACK is never answered.
pub fn refuse(
    stack: &mut Stack,
    request: &Message,
    flow: Flow,
    code: u16,
    why: RejectReason,
    complete: impl FnOnce(&Stack, &mut Builder),
) {
    stack.emit(Event::Rejected { reason: why });
    if !request.cseq.method.is(rsip::Method::Ack) {
        stateless(stack, request, flow, code, complete);
    }
}

/// What could not be read: answered where its sender can be told, counted always.
pub fn malformed(stack: &mut Stack, fault: Malformed, flow: Flow) {
    let why = if fault.code == 513 { RejectReason::TooLarge } else { RejectReason::Malformed };
    stack.emit(Event::Rejected { reason: why });
    let Some(reply) = fault.reply else { return };
    let (headers, via) = *reply;
    let bytes = refusal(stack, &headers, &via, flow.remote, fault.code, fault.reason);
    let flow = stack.reply_flow(flow, via.port);
    stack.send(flow, bytes);
}

fn refusal(stack: &Stack, headers: &Headers, via: &Via, source: SocketAddr, code: u16, reason: &str) -> Bytes {
    let text = |kind: fn(&Header) -> bool| headers.iter().find(|h| kind(h)).map_or("", header_value);
    let to = text(|h| matches!(h, Header::To(_)));
    let tag = stack.stateless_tag(&[text(|h| matches!(h, Header::CallId(_))), via.branch()]);
    let mut out = Builder::response(code, reason);
    out.answering(headers, via, source, (!to.contains("tag=")).then_some(&tag));
    out.line("Server", &stack.config.user_agent);
    out.end()
}

/// What we can do, for OPTIONS and for refusals of a method.
pub fn capabilities(out: &mut Builder) {
    out.line("Allow", ALLOW).line("Accept", ACCEPT).line("Allow-Events", ALLOW_EVENTS).line("Supported", SUPPORTED);
}

pub fn allow(_: &Stack, out: &mut Builder) {
    out.line("Allow", ALLOW);
}
