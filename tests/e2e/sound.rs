//! Tones to send and to find again.

use std::f64::consts::TAU;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Ten seconds of a sine as raw A-law, which SIPp streams as it is.
pub fn tone(dir: &Path, hz: u32) -> Result<PathBuf> {
    let samples = (0..80_000).map(|n| ((f64::from(n) * f64::from(hz) * TAU / 8_000.0).sin() * 8_000.0) as i16);
    let path = dir.join(format!("tone-{hz}.al"));
    std::fs::write(&path, samples.map(cti_media::g711::linear_to_alaw).collect::<Vec<u8>>())?;
    Ok(path)
}

/// A stereo recording's two lanes.
pub struct Recording {
    pub left: Vec<i16>,
    pub right: Vec<i16>,
}

impl Recording {
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let mut reader = hound::WavReader::new(std::io::Cursor::new(bytes)).context("the recording is a WAV")?;
        let spec = reader.spec();
        anyhow::ensure!(spec.channels == 2 && spec.sample_rate == 8_000, "{spec:?} is not stereo at 8 kHz");
        let samples = reader.samples::<i16>().collect::<Result<Vec<_>, _>>()?;
        let lane = |side: usize| samples.iter().skip(side).step_by(2).copied().collect();
        Ok(Self { left: lane(0), right: lane(1) })
    }

    pub fn ms(&self) -> u64 {
        self.left.len() as u64 / 8
    }
}

/// The share of a lane's energy at `hz`, 0 to 1 (Goertzel over windows of 100 ms); a silent lane has 0.
pub fn share(lane: &[i16], hz: f64) -> f64 {
    let (mut at, mut all) = (0.0, 0.0);
    for window in lane.chunks_exact(800) {
        let (mut re, mut im) = (0.0, 0.0);
        for (n, sample) in window.iter().enumerate() {
            let angle = TAU * hz * n as f64 / 8_000.0;
            re += f64::from(*sample) * angle.cos();
            im += f64::from(*sample) * angle.sin();
        }
        at += 2.0 * (re * re + im * im) / window.len() as f64;
        all += window.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>();
    }
    if all == 0.0 { 0.0 } else { at / all }
}

/// Mean square of a lane.
pub fn power(lane: &[i16]) -> f64 {
    lane.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / lane.len().max(1) as f64
}
