use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use cti_base::{CallId, RecordingId, Rng, TenantId, Timestamp};
use cti_media::{MediaEvent, Recorded};
use sha2::{Digest, Sha256};

use crate::*;

const STARTED: Timestamp = Timestamp::from_millis(1_795_305_600_000);

struct Bench {
    root: tempfile::TempDir,
    recorder: Recorder,
    thread: RecorderThread,
    events: Receiver<MediaEvent>,
    rng: Rng,
}

impl Bench {
    fn new() -> Self {
        Self::with(writer::create)
    }

    fn with(open: fn(&Path) -> io::Result<File>) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let (sender, events) = channel();
        let store = StoreConfig { root: root.path().join("store") };
        let (recorder, thread) = Recorder::start_with(store, move |event| sender.send(event).expect("heard"), open)
            .expect("the recorder starts");
        Self { root, recorder, thread, events, rng: Rng::from_number(7) }
    }

    fn begin(&mut self, tenant: &str) -> (RecordingId, PathBuf) {
        let (recording, call) = (RecordingId::new(STARTED, &mut self.rng), CallId::new(STARTED, &mut self.rng));
        let tenant: TenantId = tenant.into();
        let path = path_of(&tenant, call, recording, STARTED).expect("a path");
        self.recorder.begin(recording, tenant, call, STARTED).expect("begun");
        (recording, self.root.path().join("store").join(path))
    }

    fn sealed(&self) -> (RecordingId, Recorded) {
        match self.events.recv_timeout(Duration::from_secs(10)).expect("an event") {
            MediaEvent::RecordingSealed { recording, file } => (recording, file),
            other => panic!("not sealed: {other:?}"),
        }
    }
}

/// 20 ms of a constant on each side.
fn piece(left: i16, right: i16) -> Vec<i16> {
    [left, right].repeat(160)
}

fn samples(wav: &Path) -> Vec<i16> {
    let reader = hound::WavReader::open(wav).expect("a WAV file");
    let spec = reader.spec();
    assert_eq!((spec.channels, spec.sample_rate, spec.bits_per_sample), (2, 8_000, 16));
    reader.into_samples().map(|sample| sample.expect("a sample")).collect()
}

#[test]
fn a_recording_has_both_sides_its_digest_and_its_peaks() {
    let mut bench = Bench::new();
    let (recording, wav) = bench.begin("acme");
    for n in 0..100 {
        bench.recorder.write(recording, piece(n, -n)).expect("written");
    }
    bench.recorder.stop(recording).expect("stopped");

    let (sealed, file) = bench.sealed();

    assert_eq!(sealed, recording);
    assert_eq!(bench.root.path().join("store").join(&file.path), wav);
    assert_eq!((file.duration_ms, file.channels), (2_000, 2));
    let bytes = std::fs::read(&wav).expect("readable");
    assert_eq!(file.bytes, bytes.len() as u64);
    assert_eq!(file.sha256, hex::encode(Sha256::digest(&bytes)));
    assert_eq!(verify(&wav, &file.sha256).expect("readable"), Verified::Intact);
    let expect: Vec<i16> = (0..100).flat_map(|n| piece(n, -n)).collect();
    assert_eq!(samples(&wav), expect);
    let peaks = peaks::read(&wav).expect("readable").expect("there");
    assert_eq!((peaks.bucket_ms, peaks.duration_ms, peaks.customer.len()), (50, 2_000, 80));
    assert_eq!((peaks.customer[79], peaks.agent[78]), (99, -99));
    let counters = bench.recorder.counters();
    assert_eq!((counters.active(), counters.bytes(), counters.sealed()), (0, 64_000, 1));
    drop(bench.recorder);
    bench.thread.join();
}

#[test]
fn a_running_recording_is_playable_up_to_its_last_second() {
    let mut bench = Bench::new();
    let (recording, wav) = bench.begin("acme");
    bench.recorder.write(recording, piece(5, 6).repeat(50)).expect("written");

    let deadline = Instant::now() + Duration::from_secs(8);
    let mut found = 0;
    while found < 16_000 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
        found = if wav.exists() { samples(&wav).len() } else { 0 };
    }

    assert_eq!(found, 16_000, "one second of audio is in the file while the call goes on");
    assert_eq!(bench.recorder.counters().active(), 1);
}

#[test]
fn closing_seals_what_still_runs() {
    let mut bench = Bench::new();
    let mut begun: Vec<_> = (0..20).map(|_| bench.begin("acme").0).collect();
    for &recording in &begun {
        bench.recorder.write(recording, piece(1, 1)).expect("written");
    }
    bench.recorder.close().expect("told");
    bench.thread.join();

    let mut sealed: Vec<_> = bench
        .events
        .try_iter()
        .map(|event| match event {
            MediaEvent::RecordingSealed { recording, file } => {
                assert_eq!(file.duration_ms, 20);
                recording
            }
            other => panic!("{other:?}"),
        })
        .collect();
    sealed.sort();
    begun.sort();
    assert_eq!(sealed, begun);
    assert_eq!(bench.recorder.write(begun[0], piece(1, 1)), Err(RecorderError::Stopped));
}

