//! Serving a recording over HTTP with one byte range (RFC 9110, 14).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Take};
use std::path::Path;

/// What a Range header asks of a file of a known length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// 200: no header, one that is not understood, or several ranges, which a server may ignore (RFC 9110 14.2).
    Whole,
    /// 206: the bytes `first..=last`.
    Part { first: u64, last: u64 },
    /// 416: nothing of it is in the file.
    Unsatisfiable,
}

/// Reads a Range header's value (RFC 9110 14.1.2) for a file of `length` bytes.
pub fn range_of(header: Option<&str>, length: u64) -> Range {
    let Some(header) = header else { return Range::Whole };
    let Some((unit, ranges)) = header.split_once('=') else { return Range::Whole };
    let (unit, ranges) = (unit.trim(), ranges.trim());
    if !unit.eq_ignore_ascii_case("bytes") || ranges.contains(',') {
        return Range::Whole;
    }
    let Some((first, last)) = ranges.split_once('-') else { return Range::Whole };
    match (position(first), position(last)) {
        (Some(Some(first)), Some(Some(last))) if last < first => Range::Whole,
        (Some(Some(first)), Some(_)) if first >= length => Range::Unsatisfiable,
        (Some(Some(first)), Some(last)) => {
            Range::Part { first, last: last.map_or(length - 1, |last| last.min(length - 1)) }
        }
        (Some(None), Some(Some(suffix))) if suffix == 0 || length == 0 => Range::Unsatisfiable,
        (Some(None), Some(Some(suffix))) => Range::Part { first: length.saturating_sub(suffix), last: length - 1 },
        (Some(None), Some(None)) | (None, _) | (_, None) => Range::Whole,
    }
}

/// `None` for what is no number, `Some(None)` for nothing. A number too large for us is larger than any file.
fn position(text: &str) -> Option<Option<u64>> {
    if text.is_empty() {
        return Some(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Some(text.parse().unwrap_or(u64::MAX)))
}

/// An open answer to a request: its status and headers, and a reader of exactly `content_length` bytes.
#[derive(Debug)]
pub struct Playback {
    /// 200, 206 or 416.
    pub status: u16,
    pub content_length: u64,
    /// The Content-Range header's value, with 206 and 416.
    pub content_range: Option<String>,
    file: File,
}

impl Playback {
    /// The section's bytes.
    pub fn into_reader(self) -> Take<File> {
        self.file.take(self.content_length)
    }

    /// The file at the section's first byte and the section's length, for readers that are not `Read`.
    pub fn into_file(self) -> (File, u64) {
        (self.file, self.content_length)
    }
}

/// Opens a recording's file for one request; `Ok(None)` where there is no such file. A recording that runs is served up to
/// the length it has now. `range` is the Range header's value, if any.
pub fn open(wav: &Path, range: Option<&str>) -> io::Result<Option<Playback>> {
    let mut file = match File::open(wav) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let data = file.metadata()?;
    if !data.is_file() {
        return Ok(None);
    }
    let length = data.len();
    let playback = match range_of(range, length) {
        Range::Whole => Playback { status: 200, content_length: length, content_range: None, file },
        Range::Part { first, last } => {
            file.seek(SeekFrom::Start(first))?;
            let content_range = Some(format!("bytes {first}-{last}/{length}"));
            Playback { status: 206, content_length: last - first + 1, content_range, file }
        }
        Range::Unsatisfiable => {
            Playback { status: 416, content_length: 0, content_range: Some(format!("bytes */{length}")), file }
        }
    };
    Ok(Some(playback))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let part = |first, last| Range::Part { first, last };
        let check = |header: &str, length, expect| assert_eq!(range_of(Some(header), length), expect, "{header}");
        assert_eq!(range_of(None, 100), Range::Whole);
        check("bytes=0-", 100, part(0, 99));
        check("bytes=0-0", 100, part(0, 0));
        check("bytes=10-19", 100, part(10, 19));
        check("Bytes = 10-19", 100, part(10, 19));
        check("bytes=90-1000", 100, part(90, 99));
        check("bytes=-10", 100, part(90, 99));
        check("bytes=-1000", 100, part(0, 99));
        check("bytes=100-", 100, Range::Unsatisfiable);
        check("bytes=99999999999999999999999-", 100, Range::Unsatisfiable);
        check("bytes=-0", 100, Range::Unsatisfiable);
        check("bytes=0-", 0, Range::Unsatisfiable);
        check("bytes=-5", 0, Range::Unsatisfiable);
        for ignored in
            ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-1", "bytes=0-1,3-4", "frames=0-1", "bytes=+1-2"]
        {
            check(ignored, 100, Range::Whole);
        }
    }

    #[test]
    fn a_section_is_read_and_no_more() {
        let folder = tempfile::tempdir().expect("a folder");
        let wav = folder.path().join("a.wav");
        std::fs::write(&wav, b"0123456789").expect("written");
        let read = |range| {
            let playback = open(&wav, range).expect("readable").expect("there");
            let head = (playback.status, playback.content_length, playback.content_range.clone());
            let mut text = String::new();
            playback.into_reader().read_to_string(&mut text).expect("text");
            (head, text)
        };
        assert_eq!(read(None), ((200, 10, None), "0123456789".into()));
        assert_eq!(read(Some("bytes=2-4")), ((206, 3, Some("bytes 2-4/10".into())), "234".into()));
        assert_eq!(read(Some("bytes=10-")), ((416, 0, Some("bytes */10".into())), String::new()));
        assert!(open(&folder.path().join("b.wav"), None).expect("no error").is_none());
        assert!(open(folder.path(), None).expect("no error").is_none());
    }
}
