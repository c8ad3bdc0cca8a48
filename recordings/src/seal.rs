use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use cti_media::Recorded;
use sha2::{Digest, Sha256};

use crate::peaks::{PeakMeter, Peaks};
use crate::wav::{self, HEADER_BYTES, Repaired};
use crate::{CHANNELS, peaks};

const CHUNK_BYTES: usize = 65_536;

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("{path}: {source}")]
    Io { path: String, source: io::Error },
    #[error("{path}: not a recording of this program (16-bit PCM, stereo, 8 kHz WAV)")]
    Format { path: String },
}

/// The outcome of [`verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    Intact,
    /// The file's digest as it is now, in lower-case hex.
    Changed {
        sha256: String,
    },
    Missing,
}

/// Whether the file is still the one that was sealed with `sha256` (hex, either case).
pub fn verify(file: &Path, sha256: &str) -> Result<Verified, SealError> {
    let mut reader = match File::open(file) {
        Ok(reader) => reader,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Verified::Missing),
        Err(error) => return Err(io_error(file, error)),
    };
    let mut digest = Sha256::new();
    read_chunks(&mut reader, |chunk| digest.update(chunk)).map_err(|error| io_error(file, error))?;
    let found = hex::encode(digest.finalize());
    Ok(if found.eq_ignore_ascii_case(sha256) { Verified::Intact } else { Verified::Changed { sha256: found } })
}

/// Makes a broken-off file playable up to its last whole frame: cuts the rest and corrects the header's sizes.
pub fn repair(file: &Path) -> Result<Repaired, SealError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .and_then(|mut handle| wav::repair(&mut handle))
        .map_err(|error| io_error(file, error))?
        .ok_or_else(|| SealError::Format { path: file.display().to_string() })
}

/// A finished file, and what became of the peaks beside it: without room for them the recording is none the worse.
pub(crate) struct Sealed {
    pub file: Recorded,
    pub peaks: io::Result<()>,
}

/// Reads the finished file once: its digest, its length and its peaks, which are written beside it.
pub(crate) fn seal(file: &Path, path: &str) -> Result<Sealed, SealError> {
    let mut digest = Sha256::new();
    let (bytes, peaks) = measure(file, |chunk| digest.update(chunk))?;
    let sha256 = hex::encode(digest.finalize());
    let recorded = Recorded {
        path: path.to_owned(),
        duration_ms: peaks.duration_ms,
        channels: CHANNELS,
        bytes,
        sha256,
        incomplete: None,
    };
    Ok(Sealed { file: recorded, peaks: peaks::write(file, &peaks) })
}

/// Reads a file of ours to its end: its length in bytes and its peaks. `each` is given all of it, in pieces.
pub(crate) fn measure(file: &Path, mut each: impl FnMut(&[u8])) -> Result<(u64, Peaks), SealError> {
    let mut reader = File::open(file).map_err(|error| io_error(file, error))?;
    let mut header = Vec::with_capacity(HEADER_BYTES as usize);
    let mut meter = PeakMeter::new();
    let bytes = read_chunks(&mut reader, |chunk| {
        each(chunk);
        let missing = (HEADER_BYTES as usize - header.len()).min(chunk.len());
        header.extend_from_slice(&chunk[..missing]);
        meter.push_bytes(&chunk[missing..]);
    })
    .map_err(|error| io_error(file, error))?;
    match header.first_chunk() {
        Some(header) if wav::is_ours(header) => Ok((bytes, meter.finish())),
        _ => Err(SealError::Format { path: file.display().to_string() }),
    }
}

fn read_chunks(file: &mut File, mut each: impl FnMut(&[u8])) -> io::Result<u64> {
    let mut chunk = vec![0u8; CHUNK_BYTES];
    let mut total = 0u64;
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(total),
            Ok(read) => {
                total += read as u64;
                each(&chunk[..read]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn io_error(file: &Path, source: io::Error) -> SealError {
    SealError::Io { path: file.display().to_string(), source }
}
