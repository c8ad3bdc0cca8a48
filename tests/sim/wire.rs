//! What went over the wire, read by a few lines of our own: every message whole, one final answer a transaction, numbers that
//! go up, one INVITE an offer.

use std::collections::{BTreeMap, BTreeSet};

use crate::media::ensure;

#[derive(Default)]
pub struct Wire {
    /// The final answer sent to each INVITE: Call-ID and CSeq number.
    finals: BTreeMap<(String, u32), u16>,
    /// The highest CSeq sent in each dialog, and the branch it was sent with.
    sent: BTreeMap<String, (u32, String)>,
    /// Of the calls that we make: Call-ID to our call's id.
    pub invites: BTreeMap<String, String>,
    /// Those to customers, by Call-ID.
    customers: BTreeSet<String>,
    pub messages: u64,
    /// Calls of ours whose INVITE died with a program, by Call-ID.
    lost: BTreeSet<String>,
}

/// What the switch sent, as far as it matters outside.
pub enum Sent {
    /// A first INVITE to a phone, with its call's id. One that was lost may find that its offer is over: there can be no CANCEL
    /// before the phone has answered (RFC 3261, 9.1).
    Invite {
        call: String,
        was_lost: bool,
    },
    /// A first INVITE to a customer.
    Dialled {
        number: String,
        was_lost: bool,
    },
    Other,
}

struct Message<'a> {
    start: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    body: &'a [u8],
}

impl<'a> Message<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let split = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..split]).ok()?;
        let mut lines = head.split("\r\n");
        let start = lines.next()?;
        let headers = lines.map(|line| line.split_once(':')).collect::<Option<Vec<_>>>()?;
        let headers = headers.into_iter().map(|(name, value)| (name.trim(), value.trim())).collect();
        Some(Self { start, headers, body: &bytes[split + 4..] })
    }

    fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

impl Wire {
    pub fn sent(&mut self, bytes: &[u8]) -> Result<Sent, String> {
        let text = || String::from_utf8_lossy(bytes).into_owned();
        self.messages += 1;
        let message = Message::read(bytes).ok_or_else(|| format!("no SIP message was sent: {}", text()))?;
        if ["SIP/2.0 400 ", "SIP/2.0 505 "].iter().any(|code| message.start.starts_with(code)) {
            // The answer to what was no whole request can only say back what there was of it.
            return Ok(Sent::Other);
        }
        let need = |name: &str| message.header(name).ok_or_else(|| format!("sent without {name}: {}", text()));
        let (call_id, via) = (need("Call-ID")?.to_owned(), need("Via")?);
        need("From")?;
        need("To")?;
        let length: usize = need("Content-Length")?.parse().map_err(|_| format!("no length: {}", text()))?;
        ensure(length == message.body.len(), || {
            format!("Content-Length {length} of {}: {}", message.body.len(), text())
        })?;
        ensure(length == 0 || message.header("Content-Type").is_some(), || format!("a body of no type: {}", text()))?;
        let (number, method) = need("CSeq")?.split_once([' ', '\t']).ok_or_else(|| format!("no CSeq: {}", text()))?;
        let number: u32 = number.parse().map_err(|_| format!("no CSeq: {}", text()))?;
        if let Some(status) = message.start.strip_prefix("SIP/2.0 ") {
            let code: u16 = status.get(..3).and_then(|code| code.parse().ok()).ok_or_else(&text)?;
            return self.answered(call_id, number, method, code, &text);
        }
        ensure(message.start.starts_with(method) || method == "INVITE", || {
            format!("CSeq of another method: {}", text())
        })?;
        let branch = via.split("branch=").nth(1).and_then(|b| b.split([';', ',']).next());
        let branch = branch.filter(|b| b.starts_with("z9hG4bK")).ok_or_else(|| format!("no branch: {}", text()))?;
        let is_first = !self.sent.contains_key(&call_id);
        if message.start.starts_with("ACK ") || message.start.starts_with("CANCEL ") {
            return Ok(Sent::Other);
        }
        if let Some((highest, known)) = self.sent.get(&call_id) {
            let again = number == *highest && branch == known;
            ensure(again || number > *highest || number < *highest && self.is_old(&call_id), || {
                format!("CSeq {number} after {highest} in one dialog: {}", text())
            })?;
        }
        self.sent.insert(call_id.clone(), (number, branch.to_owned()));
        if is_first && message.start.starts_with("INVITE ") {
            let was_lost = self.lost.contains(&call_id);
            let Some(call) = message.header("X-Zongji-Call") else {
                let number = message.start.strip_prefix("INVITE sip:").and_then(|uri| uri.split_once('@'));
                let number = number.ok_or_else(|| format!("nobody is dialled: {}", text()))?.0.to_owned();
                self.customers.insert(call_id);
                return Ok(Sent::Dialled { number, was_lost });
            };
            self.invites.insert(call_id, call.to_owned());
            return Ok(Sent::Invite { call: call.to_owned(), was_lost });
        }
        Ok(Sent::Other)
    }

    /// The switch said it and the program died with it: an INVITE is sent again by the next one.
    pub fn lost(&mut self, bytes: &[u8]) {
        let Some(message) = Message::read(bytes).filter(|message| message.start.starts_with("INVITE ")) else { return };
        if let Some(call_id) = message.header("Call-ID").filter(|id| !self.sent.contains_key(*id)) {
            self.lost.insert(call_id.to_owned());
        }
    }

    /// A request that is repeated after a later one went out.
    fn is_old(&self, call_id: &str) -> bool {
        self.invites.contains_key(call_id) || self.customers.contains(call_id)
    }

    fn answered(
        &mut self,
        call_id: String,
        number: u32,
        method: &str,
        code: u16,
        text: &impl Fn() -> String,
    ) -> Result<Sent, String> {
        if method != "INVITE" {
            return Ok(Sent::Other);
        }
        let key = (call_id, number);
        match self.finals.get(&key) {
            // Refused anew: the datagram came again after its transaction was over, or a loop was found.
            Some(first) if code >= 400 && *first >= 300 || code == 482 || code == 481 => Ok(Sent::Other),
            Some(first) => {
                let known = *first;
                ensure(known == code, || format!("one final answer: {code} after {known}: {}", text()))?;
                Ok(Sent::Other)
            }
            None => {
                if code >= 200 {
                    self.finals.insert(key, code);
                }
                Ok(Sent::Other)
            }
        }
    }
}
