//! Call recordings: stereo WAV files written while the call goes on, sealed when it ends, and read for playback.
//!
//! A [`Recorder`] is a cloneable handle over one writer thread. **Call `begin`, then `write` with the audio of both sides,
//! then `stop`; none of them ever blocks, and the outcome comes as one `MediaEvent`.** A file is playable at any moment of
//! the call: its header is brought up to date about once a second. After `stop` the file gets its SHA-256 and its peaks.
//!
//! Nothing that was written waits in this process: killed, it leaves a file that ends at the last piece, and the next one goes
//! on in it (`resume`) or finishes it (`seal`). A full disk ends that recording early and no other; what it has is sealed and
//! says why it is incomplete.
//!
//! A file is 16-bit PCM, 8,000 frames a second, the customer on the left and the agent on the right, at
//! `TENANT/YYYY/MM/DD/CALL-RECORDING.wav` below the store's root, with `.peaks.json` in place of `.wav` beside it.
//! This crate reads and writes files; it knows no database, no web server and no call.

mod counters;
pub mod peaks;
pub mod playback;
mod recorder;
mod seal;
mod store;
#[cfg(test)]
mod tests;
mod unclaimed;
mod wav;
mod writer;

pub use counters::{Counters, ErrorReason};
pub use recorder::{AUDIO_QUEUE_MAX, CONTROL_QUEUE_MAX, Recorder, RecorderError, RecorderThread};
pub use seal::{SealError, Verified, repair, verify};
pub use store::{StoreConfig, StoreError, path_of, resolve};
pub use wav::Repaired;
pub use writer::{RECORDING_FRAMES_MAX, RECORDINGS_MAX, RESUME_GAP_MAX};

/// Frames a second.
pub const SAMPLE_RATE_HZ: u32 = 8_000;
/// Left is the customer, right is the agent.
pub const CHANNELS: u16 = 2;
/// One sample of each side.
pub const FRAME_BYTES: u64 = 4;
