use cti_base::{RecordingId, Timestamp};
use cti_media::lanes::Lanes;
use recordings::{Recorder, RecorderError};

/// One recording under way on a worker.
pub(super) struct Recording {
    pub id: RecordingId,
    pub lanes: Lanes,
    /// The slots of each side's legs, the customer's first.
    pub legs: [Vec<usize>; 2],
}

impl Recording {
    /// Audio is taken from `started` on.
    pub fn new(id: RecordingId, started: Timestamp) -> Self {
        Self { id, lanes: Lanes::new(started), legs: Default::default() }
    }

    /// Gives what is old enough to the recorder. Audio that a full queue refuses is counted there and becomes silence.
    pub fn flush(&mut self, now: Timestamp, recorder: &Recorder) {
        while let Some(piece) = self.lanes.take(now) {
            let _ = recorder.write(self.id, piece);
        }
    }

    /// Gives the rest up to `now`; the file does not end.
    pub fn leave(mut self, now: Timestamp, recorder: &Recorder) {
        self.give_rest(now, recorder);
    }

    /// Gives the rest up to `now` and ends the file; `Err` where that is to be tried again.
    pub fn finish(mut self, now: Timestamp, recorder: &Recorder) -> Result<(), RecordingId> {
        self.give_rest(now, recorder);
        if self.lanes.dropped() > 0 {
            tracing::debug!(recording.id = %self.id, packets = self.lanes.dropped(), "packets came too late for the recording");
        }
        stop(self.id, recorder)
    }

    fn give_rest(&mut self, now: Timestamp, recorder: &Recorder) {
        while let Some(piece) = self.lanes.finish(now) {
            let _ = recorder.write(self.id, piece);
        }
    }
}

pub(super) fn stop(id: RecordingId, recorder: &Recorder) -> Result<(), RecordingId> {
    match recorder.stop(id) {
        Err(RecorderError::Full) => Err(id),
        // A recorder that has stopped has sealed everything.
        Ok(()) | Err(RecorderError::Stopped) => Ok(()),
    }
}
