use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// How far the journal was, beside the journal: one line, written in place after every commit. It says at the next start
/// whether groups are missing that had been there, which SQLite itself cuts without a word.
pub(super) struct Mark {
    file: File,
}

/// What the line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marked {
    /// The journal's name.
    pub journal: String,
    pub group: u64,
    /// The last fact's seq.
    pub fact: u64,
}

impl Mark {
    /// Opens `DIR/journal/last`, made where missing, and reads it; `None` where it is no such line.
    pub fn open(folder: &Path) -> io::Result<(Self, Option<Marked>)> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(folder.join("last"))?;
        let mut line = Vec::new();
        file.read_to_end(&mut line)?;
        let marked = std::str::from_utf8(&line).ok().and_then(parse);
        Ok((Self { file }, marked))
    }

    /// One write of one length: a kill leaves the old line or the new one. It is not synced, since after a loss of power it
    /// would only tell of groups that are lost anyway.
    pub fn write(&self, marked: &Marked) -> io::Result<()> {
        let line = format!("{:>32} {:020} {:020}\n", marked.journal, marked.group, marked.fact);
        self.file.write_all_at(line.as_bytes(), 0)
    }
}

fn parse(line: &str) -> Option<Marked> {
    let mut words = line.split_whitespace();
    let journal = words.next()?.to_owned();
    let (group, fact) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Marked { journal, group, fact })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_written_is_read_back_and_another_files_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mark, first) = Mark::open(folder.path()).expect("opens");
        assert_eq!(first, None);
        let marked = |group, fact| Marked { journal: "0123456789abcdef0123456789abcdef".into(), group, fact };
        mark.write(&marked(u64::MAX, u64::MAX)).expect("written");
        mark.write(&marked(3, 10)).expect("written");
        assert_eq!(Mark::open(folder.path()).expect("opens").1, Some(marked(3, 10)));
        std::fs::write(folder.path().join("last"), "x 1").expect("written");
        assert_eq!(Mark::open(folder.path()).expect("opens").1, None);
    }
}
