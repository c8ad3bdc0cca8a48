use cti_base::Rng;
use cti_media::MediaEvent;

use super::*;
use crate::Input;

fn lossy() -> Settings {
    Settings { loss_per_mille: 20, ..Settings::default() }
}

/// Ten minutes of callers who come, wait, give up, talk; agents who answer, miss, refuse, go and come; datagrams lost.
fn storm(seed: u64, settings: Settings) -> (World, String) {
    let mut rng = Rng::from_number(seed);
    let mut file = file(6);
    file["queue"] = json!([
        {"name": "repair", "wrapup_s": 2, "record": true, "max_waiting": 8, "ring_timeout_s": 4, "requires": {"repair": 2},
         "overflow": {"after_s": 20, "to": {"queue": "general"}}},
        {"name": "general", "wrapup_s": 1, "ring_timeout_s": 3, "max_wait_s": 40, "priority": 1}]);
    file["number"] = json!([{"did": "4001001000", "trunk": "carrier-a", "route": {"queue": "repair"}},
                            {"did": "2", "trunk": "carrier-a", "route": {"queue": "general"}, "answer": "agent"}]);
    for n in 1..=6 {
        let agent = agent_mut(&mut file, n);
        agent["queues"] = if n % 2 == 0 { json!(["general"]) } else { json!(["repair", "general"]) };
        agent["skills"] = json!({"repair": 1 + n % 5});
    }
    let mut world = world_with(&file, answers(500), settings);
    world.phone(carrier()).talk = Some(S * 9);
    for _ in 0..300 {
        world.run_for(Duration::from_millis(rng.below(4_000)));
        let n = 1 + rng.below(6) as usize;
        match rng.below(10) {
            0..=4 => {
                let did = if rng.below(3) == 0 { "2" } else { "4001001000" };
                let from = caller(rng.below(100) as usize);
                world.with_phone(carrier(), |phone, now| {
                    phone.dial(now, &format!("sip:{did}@{SWITCH}"), &from, Codec::Pcmu, None)
                });
            }
            5 | 6 => {
                let sessions = world.phone(carrier()).sessions();
                if let Some(session) = sessions.get(rng.below(sessions.len().max(1) as u64) as usize) {
                    hang_up(&mut world, carrier(), *session);
                }
            }
            7 => {
                world.phone(agent_phone(n)).plan = match rng.below(4) {
                    0 => Plan::Ring,
                    1 => Plan::Refuse { code: 486, after: MS * 20 },
                    _ => Plan::Answer {
                        after: Duration::from_millis(rng.below(5_000)),
                        talk: Some(S * rng.below(15) as u32),
                    },
                };
            }
            8 => {
                let agent = (1000 + n).to_string();
                let (state, reason) = match rng.below(3) {
                    0 => (WantedState::Break, Some("rest")),
                    1 => (WantedState::Offline, None),
                    _ => (WantedState::Ready, None),
                };
                world.desk_connects(ACME, &agent);
                set_state(&mut world, &agent, state, reason);
            }
            _ => {
                file["queue"][0]["priority"] = json!(rng.below(3));
                world.declare(tenant_from(&file.to_string()));
            }
        }
    }
    for n in 1..=6 {
        world.phone(agent_phone(n)).plan = Plan::Answer { after: MS * 100, talk: Some(S) };
    }
    world.run_for(S * 200);
    let log = format!("{:?}", world.facts);
    (world, log)
}

#[test]
fn whatever_comes_the_rules_hold_and_nothing_is_left() {
    for seed in 0..30 {
        let (mut world, _) = storm(seed, lossy());
        assert!(world.records().len() >= 60, "seed {seed}: {} calls", world.records().len());
        world.settings.loss_per_mille = 0;
        assert_clean(&mut world);
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    assert_eq!(storm(7, lossy()).1, storm(7, lossy()).1);
}

#[test]
fn a_run_through_snapshots_is_the_same_run() {
    for (seed, snapshot_every) in [(1, 1), (2, 1), (3, 7), (4, 31)] {
        let (plain, log) = storm(seed, lossy());
        let (read_back, log_read_back) = storm(seed, Settings { snapshot_every, ..lossy() });
        assert_eq!(log, log_read_back, "seed {seed}");
        assert_eq!(format!("{:?}", plain.media), format!("{:?}", read_back.media), "seed {seed}");
        assert_eq!(plain.engine.state_hash(), read_back.engine.state_hash(), "seed {seed}");
    }
}

#[test]
fn an_input_that_is_said_to_do_nothing_does_nothing() {
    for seed in 10..12 {
        let (world, _) = storm(seed, Settings { prove_nothing: true, ..lossy() });
        assert!(world.forgotten > 20, "seed {seed}: {} forgotten", world.forgotten);
    }
}

#[test]
fn whatever_crashes_the_rules_hold_and_nothing_is_left() {
    for seed in 100..130 {
        let (mut world, _) = storm(seed, Settings { crash_per_mille: 8, ..lossy() });
        assert!(world.crashes > 10, "seed {seed}: {} crashes", world.crashes);
        (world.settings.loss_per_mille, world.settings.crash_per_mille) = (0, 0);
        // Whose BYE came to nobody for too long is known by silence only.
        let talking: Vec<_> = world.legs.iter().filter(|(_, leg)| !leg.hears.is_empty()).map(|(id, _)| *id).collect();
        for leg in talking {
            world.input(Input::Media(MediaEvent::Silent { leg }));
        }
        assert_clean(&mut world);
    }
}
