//! Tones to send and to find again.

use std::f64::consts::TAU;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

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

/// The gaps of a recording as `calls/{id}` tells them: ms from its start.
pub fn gaps_of(recording: &Value) -> Result<Vec<Range<u64>>> {
    let gaps = recording["gaps"].as_array().context("gaps")?;
    let ms = |gap: &Value, name: &str| gap[name].as_u64().with_context(|| format!("{name} of {gap}"));
    gaps.iter().map(|gap| Ok(ms(gap, "from_ms")?..ms(gap, "to_ms")?)).collect()
}

/// Asserts that the caller's tone is all along the left lane and the agent's along the right, but for the gaps and `edge_ms` on
/// either side of them and at both ends (where streams begin anew). The error names what is missing.
pub fn heard_but_for(recording: &Recording, hz: [f64; 2], gaps: &[Range<u64>], edge_ms: u64) -> Result<()> {
    const WINDOW_MS: u64 = 100;
    const LEAST_SHARE: f64 = 0.8;
    let total = recording.ms();
    let mut missing = Vec::new();
    for (name, lane, hz) in [("left", &recording.left, hz[0]), ("right", &recording.right, hz[1])] {
        let mut from = edge_ms;
        while from + WINDOW_MS + edge_ms <= total {
            let to = from + WINDOW_MS;
            let excused = gaps.iter().any(|gap| from < gap.end + edge_ms && gap.start < to + edge_ms);
            if !excused && share(&lane[8 * from as usize..8 * to as usize], hz) < LEAST_SHARE {
                missing.push(format!("{name} {from}-{to} ms"));
            }
            from = to;
        }
    }
    let some: Vec<&String> = missing.iter().take(20).collect();
    ensure!(missing.is_empty(), "{} windows of {total} ms without their tone, gaps {gaps:?}: {some:?}", missing.len());
    Ok(())
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

/// A mono WAV of 8 kHz.
pub fn mono(bytes: &[u8]) -> Result<Vec<i16>> {
    let mut reader = hound::WavReader::new(std::io::Cursor::new(bytes)).context("a WAV")?;
    Ok(reader.samples::<i16>().collect::<Result<Vec<_>, _>>()?)
}

/// Where in `heard` the `prompt` is played from, in samples: where its loudest 50 ms fit best, and then the whole of it does
/// (normalised correlation above 0.9; G.711 costs little).
pub fn find(heard: &[i16], prompt: &[i16]) -> Option<usize> {
    const NEEDLE: usize = 400;
    let loudest = (0..prompt.len().checked_sub(NEEDLE)?).step_by(NEEDLE / 2);
    let from = loudest.max_by(|a, b| power(&prompt[*a..a + NEEDLE]).total_cmp(&power(&prompt[*b..b + NEEDLE])))?;
    let needle = &prompt[from..from + NEEDLE];
    let starts = 0..heard.len().checked_sub(NEEDLE)?;
    let best = starts.map(|at| (at, alike(&heard[at..at + NEEDLE], needle))).max_by(|a, b| a.1.total_cmp(&b.1))?.0;
    let start = best.checked_sub(from)?;
    let whole = heard.get(start..start + prompt.len())?;
    (alike(whole, prompt) > 0.9).then_some(start)
}

/// Normalised correlation, -1 to 1.
fn alike(a: &[i16], b: &[i16]) -> f64 {
    let (mut ab, mut aa, mut bb) = (0_i64, 0_i64, 0_i64);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (i64::from(*a), i64::from(*b));
        (ab, aa, bb) = (ab + a * b, aa + a * a, bb + b * b);
    }
    if aa == 0 || bb == 0 { 0.0 } else { ab as f64 / ((aa as f64) * (bb as f64)).sqrt() }
}

/// Mean square of a lane.
pub fn power(lane: &[i16]) -> f64 {
    lane.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / lane.len().max(1) as f64
}

#[test]
fn a_silence_that_is_no_gap_is_found() {
    let sine = |hz: f64| -> Vec<i16> {
        (0..16_000).map(|n| ((f64::from(n) * hz * TAU / 8_000.0).sin() * 8_000.0) as i16).collect()
    };
    let mut recording = Recording { left: sine(440.0), right: sine(1_000.0) };
    let tones = [440.0, 1_000.0];
    heard_but_for(&recording, tones, &[], 0).expect("both are there");
    heard_but_for(&recording, [1_000.0, 440.0], &[], 0).expect_err("the wrong way round");
    recording.right[8 * 700..8 * 900].fill(0);
    let missing = heard_but_for(&recording, tones, &[], 100).expect_err("200 ms are missing").to_string();
    assert!(missing.contains("right 700-800 ms") && missing.contains("right 800-900 ms"), "{missing}");
    let told = serde_json::json!({ "gaps": [{ "from_ms": 700, "to_ms": 900 }] });
    heard_but_for(&recording, tones, &gaps_of(&told).expect("gaps"), 20).expect("the gap explains it");
}
