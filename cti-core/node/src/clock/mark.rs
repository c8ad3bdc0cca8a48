//! The mark that a running program leaves, and what the next start makes of it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use cti_base::Timestamp;

pub const FILE: &str = "clock";
/// A UUID as text.
pub const BOOT_ID_LEN: usize = 36;
/// `time boot boot-id`, microseconds in 20 digits each, and a newline: always as long, so that it is overwritten in place.
const LINE_LEN: usize = 20 + 1 + 20 + 1 + BOOT_ID_LEN + 1;
const OWNER_ONLY: u32 = 0o600;

/// When the program was alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub at: Timestamp,
    /// The time since boot at that moment, and of which boot.
    pub boot: Duration,
    pub boot_id: String,
}

/// How the time at a start was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reckoned {
    /// Nothing was there before: the wall clock.
    First,
    /// From the time since boot: exact, whatever became of the wall clock.
    Boot,
    /// The machine booted in between, or the mark is lost: the wall clock, but not before what the journal has.
    Wall,
}

impl Reckoned {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "the wall clock (first start)",
            Self::Boot => "the time since boot",
            Self::Wall => "the wall clock",
        }
    }
}

/// The time at a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    pub now: Timestamp,
    /// When the program was last known to be alive.
    pub alive: Option<Timestamp>,
    pub reckoned: Reckoned,
}

/// The time now, by the mark, the journal's last time, and the system's clocks.
pub fn begin(
    mark: Option<&Mark>,
    last: Option<Timestamp>,
    boot_id: Option<&str>,
    boot: Duration,
    wall: Timestamp,
) -> Begun {
    let alive = mark.map(|mark| mark.at).max(last);
    let same_boot = mark.filter(|mark| Some(mark.boot_id.as_str()) == boot_id);
    let by_boot = same_boot.and_then(|mark| Some(mark.at + boot.checked_sub(mark.boot)?));
    let (now, reckoned) = match (by_boot, alive) {
        (Some(now), _) => (now, Reckoned::Boot),
        (None, Some(_)) => (wall, Reckoned::Wall),
        (None, None) => (wall, Reckoned::First),
    };
    let not_before = alive.map_or(Timestamp::default(), |alive| alive + Duration::from_micros(1));
    Begun { now: now.max(not_before), alive, reckoned }
}

/// Opens the mark's file for [`Mark::write`].
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(OWNER_ONLY).open(path)
}

impl Mark {
    /// `None` where there is none, or where it is not whole.
    pub fn read(path: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(path).ok()?;
        let line = text.strip_suffix('\n').filter(|_| text.len() == LINE_LEN)?;
        let mut parts = line.split(' ');
        let (at, boot, boot_id) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
        Some(Self { at: Timestamp::from_micros(at), boot: Duration::from_micros(boot), boot_id: boot_id.to_owned() })
    }

    /// In place and in one write: a killed program leaves this mark or the one before.
    pub fn write(&self, file: &File) -> io::Result<()> {
        let line = format!("{:020} {:020} {}\n", self.at.as_micros(), self.boot.as_micros(), self.boot_id);
        file.write_all_at(line.as_bytes(), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const THIS_BOOT: &str = "b59d1d5e-58b5-4bd3-9d5e-0d1f4c2a8e11";
    const LAST_BOOT: &str = "0c3f9d7a-1b7f-4a64-a8a7-bb0d9c0e4c55";
    const HOUR: Duration = Duration::from_secs(3_600);
    const SECOND: Duration = Duration::from_secs(1);

    fn mark(boot_id: &str) -> Mark {
        Mark { at: AT, boot: Duration::from_secs(5_000), boot_id: boot_id.into() }
    }

    /// Away for one second by the time since boot.
    fn begun(mark: Option<&Mark>, last: Option<Timestamp>, wall: Timestamp) -> (Timestamp, Duration, Reckoned) {
        let begun = begin(mark, last, Some(THIS_BOOT), Duration::from_secs(5_001), wall);
        let down = begun.alive.map_or(Duration::ZERO, |alive| begun.now.since(alive));
        (begun.now, down, begun.reckoned)
    }

    #[test]
    fn the_time_at_a_start_by_mark_journal_and_clocks() {
        let microsecond = Duration::from_micros(1);
        let check = |what: &str, mark: Option<&Mark>, last, wall, expect: (Timestamp, Duration, Reckoned)| {
            assert_eq!(begun(mark, last, wall), expect, "{what}");
        };
        let (this, other) = (mark(THIS_BOOT), mark(LAST_BOOT));
        let near = AT + SECOND;
        check("nothing before", None, None, AT, (AT, Duration::ZERO, Reckoned::First));
        check("a crash", Some(&this), Some(AT), near, (near, SECOND, Reckoned::Boot));
        check("the wall an hour ahead", Some(&this), Some(AT), near + HOUR, (near, SECOND, Reckoned::Boot));
        check("the wall an hour back", Some(&this), Some(AT), near - HOUR, (near, SECOND, Reckoned::Boot));
        let ms = Duration::from_millis(900);
        check("inputs after the mark", Some(&this), Some(AT + ms), near, (near, SECOND - ms, Reckoned::Boot));
        check("another boot", Some(&other), Some(AT), AT + HOUR, (AT + HOUR, HOUR, Reckoned::Wall));
        let least = (AT + microsecond, microsecond, Reckoned::Wall);
        check("another boot, the wall back", Some(&other), Some(AT), AT - HOUR, least);
        check("no mark, the wall back", None, Some(AT), AT - HOUR, least);
        check("no mark", None, Some(AT), near, (near, SECOND, Reckoned::Wall));
        let later = AT + HOUR;
        check(
            "a journal ahead of all",
            Some(&this),
            Some(later),
            near,
            (later + microsecond, microsecond, Reckoned::Boot),
        );
    }

    #[test]
    fn without_a_boot_id_the_wall_clock_counts() {
        let begun = begin(Some(&mark(THIS_BOOT)), None, None, Duration::ZERO, AT + HOUR);
        assert_eq!((begun.now, begun.reckoned), (AT + HOUR, Reckoned::Wall));
    }

    #[test]
    fn a_mark_is_overwritten_in_place_and_a_torn_one_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(FILE);
        let file = open(&path).expect("opened");
        assert_eq!(Mark::read(&path), None);
        for at in [AT, AT + SECOND] {
            let mark = Mark { at, ..mark(THIS_BOOT) };
            mark.write(&file).expect("written");
            assert_eq!(Mark::read(&path), Some(mark));
        }
        let text = std::fs::read_to_string(&path).expect("read");
        for torn in [&text[..text.len() - 1], "x", "", &text.replacen('0', "y", 1)] {
            std::fs::write(&path, torn).expect("written");
            assert_eq!(Mark::read(&path), None, "{torn:?}");
        }
    }
}
