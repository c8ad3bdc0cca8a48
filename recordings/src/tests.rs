use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
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
        let (recorder, thread, events) = start(&root.path().join("store"), open);
        Self { root, recorder, thread, events, rng: Rng::from_number(7) }
    }

    /// Another process over what the one before left behind when it was killed: its writer is as good as dead.
    fn after_a_crash(self) -> Self {
        let Self { root, recorder, thread, events: _, rng } = self;
        recorder.leave().expect("told");
        thread.join();
        let (recorder, thread, events) = start(&root.path().join("store"), writer::create);
        Self { root, recorder, thread, events, rng }
    }

    fn named(&mut self, tenant: &str) -> Named {
        let (recording, call) = (RecordingId::new(STARTED, &mut self.rng), CallId::new(STARTED, &mut self.rng));
        let tenant: TenantId = tenant.into();
        let path = path_of(&tenant, call, recording, STARTED).expect("a path");
        Named { recording, call, tenant, wav: self.root.path().join("store").join(path) }
    }

    fn begin_named(&mut self) -> Named {
        let named = self.named("acme");
        let Named { recording, call, tenant, .. } = &named;
        self.recorder.begin(*recording, tenant.clone(), *call, STARTED).expect("begun");
        named
    }

    fn begin(&mut self, tenant: &str) -> (RecordingId, PathBuf) {
        let Named { recording, call, tenant, wav } = self.named(tenant);
        self.recorder.begin(recording, tenant, call, STARTED).expect("begun");
        (recording, wav)
    }

    fn resume(&self, named: &Named, frame: u64) {
        let Named { recording, call, tenant, .. } = named;
        self.recorder.resume(*recording, tenant.clone(), *call, STARTED, frame).expect("resumed");
    }

    fn seal(&self, named: &Named) {
        let Named { recording, call, tenant, .. } = named;
        self.recorder.seal(*recording, tenant.clone(), *call, STARTED).expect("told");
    }

    fn event(&self) -> MediaEvent {
        self.events.recv_timeout(Duration::from_secs(10)).expect("an event")
    }

    fn gap(&self) -> (u64, u64) {
        match self.event() {
            MediaEvent::RecordingResumed { gap, .. } => (gap.from_ms, gap.to_ms),
            other => panic!("not resumed: {other:?}"),
        }
    }

    fn sealed(&self) -> (RecordingId, Recorded) {
        match self.event() {
            MediaEvent::RecordingSealed { recording, file } => (recording, file),
            other => panic!("not sealed: {other:?}"),
        }
    }
}

/// A recording that may be asked for again.
struct Named {
    recording: RecordingId,
    call: CallId,
    tenant: TenantId,
    wav: PathBuf,
}

fn start(root: &Path, open: fn(&Path) -> io::Result<File>) -> (Recorder, RecorderThread, Receiver<MediaEvent>) {
    let (sender, events) = channel();
    let store = StoreConfig { root: root.to_owned() };
    let (recorder, thread) =
        Recorder::start_with(store, move |event| drop(sender.send(event)), open).expect("the recorder starts");
    (recorder, thread, events)
}

