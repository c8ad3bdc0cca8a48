use std::sync::atomic::{AtomicU64, Ordering};

/// Why a recording, or a part of it, came to nothing; the label of `zongji_recording_errors_total{reason}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorReason {
    /// The file could not be made.
    Open,
    /// The file could not be written: a full disk, most often.
    Write,
    /// The writer's queue was full: that audio is silence in the file.
    QueueFull,
    /// More recordings at once, or a longer one, than the limits allow.
    Limit,
    /// The digest or the peaks could not be made.
    Seal,
    /// `begin` for a recording that runs, `write` or `stop` for one that does not.
    Unknown,
}

impl ErrorReason {
    pub const ALL: [Self; 6] = [Self::Open, Self::Write, Self::QueueFull, Self::Limit, Self::Seal, Self::Unknown];

    /// The metric's label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Write => "write",
            Self::QueueFull => "queue_full",
            Self::Limit => "limit",
            Self::Seal => "seal",
            Self::Unknown => "unknown",
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
