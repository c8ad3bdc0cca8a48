use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use cti_base::Timestamp;

use super::store::Sealed;
use crate::config::Durability;

/// The file in the journal's folder.
pub(super) const FILE: &str = "tail";
/// Before each group: the length of what follows, and its checksum.
const HEAD_BYTES: usize = 16;

/// The journal's youngest groups: on disk, each by one write, and not yet in SQLite, where a transaction costs many times
/// that. What is in SQLite is written over: the file grows no larger than what is taken over at once.
///
/// A group counts where its checksum holds, with the journal's name in it, and its number follows the one before.
pub(super) struct Tail {
    file: File,
    end: u64,
    name: Vec<u8>,
    durability: Durability,
    /// The group as it is written.
    buffer: Vec<u8>,
}

impl Tail {
    /// Opens the file, made where missing. `name` is the journal's.
    pub fn open(folder: &Path, name: &str, durability: Durability) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).read(true).write(true).mode(0o600).open(folder.join(FILE))?;
        if durability == Durability::Power {
            // The file's name, too.
            File::open(folder)?.sync_all()?;
        }
        Ok(Self { file, end: 0, name: name.into(), durability, buffer: Vec::new() })
    }

    /// The groups from number `from` on, as far as they are whole and follow each other.
    pub fn groups(&mut self, from: u64) -> io::Result<Vec<Sealed>> {
        let mut bytes = Vec::new();
        self.file.rewind()?;
        self.file.read_to_end(&mut bytes)?;
        let mut rest = Bytes(&bytes);
        let mut groups: Vec<Sealed> = Vec::new();
        let mut next = None;
        while let Some(group) = self.group(&mut rest).filter(|group| next.is_none_or(|next| group.number == next)) {
            next = Some(group.number + 1);
            if group.number >= from {
                groups.push(group);
            }
        }
        Ok(groups)
    }

    /// Writes a group behind those before, as durable as asked for. After an error it is not there.
    pub fn add(&mut self, group: &Sealed) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.extend_from_slice(&[0; HEAD_BYTES]);
        write(&mut buffer, group);
        let (head, body) = buffer.split_at_mut(HEAD_BYTES);
        head[..8].copy_from_slice(&(body.len() as u64).to_le_bytes());
        head[8..].copy_from_slice(&checksum(&self.name, body).to_le_bytes());
        let written = self.file.write_all_at(&buffer, self.end).and_then(|()| match self.durability {
            Durability::Process => Ok(()),
            Durability::Power => self.file.sync_data(),
        });
        let length = buffer.len() as u64;
        self.buffer = buffer;
        written.map(|()| self.end += length)
    }

    /// What is here is in SQLite: the next group takes the first one's place.
    pub fn begin_anew(&mut self) {
        self.end = 0;
    }

    /// Takes all away.
    pub fn clear(&mut self) -> io::Result<()> {
        self.end = 0;
        self.file.set_len(0)
    }

    fn group(&self, rest: &mut Bytes<'_>) -> Option<Sealed> {
        let (length, sum) = (rest.number()?, rest.number()?);
        let body = rest.take(usize::try_from(length).ok()?)?;
        if checksum(&self.name, body) != sum {
            return None;
        }
        read(&mut Bytes(body))
    }
}

fn write(to: &mut Vec<u8>, group: &Sealed) {
    let numbers = [group.number, group.at.as_micros(), u64::from(group.gap), group.fact_last, group.facts.len() as u64];
    for number in numbers {
        to.extend_from_slice(&number.to_le_bytes());
    }
    let mut blob = |bytes: &[u8]| {
        to.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        to.extend_from_slice(bytes);
    };
    blob(&group.inputs);
    for (seq, at, fact) in &group.facts {
        blob(&seq.to_le_bytes());
        blob(&at.as_micros().to_le_bytes());
        blob(fact.as_bytes());
    }
}

