use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use axum::extract::ws::Utf8Bytes;

/// A command's id has its effect once within this time.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Ids remembered an agent; more commands within ten minutes are refused as `busy`.
const REMEMBERED_MAX: usize = 3_000;

/// A socket of a desk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SocketId(pub u64);

/// The commands of one desk by their id, so that one sent twice has its effect once and both get its answer.
#[derive(Default)]
pub struct CommandMemory {
    entries: BTreeMap<String, Entry>,
    order: VecDeque<(Instant, String)>,
}

enum Entry {
    /// Its answer goes to these sockets.
    Pending(Vec<SocketId>),
    Answered(Utf8Bytes),
}

/// What to do with a command that came in.
pub enum Begin {
    /// Carry it out.
    New,
    /// It is being carried out: its answer will come.
    Pending,
    /// It was carried out: this was the answer.
    Answered(Utf8Bytes),
    /// Too many are remembered.
    Full,
}

impl CommandMemory {
    pub fn begin(&mut self, id: &str, socket: SocketId, now: Instant) -> Begin {
        self.forget_old(now);
        match self.entries.get_mut(id) {
            Some(Entry::Answered(frame)) => return Begin::Answered(frame.clone()),
            Some(Entry::Pending(sockets)) => {
                if !sockets.contains(&socket) {
                    sockets.push(socket);
                }
                return Begin::Pending;
            }
            None => {}
        }
        if self.order.len() >= REMEMBERED_MAX {
            return Begin::Full;
        }
        self.entries.insert(id.to_owned(), Entry::Pending(vec![socket]));
        self.order.push_back((now, id.to_owned()));
        Begin::New
    }

    /// Remembers the answer and says who waits for it.
    pub fn finish(&mut self, id: &str, frame: Utf8Bytes) -> Vec<SocketId> {
        match self.entries.get_mut(id) {
            Some(entry @ Entry::Pending(_)) => match std::mem::replace(entry, Entry::Answered(frame)) {
                Entry::Pending(sockets) => sockets,
                Entry::Answered(_) => Vec::new(),
            },
            Some(Entry::Answered(_)) | None => Vec::new(),
        }
    }

    /// The command had no effect and may be tried again with its id; says who waits for the answer.
    pub fn forget(&mut self, id: &str) -> Vec<SocketId> {
        self.order.retain(|(_, known)| known != id);
        match self.entries.remove(id) {
            Some(Entry::Pending(sockets)) => sockets,
            Some(Entry::Answered(_)) | None => Vec::new(),
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(at, _)| now.duration_since(*at) > REMEMBERED) {
            if let Some((_, id)) = self.order.pop_front() {
                self.entries.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_begun_once_and_answered_as_often_as_it_comes() {
        let (mut memory, now) = (CommandMemory::default(), Instant::now());
        assert!(matches!(memory.begin("a", SocketId(1), now), Begin::New));
        assert!(matches!(memory.begin("a", SocketId(2), now), Begin::Pending));
        assert_eq!(memory.finish("a", "done".into()), [SocketId(1), SocketId(2)]);
        assert!(matches!(memory.begin("a", SocketId(3), now), Begin::Answered(frame) if &*frame == "done"));
        let later = now + REMEMBERED + Duration::from_secs(1);
        assert!(matches!(memory.begin("a", SocketId(1), later), Begin::New), "after ten minutes it is another command");
    }

    #[test]
    fn what_had_no_effect_may_be_tried_again() {
        let (mut memory, now) = (CommandMemory::default(), Instant::now());
        memory.begin("a", SocketId(1), now);
        assert_eq!(memory.forget("a"), [SocketId(1)]);
        assert!(matches!(memory.begin("a", SocketId(1), now), Begin::New));
    }

    #[test]
    fn ids_remembered_are_limited() {
        let (mut memory, now) = (CommandMemory::default(), Instant::now());
        for id in 0..REMEMBERED_MAX {
            assert!(matches!(memory.begin(&id.to_string(), SocketId(1), now), Begin::New));
        }
        assert!(matches!(memory.begin("one more", SocketId(1), now), Begin::Full));
    }
}
