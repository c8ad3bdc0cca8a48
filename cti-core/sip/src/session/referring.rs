//! REFER within a dialog, by either side (RFC 3515): a phone asks us to hand its caller on, or we ask it to call another.

use cti_base::Timestamp;

use super::{Incoming, Phase, Session, Sessions};
use crate::reply;
use crate::stack::{Stack, User};
use crate::wire::{Message, NameAddr, Uri, param, unescape};
use crate::{Party, Refer, Replaces, SessionId};

impl Sessions {
    pub fn answer_refer(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId, code: u16) {
        let Some(session) = self.all.get_mut(&id) else { return };
        let Some(Incoming { request, flow, server, sent: _ }) = session.refer.take() else { return };
        let mut out = reply::start(stack, &request, flow, code, None);
        if code == 202 {
            out.line("Contact", &stack.contact(&flow, ""));
        }
        stack.respond(now, server, code, out.end());
        if code == 202 && session.phase == Phase::Talking {
            session.send_within(stack, now, rsip::Method::Notify, User::Nobody, |stack, flow, mut out| {
                out.line("Contact", &stack.contact(flow, ""))
                    .line("Event", "refer")
                    .line("Subscription-State", "terminated;reason=noresource")
                    .line("User-Agent", &stack.config.user_agent);
                out.body("message/sipfrag;version=2.0", b"SIP/2.0 200 OK\r\n")
            });
        }
    }

    pub fn info_digit(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId, digit: char) {
        /// Milliseconds.
        const DURATION: u32 = 160;
        let talking = |session: &&mut Session| session.phase == Phase::Talking;
        let Some(session) = self.all.get_mut(&id).filter(talking) else { return };
        session.send_within(stack, now, rsip::Method::Info, User::Nobody, |stack, flow, mut out| {
            out.line("Contact", &stack.contact(flow, "")).line("User-Agent", &stack.config.user_agent);
            let body = format!("Signal={digit}\r\nDuration={DURATION}\r\n");
            out.body("application/dtmf-relay", body.as_bytes())
        });
    }

    pub fn refer(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId, uri: &str) {
        let talking = |session: &&mut Session| session.phase == Phase::Talking;
        let Some(session) = self.all.get_mut(&id).filter(talking) else { return };
        session.send_within(stack, now, rsip::Method::Refer, User::Nobody, |stack, flow, mut out| {
            out.line("Contact", &stack.contact(flow, ""))
                .line("Refer-To", &format!("<{uri}>"))
                .line("User-Agent", &stack.config.user_agent);
            out.end()
        });
    }
}

/// `call-id;to-tag=7;from-tag=8;early-only` (RFC 3891 6.1).
pub(super) fn replaces_of(value: &str) -> Option<Replaces> {
    let (call_id, params) = value.split_once(';')?;
    let tag = |name| param(params, name).map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned);
    Some(Replaces {
        call_id: call_id.trim().to_owned(),
        to_tag: tag("to-tag")?,
        from_tag: tag("from-tag")?,
        early_only: param(params, "early-only").is_some(),
    })
}

/// Whom a REFER names; exactly one Refer-To (RFC 3515 2.4.2).
pub(super) fn refer_of(request: &Message) -> Option<Refer> {
    let address = NameAddr::parse(request.other("Refer-To")?)?;
    let uri = Uri::parse(&address.uri_text).ok()?;
    let named = uri.headers.split('&').filter_map(|header| header.split_once('='));
    let mut replaces = named.filter(|(name, _)| name.eq_ignore_ascii_case("Replaces"));
    let replaces = match replaces.next() {
        Some((_, value)) => Some(replaces_of(&unescape(value))?),
        None => None,
    };
    let by_invite = uri.param("method").is_none_or(|method| method.eq_ignore_ascii_case("INVITE"));
    let user = cti_base::Pii::new(uri.user());
    by_invite.then_some(Refer { target: Party { display: None, user, host: uri.host }, replaces })
}