fn read(from: &mut Bytes<'_>) -> Option<Sealed> {
    let (number, at, gap, fact_last, count) =
        (from.number()?, from.number()?, from.number()?, from.number()?, from.number()?);
    let inputs = from.blob()?.to_vec();
    let mut facts = Vec::new();
    for _ in 0..count {
        let (seq, at) = (Bytes(from.blob()?).number()?, Bytes(from.blob()?).number()?);
        let fact = String::from_utf8(from.blob()?.to_vec()).ok()?;
        facts.push((seq, Timestamp::from_micros(at), fact));
    }
    let at = Timestamp::from_micros(at);
    Some(Sealed { number, at, gap: gap != 0, inputs, facts, fact_last, snapshot: None })
}

/// What is left to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn blob(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }
}

/// Tells a write that was broken off, or a byte that changed, from a whole one; the private part has its own seal. Each word
/// is folded in by a step that can be undone, so that no single change goes unseen.
fn checksum(name: &[u8], body: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let fold = |sum: u64, bytes: &[u8]| {
        bytes.chunks(8).fold(sum, |sum, chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            (sum.rotate_left(23) ^ u64::from_le_bytes(word)).wrapping_mul(ODD)
        })
    };
    fold(fold(body.len() as u64, name), body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(number: u64) -> Sealed {
        let facts =
            (0..number % 4).map(|n| (number * 10 + n, Timestamp::from_micros(n), format!("fact {n}"))).collect();
        Sealed {
            number,
            at: Timestamp::from_micros(number * 7),
            gap: number == 3,
            inputs: vec![number as u8; number as usize * 50],
            facts,
            fact_last: number * 10 + 9,
            snapshot: None,
        }
    }

    fn tail(folder: &Path) -> Tail {
        Tail::open(folder, "a", Durability::Process).expect("opens")
    }

    fn numbers(folder: &Path, from: u64) -> Vec<u64> {
        tail(folder).groups(from).expect("read").iter().map(|group| group.number).collect()
    }

    #[test]
    fn groups_are_read_back_as_they_were_and_only_by_their_journal() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut written = tail(folder.path());
        (2..=9).for_each(|n| written.add(&group(n)).expect("written"));
        let read = tail(folder.path()).groups(3).expect("read");
        assert_eq!(read.len(), 7);
        for (n, read) in (3..).zip(&read) {
            let is = |g: &Sealed| (g.number, g.at, g.gap, g.inputs.clone(), g.facts.clone(), g.fact_last);
            assert_eq!(is(read), is(&group(n)));
        }
        assert!(
            Tail::open(folder.path(), "b", Durability::Process).expect("opens").groups(0).expect("read").is_empty()
        );
    }

    #[test]
    fn what_was_written_over_is_gone_and_what_it_left_is_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut written = tail(folder.path());
        (1..=9).for_each(|n| written.add(&group(n)).expect("written"));
        written.begin_anew();
        assert_eq!(numbers(folder.path(), 10), Vec::<u64>::new());
        (10..=11).for_each(|n| written.add(&group(n)).expect("written"));
        assert_eq!(numbers(folder.path(), 0), [10, 11]);
        // Exactly where an older one began.
        written.begin_anew();
        (12..=13).for_each(|n| written.add(&Sealed { number: n, ..group(1) }).expect("written"));
        assert_eq!(numbers(folder.path(), 0), [12, 13]);
        written.clear().expect("cleared");
        assert_eq!(numbers(folder.path(), 0), Vec::<u64>::new());
    }

    #[test]
    fn a_broken_byte_or_end_ends_what_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut written = tail(folder.path());
        (1..=6).for_each(|n| written.add(&group(n)).expect("written"));
        let whole = std::fs::read(folder.path().join(FILE)).expect("read");
        for place in (0..whole.len()).step_by(3) {
            let mut broken = whole.clone();
            broken[place] ^= 0x10;
            std::fs::write(folder.path().join(FILE), &broken).expect("written");
            let flipped = numbers(folder.path(), 0);
            std::fs::write(folder.path().join(FILE), &whole[..place]).expect("written");
            let cut = numbers(folder.path(), 0);
            assert!(flipped == cut && cut.len() < 6, "{place}: {flipped:?} {cut:?}");
            assert_eq!(cut, (1..=cut.len() as u64).collect::<Vec<_>>());
        }
    }
}
