//! The one clock: microseconds since the epoch that never run backwards, not even over a crash.
//!
//! While the program runs only the monotonic clock counts. Once a second a mark is left on disk (`DIR/journal/clock`), from
//! which the next start knows how long the program was away by the time since boot, whatever has become of the wall clock in
//! between: a wall clock stepped by an hour fires no timer and spoils no duration. What the wall clock is ahead or behind is
//! made up slowly.

mod course;
mod mark;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{LazyLock, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cti_base::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use course::{Course, Jump};
use mark::Mark;
pub use mark::{Begun, Reckoned};

/// How often the mark is left and the wall clock looked at.
const MARK_EVERY: Duration = Duration::from_secs(1);

/// From here the monotonic clock is counted.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
static COURSE: LazyLock<RwLock<Course>> = LazyLock::new(|| RwLock::new(Course::new(ORIGIN.elapsed(), wall())));
/// Whether a server has begun the clock: from then on the time in this process never goes back.
static BEGUN: AtomicBool = AtomicBool::new(false);

/// The time now.
pub fn now() -> Timestamp {
    let course = COURSE.read().unwrap_or_else(PoisonError::into_inner);
    // Read under the lock: a reading from before a change of pace would be older than the change.
    course.at(ORIGIN.elapsed())
}

/// The instant at which [`now`] reads `at`; the present where that has passed.
pub fn instant_of(at: Timestamp) -> Instant {
    Instant::now() + at.since(now())
}

/// Goes on from where the time was when the last server on this `folder` (the journal's) was last alive. `last` is the
/// journal's last time: the clock begins after it in any case. To be called once, before anything is stamped.
pub fn begin(folder: &Path, last: Option<Timestamp>) -> Begun {
    let mark = Mark::read(&folder.join(mark::FILE));
    let begun = mark::begin(mark.as_ref(), last, boot_id().as_deref(), boot(), wall());
    let mut course = COURSE.write().unwrap_or_else(PoisonError::into_inner);
    let elapsed = ORIGIN.elapsed();
    let begin_at = match BEGUN.swap(true, Ordering::Relaxed) {
        false => begun.now,
        true => begun.now.max(course.at(elapsed)),
    };
    *course = Course::new(elapsed, begin_at);
    Begun { now: begin_at, ..begun }
}

/// Leaves marks and follows the wall clock until it is dropped.
pub struct Keeper {
    file: File,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread. `is_idle`: whether no call is there that would be measured wrong by a clock that hurries.
    pub fn start(folder: &Path, is_idle: impl Fn() -> bool + Send + 'static) -> io::Result<Self> {
        let file = mark::open(&folder.join(mark::FILE))?;
        leave(&file);
        let (stop, stopped) = channel();
        let of_thread = file.try_clone()?;
        let keep = move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(MARK_EVERY) {
                steer(is_idle());
                leave(&of_thread);
            }
        };
        let thread = std::thread::Builder::new().name("clock".into()).spawn(keep)?;
        Ok(Self { file, stop: Some(stop), thread: Some(thread) })
    }

    /// Leaves a mark at this moment.
    pub fn mark(&self) {
        leave(&self.file);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the clock's thread ended by a panic");
        }
        self.mark();
    }
}

fn steer(idle: bool) {
    let mut course = COURSE.write().unwrap_or_else(PoisonError::into_inner);
    let jump = course.steer(ORIGIN.elapsed(), wall(), idle);
    drop(course);
    if let Some(Jump { ahead }) = jump {
        tracing::warn!(
            ahead_s = ahead.as_secs(),
            "the wall clock was far ahead and no call is there: its time is taken"
        );
    }
}

/// Without a mark the next start goes by the wall clock.
fn leave(file: &File) {
    /// A disk that stays full is told of once.
    static TOLD: AtomicBool = AtomicBool::new(false);
    static BOOT_ID: LazyLock<Option<String>> = LazyLock::new(boot_id);
    let Some(boot_id) = BOOT_ID.clone() else { return };
    let mark = Mark { at: now(), boot: boot(), boot_id };
    match mark.write(file) {
        Ok(()) => TOLD.store(false, Ordering::Relaxed),
        Err(error) if !TOLD.swap(true, Ordering::Relaxed) => {
            tracing::warn!(%error, "the clock's mark can not be written: a restart would go by the wall clock");
        }
        Err(_) => {}
    }
}

fn wall() -> Timestamp {
    let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(u64::try_from(epoch.as_micros()).unwrap_or(u64::MAX))
}

/// Since the machine booted, its sleep included.
fn boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Linux draws one at each boot (random(4)).
fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| id.len() == mark::BOOT_ID_LEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_runs_backwards_and_is_near_the_systems() {
        let mut last = now();
        for _ in 0..10_000 {
            let next = now();
            assert!(next >= last);
            last = next;
        }
        assert!(wall().as_millis().abs_diff(now().as_millis()) < 1_000);
    }

    #[test]
    fn an_instant_in_the_future_is_as_far_away_as_its_timestamp() {
        let at = now() + Duration::from_secs(5);
        let wait = instant_of(at).saturating_duration_since(Instant::now());
        assert!(wait > Duration::from_millis(4_900) && wait <= Duration::from_secs(5), "{wait:?}");
    }

    #[test]
    fn a_keeper_leaves_a_mark_that_the_next_start_reads() {
        let dir = tempfile::tempdir().expect("a directory");
        let before = now();
        drop(Keeper::start(dir.path(), || true).expect("started"));
        let mark = Mark::read(&dir.path().join(mark::FILE)).expect("a mark");
        assert!(mark.at >= before && mark.at <= now());
        assert!(boot() - mark.boot < Duration::from_secs(10));
        assert_eq!(Some(mark.boot_id), boot_id());
    }
}