#[test]
fn a_full_disk_stops_only_its_own_recording() {
    fn full_for_one_tenant(path: &Path) -> io::Result<File> {
        if path.components().any(|part| part.as_os_str() == "full") {
            return OpenOptions::new().write(true).open("/dev/full");
        }
        writer::create(path)
    }
    let mut bench = Bench::with(full_for_one_tenant);
    let (full, _) = bench.begin("full");
    let (good, wav) = bench.begin("acme");
    for _ in 0..100 {
        bench.recorder.write(full, piece(1, 1)).expect("taken");
        bench.recorder.write(good, piece(2, 3)).expect("taken");
    }
    bench.recorder.stop(full).expect("taken");
    bench.recorder.stop(good).expect("taken");
    bench.recorder.close().expect("told");
    bench.thread.join();

    let events: Vec<_> = bench.events.try_iter().collect();
    assert_eq!(events.len(), 2, "one outcome for each: {events:?}");
    assert!(
        events.iter().any(
            |e| matches!(e, MediaEvent::RecordingFailed { recording, reason } if *recording == full && reason.contains("space"))
        ),
        "{events:?}"
    );
    assert!(
        events.iter().any(|e| matches!(e, MediaEvent::RecordingSealed { recording, .. } if *recording == good)),
        "{events:?}"
    );
    assert_eq!(samples(&wav).len(), 32_000);
    let counters = bench.recorder.counters();
    assert_eq!(counters.active(), 0);
    assert_eq!(counters.errors(ErrorReason::Write) + counters.errors(ErrorReason::Open), 1);
}

#[test]
fn a_file_that_can_not_be_made_is_reported() {
    let mut bench = Bench::new();
    std::fs::write(bench.root.path().join("store/acme"), b"a file where a folder should be").expect("written");
    let (recording, _) = bench.begin("acme");

    let event = bench.events.recv_timeout(Duration::from_secs(10)).expect("an event");

    assert!(matches!(event, MediaEvent::RecordingFailed { recording: failed, .. } if failed == recording), "{event:?}");
    assert_eq!(bench.recorder.counters().errors(ErrorReason::Open), 1);
}

#[test]
fn audio_that_a_full_queue_refuses_becomes_silence_of_its_length() {
    /// The writer stands still while this file is being opened.
    fn slow(path: &Path) -> io::Result<File> {
        std::thread::sleep(Duration::from_millis(1_500));
        writer::create(path)
    }
    let mut bench = Bench::with(slow);
    let (recording, wav) = bench.begin("acme");
    let mut refused = 0;
    for _ in 0..AUDIO_QUEUE_MAX + 100 {
        refused += usize::from(bench.recorder.write(recording, vec![9, 9]) == Err(RecorderError::Full));
    }
    assert!((99..=101).contains(&refused), "{refused} refused");
    bench.recorder.stop(recording).expect("the end is never refused first");

    let (_, file) = bench.sealed();

    let samples = samples(&wav);
    assert_eq!(samples.len(), 2 * (AUDIO_QUEUE_MAX + 100));
    assert_eq!(samples.iter().filter(|&&sample| sample == 0).count(), 2 * refused);
    assert_eq!(file.duration_ms, (AUDIO_QUEUE_MAX as u64 + 100) / 8);
    assert_eq!(bench.recorder.counters().errors(ErrorReason::QueueFull), refused as u64);
}

#[test]
fn a_root_that_can_not_be_written_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("file");
    std::fs::write(&root, b"").expect("written");
    let error = Recorder::start(StoreConfig { root: root.join("below") }, |_| {}).err().expect("refused");
    assert!(error.to_string().contains("file/below"), "{error}");
}

#[test]
fn a_changed_or_missing_file_fails_its_seal() {
    let mut bench = Bench::new();
    let (recording, wav) = bench.begin("acme");
    bench.recorder.write(recording, piece(1, 2)).expect("written");
    bench.recorder.stop(recording).expect("stopped");
    let (_, file) = bench.sealed();

    OpenOptions::new().append(true).open(&wav).and_then(|mut f| f.write_all(b"x")).expect("changed");
    assert!(
        matches!(verify(&wav, &file.sha256).expect("readable"), Verified::Changed { sha256 } if sha256 != file.sha256)
    );
    std::fs::remove_file(&wav).expect("removed");
    assert_eq!(verify(&wav, &file.sha256).expect("no error"), Verified::Missing);
}

#[test]
fn repair_cuts_to_the_last_whole_frame() {
    let mut bench = Bench::new();
    let (recording, wav) = bench.begin("acme");
    bench.recorder.write(recording, piece(1, 2)).expect("written");
    bench.recorder.stop(recording).expect("stopped");
    bench.sealed();
    // As a crash leaves it: more audio than the header says, and half a frame.
    OpenOptions::new().append(true).open(&wav).and_then(|mut f| f.write_all(&[7, 0, 8, 0, 9, 0])).expect("changed");

    let repaired = repair(&wav).expect("ours");

    assert_eq!(repaired, Repaired { frames: 161, bytes_cut: 2, header_changed: true });
    assert_eq!(samples(&wav)[318..], [1, 2, 7, 8]);
    assert_eq!(repair(&wav).expect("ours"), Repaired { frames: 161, bytes_cut: 0, header_changed: false });
}

#[test]
fn repair_refuses_what_is_no_recording() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.wav");
    for bad in [&b""[..], b"RIFF", &[0u8; 100]] {
        std::fs::write(&file, bad).expect("written");
        assert!(matches!(repair(&file), Err(SealError::Format { .. })));
        assert_eq!(std::fs::read(&file).expect("still there"), bad, "left as it was");
    }
}
