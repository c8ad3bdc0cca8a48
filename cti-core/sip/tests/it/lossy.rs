//! Calls over a network that loses, doubles and reorders: each comes to its one end, and nothing stays behind.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use cti_base::Rng;
use cti_sip::{Event, SessionId};

use crate::net::{Faults, Net};

const CALLS: usize = 12;

#[derive(Clone, Copy, Default)]
struct Course {
    /// Every step each end is written down and read back.
    restoring: bool,
    /// Process deaths in a thousand steps.
    restarts: u64,
    transport: &'static str,
}

/// One run; what was sent, for comparison.
fn run(seed: u64, faults: Faults, course: Course) -> Vec<String> {
    let mut net = Net::new(2, faults, seed);
    net.restoring = course.restoring;
    let mut rng = Rng::from_number(seed + 7);
    let mut open: [BTreeMap<SessionId, ()>; 2] = Default::default();
    let mut ends: BTreeMap<(usize, SessionId), usize> = BTreeMap::new();
    for _ in 0..CALLS {
        let request = net.request(0, 1, course.transport);
        let now = net.now;
        let id = net.ends[0].1.invite(now, request);
        open[0].insert(id, ());
        step(&mut net, &mut rng, &mut open, &mut ends, 10, course);
    }
    step(&mut net, &mut rng, &mut open, &mut ends, 400, course);
    for (index, open) in open.iter().enumerate() {
        for id in open.keys() {
            let now = net.now;
            net.ends[index].1.hangup(now, *id, None);
        }
    }
    step(&mut net, &mut rng, &mut open, &mut ends, 2_000, Course { restarts: 0, ..course });
    for (index, open) in open.iter().enumerate() {
        let end = &net.ends[index].1;
        let left = (end.sessions(), end.transactions(), end.poll_deadline());
        assert_eq!(left, (0, 0, None), "seed {seed}, end {index}");
        assert!(open.is_empty(), "seed {seed}, end {index}: {open:?} have no end");
    }
    for (session, count) in &ends {
        assert_eq!(*count, 1, "seed {seed}: {session:?} ended {count} times");
    }
    assert!(ends.keys().filter(|(index, _)| *index == 0).count() == CALLS, "seed {seed}");
    net.log.into_iter().map(|(_, _, text)| text).collect()
}

/// Steps of 100 ms in which both sides do what phones do.
fn step(
    net: &mut Net,
    rng: &mut Rng,
    open: &mut [BTreeMap<SessionId, ()>; 2],
    ends: &mut BTreeMap<(usize, SessionId), usize>,
    steps: usize,
    course: Course,
) {
    let sdp = Bytes::from_static(b"v=0");
    for _ in 0..steps {
        if rng.below(1_000) < course.restarts {
            let index = rng.below(2) as usize;
            // Mostly shorter than a peer waits for an answer, at times longer.
            let down_ms_max = if rng.below(8) == 0 { 50_000 } else { 3_000 };
            let down_ms = rng.below(down_ms_max);
            net.restart(index, Duration::from_millis(down_ms));
        }
        net.run_for(Duration::from_millis(100));
        for (index, open) in open.iter_mut().enumerate() {
            let now = net.now;
            for event in std::mem::take(&mut net.events[index]) {
                let end = &mut net.ends[index].1;
                match event {
                    Event::Invite { session, .. } => {
                        open.insert(session, ());
                        end.ring(now, session, None);
                    }
                    Event::Reoffer { session, .. } => end.accept_reoffer(now, session, sdp.clone()),
                    Event::Cancelled { session } | Event::Failed { session, .. } | Event::Ended { session, .. } => {
                        open.remove(&session);
                        *ends.entry((index, session)).or_default() += 1;
                    }
                    _ => {}
                }
            }
            for id in open.keys().copied().collect::<Vec<_>>() {
                let end = &mut net.ends[index].1;
                match rng.below(200) {
                    0..10 => end.accept(now, id, sdp.clone()),
                    10 => end.hangup(now, id, None),
                    11..14 => end.reoffer(now, id, sdp.clone()),
                    14 => _ = end.notify_talk(now, id),
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn every_call_comes_to_one_end_over_a_bad_network() {
    for seed in 0..40 {
        run(seed, Faults { lost: 100, doubled: 100, delay_ms_max: 80 }, Course::default());
    }
}

#[test]
fn every_call_comes_to_one_end_over_a_terrible_network() {
    for seed in 0..20 {
        run(seed, Faults { lost: 400, doubled: 200, delay_ms_max: 1_500 }, Course::default());
    }
}

#[test]
fn the_same_seed_sends_the_same_bytes() {
    let faults = Faults { lost: 150, doubled: 100, delay_ms_max: 200 };
    assert_eq!(run(77, faults, Course::default()), run(77, faults, Course::default()));
}

#[test]
fn endpoints_that_are_written_down_and_read_back_at_every_step_send_the_same_bytes() {
    for seed in 100..112 {
        let faults = Faults { lost: 200, doubled: 100, delay_ms_max: 300 };
        let restoring = Course { restoring: true, ..Course::default() };
        assert!(run(seed, faults, restoring) == run(seed, faults, Course::default()), "seed {seed}");
    }
}

#[test]
fn every_call_comes_to_one_end_where_processes_die_and_are_taken_up() {
    for seed in 200..240 {
        let faults = Faults { lost: 50, doubled: 50, delay_ms_max: 80 };
        for transport in ["", ";transport=tcp"] {
            run(seed, faults, Course { restarts: 30, transport, ..Course::default() });
        }
    }
}
