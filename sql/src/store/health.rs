//! Whether the database answers. One that does not is asked only now and then, so that an outage costs its callers no waiting
//! and the database, when it comes back, no storm.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::error::{Error, Result};

/// After a failure the next one to ask is let through this much later.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Whoever asks a database that is away may take this long before another one is let through.
const PROBE_MAX: Duration = Duration::from_secs(10);

/// The health of one store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Health(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// SQLite's readers go on while its writer waits for another process; PostgreSQL has one gate for both.
    read: Gate,
    write: Gate,
    /// Whether the schema is known to be this program's.
    ready: watch::Sender<bool>,
    opened: Since,
}

/// A moment, by the monotonic clock and as UTC milliseconds.
#[derive(Clone, Copy, Debug)]
struct Since {
    at: Instant,
    utc_ms: u64,
}

/// What is asked through it succeeds, or nothing is.
#[derive(Debug)]
pub struct Gate {
    what: &'static str,
    away: Mutex<Option<Away>>,
}

#[derive(Clone, Copy, Debug)]
struct Away {
    since: Since,
    ask_again: Instant,
}

/// Leave to ask once; dropped without a word, nothing is known.
#[must_use]
pub struct Pass<'a>(&'a Gate);

impl Since {
    /// `at` is the present.
    fn at(at: Instant) -> Self {
        Self { at, utc_ms: crate::now().as_millis() }
    }
}

impl Health {
    pub fn new(ready: bool) -> Self {
        let gate = |what| Gate { what, away: Mutex::default() };
        let ready = watch::Sender::new(ready);
        Self(Arc::new(Inner { read: gate("read"), write: gate("written"), ready, opened: Since::at(Instant::now()) }))
    }

    /// Leave to read.
    pub fn reading(&self) -> Result<Pass<'_>> {
        self.enter(&self.0.read)
    }

    /// Leave to write.
    pub fn writing(&self) -> Result<Pass<'_>> {
        self.enter(&self.0.write)
    }

    /// The schema is right: from here on the database may be asked.
    pub fn set_ready(&self) {
        for gate in [&self.0.read, &self.0.write] {
            *gate.lock() = None;
        }
        self.0.ready.send_replace(true);
    }

    pub async fn until_ready(&self) {
        // The sender is this value's own: it can not be gone.
        let _ = self.0.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// How long the database has not answered, if it does not.
    pub fn away(&self) -> Option<Duration> {
        self.away_since().map(|since| since.at.elapsed())
    }

    /// Since when (UTC milliseconds) the database does not answer, if it does not.
    pub fn away_since_ms(&self) -> Option<u64> {
        self.away_since().map(|since| since.utc_ms)
    }

    fn away_since(&self) -> Option<Since> {
        if !*self.0.ready.borrow() {
            return Some(self.0.opened);
        }
        [&self.0.read, &self.0.write].into_iter().filter_map(Gate::away_since).min_by_key(|since| since.at)
    }

    fn enter<'a>(&self, gate: &'a Gate) -> Result<Pass<'a>> {
        if !*self.0.ready.borrow() {
            return Err(Error::Away { seconds: self.0.opened.at.elapsed().as_secs() });
        }
        gate.enter(Instant::now())
    }
}

impl Gate {
    fn enter(&self, now: Instant) -> Result<Pass<'_>> {
        if let Some(away) = self.lock().as_mut() {
            if now < away.ask_again {
                return Err(Error::Away { seconds: now.duration_since(away.since.at).as_secs() });
            }
            away.ask_again = now + PROBE_MAX;
        }
        Ok(Pass(self))
    }

    fn away_since(&self) -> Option<Since> {
        self.lock().map(|away| away.since)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Away>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Notes how it went, and gives it on.
    pub fn done<T>(self, result: Result<T>) -> Result<T> {
        let is_away = result.as_ref().err().filter(|error| error.is_outage());
        self.note(Instant::now(), is_away);
        result
    }

    fn note(self, now: Instant, error: Option<&Error>) {
        let (gate, mut away) = (self.0, self.0.lock());
        match (error, away.as_mut()) {
            (None, None) => {}
            (None, Some(was)) => {
                let away_s = now.duration_since(was.since.at).as_secs();
                tracing::info!(away_s, "the records can be {} again", gate.what);
                *away = None;
            }
            (Some(_), Some(is)) => is.ask_again = now + ASK_AGAIN_AFTER,
            (Some(error), None) => {
                tracing::error!(%error, "the records can not be {}: calls go on, and the database is asked again", gate.what);
                *away = Some(Away { since: Since::at(now), ask_again: now + ASK_AGAIN_AFTER });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outage() -> Error {
        Error::Statement { statement: "S", source: sqlx::Error::PoolTimedOut }
    }

    fn gate() -> Gate {
        Gate { what: "read", away: Mutex::default() }
    }

    #[test]
    fn a_database_that_is_away_is_asked_by_one_now_and_then() {
        let (gate, start) = (gate(), Instant::now());
        let ms = |ms: u64| start + Duration::from_millis(ms);
        gate.enter(ms(0)).expect("nothing is known").note(ms(10), Some(&outage()));
        assert!(matches!(gate.enter(ms(11)), Err(Error::Away { seconds: 0 })));
        assert!(matches!(gate.enter(ms(509)), Err(Error::Away { .. })));
        let probe = gate.enter(ms(510)).expect("its time has come");
        assert!(gate.enter(ms(511)).is_err(), "one at a time");
        probe.note(ms(3_000), Some(&outage()));
        assert!(matches!(gate.enter(ms(3_499)), Err(Error::Away { seconds: 3 })));
        gate.enter(ms(3_500)).expect("again").note(ms(3_501), None);
        assert!(gate.enter(ms(3_502)).is_ok() && gate.enter(ms(3_502)).is_ok(), "all");
    }

    #[test]
    fn one_who_gives_up_asking_keeps_the_next_waiting_for_a_while_only() {
        let (gate, start) = (gate(), Instant::now());
        gate.enter(start).expect("open").note(start, Some(&outage()));
        let at = start + ASK_AGAIN_AFTER;
        drop(gate.enter(at).expect("a probe"));
        assert!(gate.enter(at + PROBE_MAX - Duration::from_millis(1)).is_err());
        assert!(gate.enter(at + PROBE_MAX).is_ok());
    }

    #[test]
    fn what_is_wrong_with_a_statement_is_no_outage() {
        let gate = gate();
        let wrong = Error::Statement { statement: "S", source: sqlx::Error::RowNotFound };
        let result: Result<()> = gate.enter(Instant::now()).expect("open").done(Err(wrong));
        assert!(result.is_err());
        assert!(gate.away_since().is_none());
    }

    #[test]
    fn before_its_schema_is_known_nothing_is_asked() {
        let health = Health::new(false);
        assert!(matches!(health.reading(), Err(Error::Away { .. })));
        assert!(health.away().is_some());
        health.set_ready();
        assert!(health.reading().is_ok() && health.writing().is_ok() && health.away().is_none());
    }
}
