//! Streams between the switch and phones that speak TCP: one for each phone, gone with the program's process.

use std::collections::BTreeMap;

use cti_sip::ConnectionId;

use crate::media::ensure;

/// One stream as each side numbers it. A new process begins to number anew, a phone never does.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    pub at_switch: ConnectionId,
    pub at_phone: ConnectionId,
}

#[derive(Default)]
pub struct Streams {
    /// By the phone's place.
    open: BTreeMap<usize, Stream>,
    at_switch: u64,
    at_phone: u64,
}

impl Streams {
    /// The stream to or from a phone; opened where there is none.
    pub fn to(&mut self, phone: usize) -> Stream {
        let Self { open, at_switch, at_phone } = self;
        *open.entry(phone).or_insert_with(|| {
            (*at_switch, *at_phone) = (*at_switch + 1, *at_phone + 1);
            Stream { at_switch: ConnectionId(*at_switch), at_phone: ConnectionId(*at_phone) }
        })
    }

    /// The switch may write to the phone by the stream that is open, or ask for one.
    pub fn check(&self, phone: usize, connection: Option<ConnectionId>) -> Result<(), String> {
        let open = self.open.get(&phone).map(|stream| stream.at_switch);
        ensure(connection.is_none() || connection == open, || {
            format!("{connection:?} is written to, which is not the stream to this phone: {open:?}")
        })
    }

    /// The process is gone: which phones lose which stream.
    pub fn die(&mut self) -> Vec<(usize, ConnectionId)> {
        self.at_switch = 0;
        std::mem::take(&mut self.open).into_iter().map(|(phone, stream)| (phone, stream.at_phone)).collect()
    }
}
