//! Callbacks at random: whatever comes, nobody jumps the line, nobody is kept for too long, everything ends once.

use std::collections::BTreeMap;

use cti_base::{AgentName, CallbackId, Pii, Rng, Timestamp};
use cti_media::MediaEvent;

use super::*;
use crate::desk::Direction;
use crate::{CallbackAsk, CallbackNew, CallbackSource, Input};

const TRUNK: &str = "192.0.2.10:5060";
/// The queue's `dial_timeout_s` and `ring_timeout_s`.
const DIAL: Duration = Duration::from_secs(6);
const RING: Duration = Duration::from_secs(4);

fn storm_file(rng: &mut Rng, agents: usize) -> Value {
    let mut file = file(agents);
    let first = if rng.below(2) == 0 { "customer" } else { "agent" };
    let strategy = if rng.below(3) == 0 { "ring_all" } else { "longest_idle" };
    file["tenant"]["outbound"] =
        json!({"prefixes": ["+86"], "max_cps": 1 + rng.below(4), "max_calls": 1 + rng.below(4)});
    file["queue"] = json!([{"name": "repair", "wrapup_s": 1, "record": true, "ring_timeout_s": 4, "max_wait_s": 90,
        "strategy": strategy, "keys": {"1": {"callback": true}},
        "callback": {"first": first, "dial_timeout_s": 6, "attempts": 1 + rng.below(3), "retry_after_s": 1 + rng.below(20)}}]);
    file
}

fn random_phone(rng: &mut Rng) -> Plan {
    let ms = |most: u64, rng: &mut Rng| Duration::from_millis(rng.below(most));
    match rng.below(6) {
        0 => Plan::Ring,
        1 => Plan::Refuse { code: 486, after: ms(3_000, rng) },
        2 => Plan::Refuse { code: if rng.below(2) == 0 { 503 } else { 480 }, after: ms(100, rng) },
        _ => Plan::Answer { after: ms(4_000, rng), talk: Some(ms(9_000, rng)) },
    }
}

/// Some minutes of callers who wait, press keys and give up, of customers who answer or do not, and of agents who come and go.
fn storm(seed: u64, settings: Settings) -> (World, String) {
    let mut rng = Rng::from_number(seed);
    let mut file = storm_file(&mut rng, 3);
    let talks = |after: u64| Plan::Answer { after: Duration::from_millis(after), talk: Some(S * 5) };
    let mut world = world_with(&file, talks(500), settings);
    world.add_phone(TRUNK, talks(300));
    world.phone(carrier()).talk = Some(S * 40);
    let trunk = TRUNK.parse().expect("an address");
    let mut asked: Vec<CallbackId> = Vec::new();
    for _ in 0..250 {
        world.run_for(Duration::from_millis(rng.below(2_000)));
        let n = 1 + rng.below(3) as usize;
        match rng.below(12) {
            0..=2 => {
                ring_in(&mut world, &caller(rng.below(40) as usize));
            }
            3 | 4 => {
                let legs: Vec<_> = world.legs.keys().copied().collect();
                if let Some(leg) = legs.get(rng.below(legs.len().max(1) as u64) as usize).copied() {
                    world.input(Input::Media(MediaEvent::Digit { leg, digit: '1' }));
                }
            }
            5 => {
                let sessions = world.phone(carrier()).sessions();
                if let Some(session) = sessions.get(rng.below(sessions.len().max(1) as u64) as usize) {
                    hang_up(&mut world, carrier(), *session);
                }
            }
            6 => world.phone(trunk).plan = random_phone(&mut rng),
            7 => world.phone(agent_phone(n)).plan = random_phone(&mut rng),
            8 => {
                let agent = (1000 + n).to_string();
                let (state, reason) = match rng.below(4) {
                    0 => (WantedState::Break, Some("rest")),
                    1 => (WantedState::Offline, None),
                    _ => (WantedState::Ready, None),
                };
                world.desk_connects(ACME, &agent);
                set_state(&mut world, &agent, state, reason);
            }
            9 | 10 => {
                let new = CallbackNew {
                    number: Pii::new(caller(rng.below(40) as usize)),
                    queue: Some("repair".into()),
                    agent: (rng.below(3) == 0).then(|| (1000 + n).to_string().as_str().into()),
                    due_ms: Some((world.now + Duration::from_millis(rng.below(60_000))).as_millis()),
                    customer_id: None,
                    contact_id: None,
                    source: CallbackSource::Scheduled,
                };
                asked
                    .extend(world.ask_callback(ACME, CallbackAsk::Schedule(Box::new(new))).map(|callback| callback.id));
            }
            _ => match rng.below(3) {
                0 => {
                    file["queue"][0]["priority"] = json!(rng.below(3));
                    world.declare(tenant_from(&file.to_string()));
                }
                1 => {
                    let callback = asked.pop();
                    callback.map(|id| world.ask_callback(ACME, CallbackAsk::Cancel(id)));
                }
                _ => {
                    let without = storm_file(&mut Rng::from_number(seed), 2);
                    world.declare(tenant_from(&without.to_string()));
                    world.run_for(Duration::from_millis(rng.below(500)));
                    world.declare(tenant_from(&file.to_string()));
                }
            },
        }
    }
    world.phone(trunk).plan = Plan::Answer { after: MS * 200, talk: Some(S) };
    for n in 1..=3 {
        world.phone(agent_phone(n)).plan = Plan::Answer { after: MS * 100, talk: Some(S) };
        let agent = (1000 + n).to_string();
        world.desk_connects(ACME, &agent);
        set_state(&mut world, &agent, WantedState::Ready, None);
    }
    world.run_for(S * 400);
    let log = format!("{:?}", world.facts);
    (world, log)
}

