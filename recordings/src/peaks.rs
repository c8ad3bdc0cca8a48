//! What a waveform is drawn from: the least and the greatest sample of each side in buckets of equal length.
//!
//! Beside `X.wav` stands `X.peaks.json`:
//! `{"bucket_ms":50,"duration_ms":1234,"customer":[min,max,min,max,...],"agent":[min,max,...]}` with 16-bit sample values.
//! Buckets are 50 ms; for a recording with more than [`BUCKETS_MAX`] they double until they fit. The last one may be short.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::SAMPLE_RATE_HZ;
use crate::seal::{SealError, measure};

/// Buckets a side: more than a screen is wide, ten minutes at 50 ms.
pub const BUCKETS_MAX: usize = 12_000;
const BUCKET_MS_LEAST: u64 = 50;
/// A file larger than this is none of ours.
const FILE_BYTES_MAX: u64 = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peaks {
    pub bucket_ms: u64,
    pub duration_ms: u64,
    /// Least and greatest sample of each bucket in turn.
    pub customer: Vec<i16>,
    pub agent: Vec<i16>,
}

/// The peaks' file of a recording's file.
pub fn path_beside(wav: &Path) -> PathBuf {
    wav.with_extension("peaks.json")
}

/// The peaks of a recording's file; `Ok(None)` where there are none (yet).
pub fn read(wav: &Path) -> io::Result<Option<Peaks>> {
    read_json(wav)?.map(|text| serde_json::from_slice(&text).map_err(io::Error::other)).transpose()
}

