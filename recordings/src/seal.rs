use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use cti_media::Recorded;
use sha2::{Digest, Sha256};

use crate::peaks::PeakMeter;
use crate::{CHANNELS, FRAME_BYTES, SAMPLE_RATE_HZ, peaks};

/// RIFF, `fmt ` of 16 bytes and the `data` chunk's head, as hound writes them for 16-bit stereo.
pub(crate) const HEADER_BYTES: u64 = 44;
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

/// The outcome of [`repair`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repaired {
    pub frames: u64,
    /// Bytes cut off the end because they made no whole frame.
    pub bytes_cut: u64,
    /// Whether the header said something else before.
    pub header_changed: bool,
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
    let attempt = || -> io::Result<Option<Repaired>> {
        let mut handle = OpenOptions::new().read(true).write(true).open(file)?;
        let length = handle.metadata()?.len();
        let mut header = [0u8; HEADER_BYTES as usize];
        if length < HEADER_BYTES {
            return Ok(None);
        }
        handle.read_exact(&mut header)?;
        if !is_ours(&header) {
            return Ok(None);
        }
        let frames = (length - HEADER_BYTES) / FRAME_BYTES;
        let data_bytes = frames * FRAME_BYTES;
        let Ok(data_size) = u32::try_from(data_bytes + HEADER_BYTES - 8) else { return Ok(None) };
        let before = header;
        header[4..8].copy_from_slice(&data_size.to_le_bytes());
        header[40..44].copy_from_slice(&(data_bytes as u32).to_le_bytes());
        let header_changed = header != before;
        if header_changed {
            handle.seek(SeekFrom::Start(0))?;
            handle.write_all(&header)?;
        }
        let bytes_cut = length - HEADER_BYTES - data_bytes;
        if bytes_cut > 0 {
            handle.set_len(HEADER_BYTES + data_bytes)?;
        }
        Ok(Some(Repaired { frames, bytes_cut, header_changed }))
    };
    attempt()
        .map_err(|error| io_error(file, error))?
        .ok_or_else(|| SealError::Format { path: file.display().to_string() })
}

/// Reads the finished file once: its digest, its length and its peaks, which are written beside it.
pub(crate) fn seal(file: &Path, path: &str) -> Result<Recorded, SealError> {
    let mut reader = File::open(file).map_err(|error| io_error(file, error))?;
    let mut digest = Sha256::new();
    let mut header = Vec::with_capacity(HEADER_BYTES as usize);
    let mut meter = PeakMeter::new();
    let bytes = read_chunks(&mut reader, |chunk| {
        digest.update(chunk);
        let missing = (HEADER_BYTES as usize - header.len()).min(chunk.len());
        header.extend_from_slice(&chunk[..missing]);
        meter.push_bytes(&chunk[missing..]);
    })
    .map_err(|error| io_error(file, error))?;
    if header.len() < HEADER_BYTES as usize || !is_ours(&header) {
        return Err(SealError::Format { path: file.display().to_string() });
    }
    let peaks = meter.finish();
    let duration_ms = peaks.duration_ms;
    peaks::write(file, &peaks).map_err(|error| io_error(file, error))?;
    let sha256 = hex::encode(digest.finalize());
    Ok(Recorded { path: path.to_owned(), duration_ms, channels: CHANNELS, bytes, sha256 })
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

fn is_ours(header: &[u8]) -> bool {
    let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    &header[0..4] == b"RIFF"
        && &header[8..16] == b"WAVEfmt "
        && word(16) == 16
        && half(20) == 1
        && half(22) == CHANNELS
        && word(24) == SAMPLE_RATE_HZ
        && half(34) == 16
        && &header[36..40] == b"data"
}

fn io_error(file: &Path, source: io::Error) -> SealError {
    SealError::Io { path: file.display().to_string(), source }
}
