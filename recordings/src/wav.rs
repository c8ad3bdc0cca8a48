//! The one form of file that this crate writes: a WAV header of 44 bytes and interleaved frames behind it.
//!
//! Audio goes straight to the file, so that what was appended survives the death of the process; the header's lengths
//! follow when `update_header` is called. Whoever opens a file again trusts its length, never its header.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use crate::{CHANNELS, FRAME_BYTES, SAMPLE_RATE_HZ};

/// RIFF, `fmt ` of 16 bytes and the `data` chunk's head: 16-bit PCM, stereo, 8 kHz.
pub(crate) const HEADER_BYTES: u64 = 44;
/// Longest run of silence that is built in memory at once.
const SILENCE_BYTES_MAX: u64 = 32_768;

/// A file that is being appended to. After an error its end is what the disk let through: `repair` it.
pub(crate) struct Wav {
    file: File,
    frames: u64,
    /// What the header says.
    told: u64,
    bytes: Vec<u8>,
}

/// What `Wav::take_up` and `repair` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repaired {
    pub frames: u64,
    /// Bytes cut off the end because they made no whole frame.
    pub bytes_cut: u64,
    /// Whether the header said something else before.
    pub header_changed: bool,
}

impl Wav {
    /// Writes the header of an empty file.
    pub(crate) fn begin(file: File) -> io::Result<Self> {
        file.write_all_at(&header(0), 0)?;
        let mut wav = Self { file, frames: 0, told: 0, bytes: Vec::new() };
        wav.file.seek(SeekFrom::Start(HEADER_BYTES))?;
        Ok(wav)
    }

    /// Goes on behind the last whole frame of a file that was broken off; one that was broken off before its header was
    /// whole begins anew. `None` for a file of another form.
    pub(crate) fn take_up(mut file: File) -> io::Result<Option<Self>> {
        if file.metadata()?.len() < HEADER_BYTES {
            file.set_len(0)?;
            return Self::begin(file).map(Some);
        }
        let Some(Repaired { frames, .. }) = repair(&mut file)? else { return Ok(None) };
        file.seek(SeekFrom::Start(HEADER_BYTES + frames * FRAME_BYTES))?;
        Ok(Some(Self { file, frames, told: frames, bytes: Vec::new() }))
    }

    /// Interleaved samples, customer first. Half a frame at the end is left out.
    pub(crate) fn append(&mut self, samples: &[i16]) -> io::Result<()> {
        let samples = &samples[..samples.len() & !1];
        self.bytes.clear();
        self.bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        self.file.write_all(&self.bytes)?;
        self.frames += samples.len() as u64 / u64::from(CHANNELS);
        Ok(())
    }

    pub(crate) fn append_silence(&mut self, frames: u64) -> io::Result<()> {
        let mut left = frames * FRAME_BYTES;
        while left > 0 {
            let run = left.min(SILENCE_BYTES_MAX);
            self.bytes.clear();
            self.bytes.resize(run as usize, 0);
            self.file.write_all(&self.bytes)?;
            self.frames += run / FRAME_BYTES;
            left -= run;
        }
        Ok(())
    }

    /// Brings the header's lengths up to date.
    pub(crate) fn update_header(&mut self) -> io::Result<()> {
        if self.told != self.frames {
            self.file.write_all_at(&header(self.frames), 0)?;
            self.told = self.frames;
        }
        Ok(())
    }

    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }
}

/// Cuts a file of ours to its last whole frame and corrects its header; `None`, and nothing changed, for any other.
pub(crate) fn repair(file: &mut File) -> io::Result<Option<Repaired>> {
    let length = file.metadata()?.len();
    if length < HEADER_BYTES {
        return Ok(None);
    }
    let mut before = [0; HEADER_BYTES as usize];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut before)?;
    let frames = (length - HEADER_BYTES) / FRAME_BYTES;
    if !is_ours(&before) || u32::try_from(frames * FRAME_BYTES + HEADER_BYTES).is_err() {
        return Ok(None);
    }
    let after = header(frames);
    let header_changed = before != after;
    if header_changed {
        file.write_all_at(&after, 0)?;
    }
    let bytes_cut = length - HEADER_BYTES - frames * FRAME_BYTES;
    if bytes_cut > 0 {
        file.set_len(length - bytes_cut)?;
    }
    Ok(Some(Repaired { frames, bytes_cut, header_changed }))
}

/// Whether these 44 bytes say 16-bit PCM, stereo, 8 kHz, of whatever length.
pub(crate) fn is_ours(found: &[u8; HEADER_BYTES as usize]) -> bool {
    let mut plain = *found;
    let empty = header(0);
    for length in [4..8, 40..44] {
        plain[length.clone()].copy_from_slice(&empty[length]);
    }
    plain == empty
}

/// Lengths that do not fit 32 bits stand as the greatest; `RECORDING_FRAMES_MAX` keeps ours below it.
fn header(frames: u64) -> [u8; HEADER_BYTES as usize] {
    let data = u32::try_from(frames * FRAME_BYTES).unwrap_or(u32::MAX);
    let byte_rate = SAMPLE_RATE_HZ * FRAME_BYTES as u32;
    let mut header = [0; HEADER_BYTES as usize];
    let parts: [&[u8]; 13] = [
        b"RIFF",
        &data.saturating_add(HEADER_BYTES as u32 - 8).to_le_bytes(),
        b"WAVE",
        b"fmt ",
        &16u32.to_le_bytes(),
        &1u16.to_le_bytes(),
        &CHANNELS.to_le_bytes(),
        &SAMPLE_RATE_HZ.to_le_bytes(),
        &byte_rate.to_le_bytes(),
        &(FRAME_BYTES as u16).to_le_bytes(),
        &16u16.to_le_bytes(),
        b"data",
        &data.to_le_bytes(),
    ];
    let mut at = 0;
    for part in parts {
        header[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    header
}