/// The peaks' JSON, to be served as it is: what stands in the file, or made from the recording where a full disk had no room
/// for that. `Ok(None)` where there is no recording either.
pub fn read_or_make_json(wav: &Path) -> Result<Option<Vec<u8>>, SealError> {
    let failed = |source| SealError::Io { path: wav.display().to_string(), source };
    if let Some(json) = read_json(wav).map_err(failed)? {
        return Ok(Some(json));
    }
    match measure(wav, |_| {}) {
        Ok((_, peaks)) => serde_json::to_vec(&peaks).map(Some).map_err(|error| failed(io::Error::other(error))),
        Err(SealError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_json(wav: &Path) -> io::Result<Option<Vec<u8>>> {
    let path = path_beside(wav);
    match path.metadata() {
        Ok(data) if data.len() > FILE_BYTES_MAX => Err(io::Error::other("the peaks' file is too large to be one")),
        Ok(_) => std::fs::read(&path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whole or not at all: written aside and renamed.
pub(crate) fn write(wav: &Path, peaks: &Peaks) -> io::Result<()> {
    let path = path_beside(wav);
    let aside = wav.with_extension("peaks.part");
    let written = File::create(&aside).and_then(|file| {
        let mut file = BufWriter::new(file);
        serde_json::to_writer(&mut file, peaks)?;
        file.flush()
    });
    written.and_then(|()| std::fs::rename(&aside, &path)).inspect_err(|_| {
        // On a full disk half of it would only take more room.
        let _ = std::fs::remove_file(&aside);
    })
}

/// Takes a recording's samples as bytes, in pieces of any length.
pub(crate) struct PeakMeter {
    bucket_frames: u64,
    frames: u64,
    /// Of the bucket being filled.
    filled: u64,
    current: [[i16; 2]; 2],
    sides: [Vec<[i16; 2]>; 2],
    /// Bytes of a frame that came in two pieces.
    rest: Vec<u8>,
}

const NOTHING: [i16; 2] = [i16::MAX, i16::MIN];

impl PeakMeter {
    pub(crate) fn new() -> Self {
        Self {
            bucket_frames: BUCKET_MS_LEAST * u64::from(SAMPLE_RATE_HZ) / 1_000,
            frames: 0,
            filled: 0,
            current: [NOTHING; 2],
            sides: [Vec::new(), Vec::new()],
            rest: Vec::with_capacity(4),
        }
    }

    pub(crate) fn push_bytes(&mut self, mut bytes: &[u8]) {
        while !self.rest.is_empty() && !bytes.is_empty() {
            self.rest.push(bytes[0]);
            bytes = &bytes[1..];
            if self.rest.len() == 4 {
                let frame = [self.rest[0], self.rest[1], self.rest[2], self.rest[3]];
                self.rest.clear();
                self.push_frame(frame);
            }
        }
        let mut frames = bytes.chunks_exact(4);
        for frame in frames.by_ref() {
            self.push_frame([frame[0], frame[1], frame[2], frame[3]]);
        }
        self.rest.extend_from_slice(frames.remainder());
    }

    pub(crate) fn finish(mut self) -> Peaks {
        if self.filled > 0 {
            self.keep_bucket();
        }
        let [customer, agent] = self.sides;
        let per_second = u64::from(SAMPLE_RATE_HZ);
        Peaks {
            bucket_ms: self.bucket_frames * 1_000 / per_second,
            duration_ms: self.frames * 1_000 / per_second,
            customer: customer.into_iter().flatten().collect(),
            agent: agent.into_iter().flatten().collect(),
        }
    }

    fn push_frame(&mut self, frame: [u8; 4]) {
        let samples = [i16::from_le_bytes([frame[0], frame[1]]), i16::from_le_bytes([frame[2], frame[3]])];
        for (range, sample) in self.current.iter_mut().zip(samples) {
            range[0] = range[0].min(sample);
            range[1] = range[1].max(sample);
        }
        self.frames += 1;
        self.filled += 1;
        if self.filled == self.bucket_frames {
            self.close_bucket();
        }
    }

    fn close_bucket(&mut self) {
        if self.sides[0].len() == BUCKETS_MAX {
            for side in &mut self.sides {
                *side = side.chunks(2).map(merged).collect();
            }
            self.bucket_frames *= 2;
            if self.filled < self.bucket_frames {
                return;
            }
        }
        self.keep_bucket();
    }

    fn keep_bucket(&mut self) {
        for (side, range) in self.sides.iter_mut().zip(&mut self.current) {
            side.push(std::mem::replace(range, NOTHING));
        }
        self.filled = 0;
    }
}

fn merged(pair: &[[i16; 2]]) -> [i16; 2] {
    pair.iter().fold(NOTHING, |all, one| [all[0].min(one[0]), all[1].max(one[1])])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(frames: impl IntoIterator<Item = [i16; 2]>, piece: usize) -> Peaks {
        let bytes: Vec<u8> = frames.into_iter().flatten().flat_map(i16::to_le_bytes).collect();
        let mut meter = PeakMeter::new();
        bytes.chunks(piece).for_each(|chunk| meter.push_bytes(chunk));
        meter.finish()
    }

    #[test]
    fn each_bucket_has_its_least_and_greatest_sample() {
        let frames = (0..1_000i16).map(|n| [n, -n]);
        for piece in [1, 3, 4, 4_000] {
            let peaks = of(frames.clone(), piece);
            assert_eq!(peaks.bucket_ms, 50);
            assert_eq!(peaks.duration_ms, 125);
            assert_eq!(peaks.customer, [0, 399, 400, 799, 800, 999], "pieces of {piece}");
            assert_eq!(peaks.agent, [-399, 0, -799, -400, -999, -800]);
        }
    }

    #[test]
    fn a_long_recording_has_wider_buckets_and_loses_no_peak() {
        let frames = (BUCKETS_MAX + 1) * 400 + 1;
        let loud = frames - 1;
        let peaks = of((0..frames).map(|n| [if n == 7 || n == loud { 30_000 } else { 0 }, 0]), 65_536);
        assert_eq!(peaks.bucket_ms, 100);
        assert_eq!(peaks.customer.len(), BUCKETS_MAX + 2);
        assert_eq!(peaks.customer[1], 30_000);
        assert_eq!(peaks.customer[peaks.customer.len() - 1], 30_000);
    }

    #[test]
    fn nothing_recorded_has_no_buckets() {
        assert_eq!(of([], 4), Peaks { bucket_ms: 50, duration_ms: 0, customer: vec![], agent: vec![] });
    }
}
