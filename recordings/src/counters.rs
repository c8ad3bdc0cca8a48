use std::sync::atomic::{AtomicU64, Ordering};

/// Why a recording, or a part of it, came to nothing; the label of `zongji_recording_errors_total{reason}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorReason {
    /// The file could not be made.
    Open,
    /// There was no room for it.
    DiskFull,
    /// The file could not be written for another reason.
    Write,
    /// The writer's queue was full: that audio is silence in the file.
    QueueFull,
    /// More recordings at once, or a longer one, than the limits allow.
    Limit,
    /// The digest could not be made: most often the file is gone.
    Seal,
    /// The waveform's peaks could not be written; the recording itself is whole.
    Peaks,
    /// `begin` or `resume` for a recording that runs.
    Unknown,
    /// A broken-off file that no call asked for after a start.
    Unclaimed,
}

impl ErrorReason {
    pub const ALL: [Self; 9] = [
        Self::Open,
        Self::DiskFull,
        Self::Write,
        Self::QueueFull,
        Self::Limit,
        Self::Seal,
        Self::Peaks,
        Self::Unknown,
        Self::Unclaimed,
    ];

    /// The metric's label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::DiskFull => "disk_full",
            Self::Write => "write",
            Self::QueueFull => "queue_full",
            Self::Limit => "limit",
            Self::Seal => "seal",
            Self::Peaks => "peaks",
            Self::Unknown => "unknown",
            Self::Unclaimed => "unclaimed",
        }
    }
}

/// What the recorder has done since it started. Read at any time from any thread.
#[derive(Debug, Default)]
pub struct Counters {
    pub(crate) active: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) sealed: AtomicU64,
    errors: [AtomicU64; ErrorReason::ALL.len()],
}

impl Counters {
    pub(crate) fn error(&self, reason: ErrorReason) {
        self.errors[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Recordings whose file is open.
    pub fn active(&self) -> u64 {
        self.active.load(Ordering::Relaxed)
    }

    /// Audio bytes given to files.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Files finished with digest and peaks.
    pub fn sealed(&self) -> u64 {
        self.sealed.load(Ordering::Relaxed)
    }

    pub fn errors(&self, reason: ErrorReason) -> u64 {
        self.errors[reason as usize].load(Ordering::Relaxed)
    }
}