/// Every callback ends once, and its last word is the end; it was asked for before.
fn check_callbacks(world: &World, seed: u64) -> usize {
    let mut over = BTreeMap::new();
    for (_, fact) in &world.facts {
        let (callback, ends) = match fact {
            Fact::CallbackRequested { callback } | Fact::CallbackAttempt { callback } => (callback, false),
            Fact::CallbackEnded { callback } => (callback, true),
            _ => continue,
        };
        let is_over = over.entry(callback.id).or_insert(false);
        assert!(!*is_over, "seed {seed}: {callback:?} goes on after its end");
        assert_eq!(ends, callback.state.is_over(), "seed {seed}: {callback:?}");
        *is_over = ends;
    }
    assert!(over.values().all(|is_over| *is_over), "seed {seed}: one has no end");
    over.len()
}

/// An agent is offered one call for no longer than the customer's phone and their own may ring.
fn check_reservations(world: &World, seed: u64) {
    let mut since: BTreeMap<&AgentName, Timestamp> = BTreeMap::new();
    for (at, fact) in &world.facts {
        let Fact::AgentState { agent, state, .. } = fact else { continue };
        if *state == AgentState::Offered {
            since.insert(agent, *at);
        } else if let Some(since) = since.remove(agent) {
            let kept = at.since(since);
            assert!(kept <= DIAL + RING + MS * 500, "seed {seed}: {agent} was kept for {kept:?}");
        }
    }
}

#[test]
fn whatever_comes_callbacks_end_once_and_nobody_is_kept_too_long() {
    let mut outbound = 0;
    for seed in 0..30 {
        let (mut world, _) = storm(seed, Settings { loss_per_mille: 20, ..Settings::default() });
        world.settings.loss_per_mille = 0;
        assert_clean(&mut world);
        assert!(check_callbacks(&world, seed) > 10, "seed {seed}");
        check_reservations(&world, seed);
        outbound += world.records().iter().filter(|record| record.direction == Direction::Outbound).count();
    }
    assert!(outbound > 300, "{outbound} callbacks were called");
}

#[test]
fn callbacks_through_snapshots_and_crashes_are_whole() {
    for seed in 40..42 {
        let plain = storm(seed, Settings::default()).1;
        let read_back = storm(seed, Settings { snapshot_every: 11, prove_nothing: true, ..Settings::default() }).1;
        assert_eq!(plain, read_back, "seed {seed}");
    }
    for seed in 50..62 {
        let (mut world, _) = storm(seed, Settings { crash_per_mille: 8, loss_per_mille: 20, ..Settings::default() });
        (world.settings.loss_per_mille, world.settings.crash_per_mille) = (0, 0);
        let talking: Vec<_> = world.legs.iter().filter(|(_, leg)| !leg.hears.is_empty()).map(|(id, _)| *id).collect();
        for leg in talking {
            world.input(Input::Media(MediaEvent::Silent { leg }));
        }
        for n in 1..=3 {
            world.desk_connects(ACME, &(1000 + n).to_string());
            set_state(&mut world, &(1000 + n).to_string(), WantedState::Ready, None);
        }
        world.run_for(S * 400);
        assert_clean(&mut world);
        check_callbacks(&world, seed);
    }
}

/// One agent, customers who answer: served in the order in which they came, whoever hung up and waits to be called back.
#[test]
fn no_callback_jumps_the_line_and_none_falls_behind() {
    for seed in 0..40 {
        let mut rng = Rng::from_number(seed);
        let mut file = storm_file(&mut rng, 1);
        file["tenant"]["outbound"] = json!({"prefixes": ["+86"], "max_cps": 50, "max_calls": 50});
        file["queue"][0]["max_wait_s"] = json!(3_600);
        agent_mut(&mut file, 1)["always_ready"] = json!(false);
        let mut world = world_with(&file, Plan::Answer { after: MS * 80, talk: Some(S) }, Settings::default());
        world.add_phone(TRUNK, Plan::Answer { after: MS * 150, talk: None });
        let ready_after = rng.below(12) as usize;
        for n in 0..12 {
            ring_in(&mut world, &caller(n));
            world.run_for(MS * 20 + Duration::from_millis(rng.below(800)));
            if rng.below(2) == 0 {
                let is_it = |call: &&crate::call::Call| call.from.expose().ends_with(&caller(n));
                let leg = world.engine.calls.values().find(is_it).expect("the caller's call").customer.id;
                world.input(Input::Media(MediaEvent::Digit { leg, digit: '1' }));
            }
            if n == ready_after {
                go_ready(&mut world, "1001");
            }
            world.run_for(Duration::from_millis(rng.below(500)));
        }
        world.run_for(S * 120);
        assert_eq!(offered_callers(&world), (0..12).map(caller).collect::<Vec<_>>(), "seed {seed}");
        assert_clean(&mut world);
    }
}