fn cut_to(wav: &Path, length: u64) {
    OpenOptions::new().write(true).open(wav).and_then(|file| file.set_len(length)).expect("cut");
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
fn what_was_written_is_on_the_disk_long_before_the_header_says_so() {
    let mut bench = Bench::new();
    let (recording, wav) = bench.begin("acme");
    bench.recorder.write(recording, piece(5, 6)).expect("written");
    let begun = Instant::now();
    while wav.metadata().map_or(0, |data| data.len()) < 44 + 640 {
        assert!(begun.elapsed() < Duration::from_millis(900), "the piece is not on the disk");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_recording_goes_on_in_the_same_file_after_a_crash() {
    let mut bench = Bench::new();
    let named = bench.begin_named();
    bench.recorder.write(named.recording, piece(1, 2)).expect("written");
    let mut bench = bench.after_a_crash();
    // Killed within a write: half a frame, and a header that says less.
    OpenOptions::new().append(true).open(&named.wav).and_then(|mut f| f.write_all(&[7, 0, 8])).expect("changed");

    // The next piece begins at 60 ms.
    bench.resume(&named, 480);
    bench.recorder.write(named.recording, piece(3, 4)).expect("written");
    assert_eq!(bench.gap(), (20, 60));
    bench = bench.after_a_crash();
    bench.resume(&named, 960);
    bench.recorder.write(named.recording, piece(5, 6)).expect("written");
    assert_eq!(bench.gap(), (80, 120));
    bench.recorder.stop(named.recording).expect("stopped");
    let (recording, file) = bench.sealed();

    assert_eq!((recording, file.duration_ms, file.incomplete), (named.recording, 140, None));
    let expect = [piece(1, 2), piece(0, 0), piece(0, 0), piece(3, 4), piece(0, 0), piece(0, 0), piece(5, 6)].concat();
    assert_eq!(samples(&named.wav), expect);
    let bytes = std::fs::read(&named.wav).expect("readable");
    assert_eq!(file.sha256, hex::encode(Sha256::digest(&bytes)), "the seal is over the whole file");
}

#[test]
fn a_recording_whose_file_has_no_audio_yet_begins_anew() {
    for left in [None, Some(0), Some(17), Some(44)] {
        let mut bench = Bench::new();
        let named = match left {
            None => bench.named("acme"),
            Some(length) => {
                let named = bench.begin_named();
                bench = bench.after_a_crash();
                cut_to(&named.wav, length);
                named
            }
        };
        bench.resume(&named, 160);
        bench.recorder.write(named.recording, piece(3, 4)).expect("written");
        bench.recorder.stop(named.recording).expect("stopped");
        assert_eq!(bench.gap(), (0, 20), "{left:?}");
        assert_eq!(bench.sealed().1.duration_ms, 40);
        assert_eq!(samples(&named.wav), [piece(0, 0), piece(3, 4)].concat());
    }
}

#[test]
fn a_clock_that_was_set_fills_no_disk_and_cuts_nothing() {
    let mut bench = Bench::new();
    let named = bench.begin_named();
    bench.recorder.write(named.recording, piece(1, 2)).expect("written");
    let mut bench = bench.after_a_crash();
    bench.resume(&named, 100);
    assert_eq!(bench.gap(), (20, 20), "back by some ms");
    bench = bench.after_a_crash();
    bench.resume(&named, 8_000 * 3_600 * 24 * 365);
    assert_eq!(bench.gap(), (20, 20 + RESUME_GAP_MAX.as_millis() as u64), "on by a year");
    assert_eq!(samples(&named.wav)[..320], piece(1, 2));
}

#[test]
fn what_had_ended_before_the_crash_is_sealed_after_it_however_often() {
    let mut bench = Bench::new();
    let (ended, sealed, gone) = (bench.begin_named(), bench.begin_named(), bench.named("acme"));
    for named in [&ended, &sealed] {
        bench.recorder.write(named.recording, piece(1, 2)).expect("written");
    }
    bench.recorder.stop(sealed.recording).expect("stopped");
    let (_, before) = bench.sealed();
    let bench = bench.after_a_crash();
    cut_to(&ended.wav, 44 + 638);

    for named in [&ended, &sealed, &sealed, &gone] {
        bench.seal(named);
    }

    assert_eq!(bench.sealed().1.bytes, 44 + 636);
    for _ in 0..2 {
        assert_eq!(bench.sealed(), (sealed.recording, before.clone()));
    }
    let event = bench.event();
    assert!(
        matches!(&event, MediaEvent::RecordingFailed { recording, reason } if *recording == gone.recording && reason.contains("No such file")),
        "{event:?}"
    );
}

#[test]
fn a_file_that_nobody_asks_for_is_made_playable_and_counted() {
    let mut bench = Bench::new();
    let (lost, resumed, sealed) = (bench.begin_named(), bench.begin_named(), bench.begin_named());
    for named in [&lost, &resumed, &sealed] {
        bench.recorder.write(named.recording, piece(1, 2)).expect("written");
    }
    bench.recorder.stop(sealed.recording).expect("stopped");
    bench.sealed();
    let bench = bench.after_a_crash();
    cut_to(&lost.wav, 44 + 639);
    let stranger = lost.wav.with_file_name("notes.wav");
    std::fs::write(&stranger, b"no recording").expect("written");
    let shared = bench.recorder.shared();
    shared.claims.begin();
    bench.resume(&resumed, 160);
    bench.gap();

    // The search counts days from the start that it is told.
    let since = std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(STARTED.as_millis());
    let old = since - Duration::from_secs(60);
    for named in [&lost, &resumed, &sealed] {
        File::options().write(true).open(&named.wav).and_then(|file| file.set_modified(old)).expect("aged");
    }
    unclaimed::search(&bench.root.path().join("store"), shared, since);

    assert_eq!(bench.recorder.counters().errors(ErrorReason::Unclaimed), 1);
    assert_eq!(samples(&lost.wav).len(), 318);
    assert!(peaks::path_beside(&lost.wav).exists() && !peaks::path_beside(&resumed.wav).exists());
    unclaimed::search(&bench.root.path().join("store"), shared, since);
    assert_eq!(bench.recorder.counters().errors(ErrorReason::Unclaimed), 1, "once is enough");
    assert_eq!(std::fs::read(&stranger).expect("still there"), b"no recording");
}

#[test]
fn a_disk_that_takes_nothing_stops_only_its_own_recording() {
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
            |e| matches!(e, MediaEvent::RecordingFailed { recording, reason } if *recording == full && reason.contains("make room"))
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
    assert_eq!(counters.errors(ErrorReason::DiskFull), 1);
}

/// A file system over a folder, as small as it is asked for; `None` where this user may not mount one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn over(folder: &Path, size: &str) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]).arg(folder).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then(|| Self(folder.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_fills_up_keeps_what_fitted_and_takes_new_recordings_when_there_is_room() {
    let mut bench = Bench::new();
    let Some(_disk) = SmallDisk::over(&bench.root.path().join("store"), "1m") else {
        eprintln!("left out: mounting a small disk needs root");
        return;
    };
    let done = bench.begin_named();
    bench.recorder.write(done.recording, piece(1, 2)).expect("taken");
    bench.recorder.stop(done.recording).expect("taken");
    let (_, done_file) = bench.sealed();

    let filling = bench.begin_named();
    // 2 MB where there is 1.
    for _ in 0..3_200 {
        bench.recorder.write(filling.recording, piece(3, 4)).expect("taken");
    }
    bench.recorder.stop(filling.recording).expect("taken");
    let (stopped, cut) = bench.sealed();
    let late = bench.begin_named();
    bench.recorder.write(late.recording, piece(5, 6)).expect("taken");
    let refused = bench.event();

    assert_eq!(stopped, filling.recording);
    assert!(cut.incomplete.as_deref().is_some_and(|why| why.contains("make room")), "{cut:?}");
    assert!((500_000..1_048_576).contains(&cut.bytes), "{cut:?}");
    assert_eq!(verify(&filling.wav, &cut.sha256).expect("readable"), Verified::Intact);
    assert_eq!(samples(&filling.wav).len() as u64 * 2 + 44, cut.bytes);
    assert!(
        matches!(&refused, MediaEvent::RecordingFailed { recording, .. } if *recording == late.recording),
        "{refused:?}"
    );
    assert!(!late.wav.exists(), "an empty file is not left behind");
    assert_eq!(verify(&done.wav, &done_file.sha256).expect("readable"), Verified::Intact);
    // The waveform that had no room is made when it is asked for.
    assert!(peaks::read(&filling.wav).expect("readable").is_none());
    let made = peaks::read_or_make_json(&filling.wav).expect("made").expect("there");
    assert!(made.starts_with(b"{\"bucket_ms\":50,"), "{}", String::from_utf8_lossy(&made[..40]));
    let counters = bench.recorder.counters();
    assert_eq!(counters.errors(ErrorReason::DiskFull), 2);

    std::fs::remove_file(&filling.wav).expect("room");
    let next = bench.begin_named();
    bench.recorder.write(next.recording, piece(5, 6)).expect("taken");
    bench.recorder.stop(next.recording).expect("taken");
    assert_eq!(bench.sealed().1.incomplete, None);
    bench.recorder.close().expect("told");
    bench.thread.join();
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
