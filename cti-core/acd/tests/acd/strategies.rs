//! A table for each strategy: who of the free agents rings.

use std::collections::BTreeMap;
use std::time::Duration;

use cti_acd::{Activity, By, Key, Line, QueueRules, Reason, ScoreWeights, Strategy};

use crate::bench::{Bench, agent, offer, queue};

fn by(strategy: Strategy) -> QueueRules {
    QueueRules { strategy, ..QueueRules::default() }
}

/// `agents` become ready one a second, in this order; one caller after another comes. Who rings?
fn rung(b: &mut Bench, agents: &str, callers: usize) -> String {
    for name in agents.split(' ') {
        b.to((b.now.since(crate::bench::at(0.0)) + Duration::from_secs(1)).as_secs_f64());
        b.ready(name);
    }
    let offers: Vec<String> = (0..callers)
        .map(|_| match b.enter("q").as_slice() {
            [crate::bench::Out::Offer(_, agents)] => agents.clone(),
            other => format!("{other:?}"),
        })
        .collect();
    offers.join(", ")
}

fn three(rules: QueueRules) -> Bench {
    Bench::new(vec![("q", rules)], &[("a", "q", ""), ("b", "q", ""), ("c", "q", "")])
}

#[test]
fn longest_idle() {
    assert_eq!(rung(&mut three(by(Strategy::LongestIdle)), "b c a", 3), "b, c, a");
}

#[test]
fn round_robin_takes_whoever_this_queue_offered_nothing_for_longest() {
    let rules = vec![("q", by(Strategy::RoundRobin)), ("r", by(Strategy::LongestIdle))];
    let mut b = Bench::new(rules, &[("a", "q r", ""), ("b", "q", ""), ("c", "q", "")]);
    assert_eq!(rung(&mut b, "b c a", 3), "b, c, a");
    b.answer(1, "b");
    b.answer(2, "c");
    b.answer(3, "a");
    // Ready in another order; an offer of another queue does not count.
    b.to(10.0);
    b.ready("a");
    assert_eq!(b.enter("r"), [offer(4, "a")]);
    b.answer(4, "a");
    assert_eq!(rung(&mut b, "a c b", 3), "b, c, a");
}

#[test]
fn least_calls_and_least_talk_time_count_since_midnight() {
    for (strategy, expect) in [(Strategy::LeastCalls, "c, a, b"), (Strategy::LeastTalkTime, "c, b, a")] {
        let mut b = three(by(strategy));
        for (name, calls, seconds) in [("a", 1, 100), ("b", 2, 10)] {
            for _ in 0..calls {
                b.acd.add_handled(b.now, &agent(name), Some(&queue("q")), Duration::from_secs(seconds), Duration::ZERO);
            }
        }
        assert_eq!(rung(&mut b, "a b c", 3), expect, "{strategy:?}");
        let mut b = three(by(strategy));
        b.acd.add_handled(b.now, &agent("a"), None, Duration::from_secs(100), Duration::ZERO);
        b.acd.new_day(b.now);
        assert_eq!(rung(&mut b, "a b c", 3), "a, b, c", "{strategy:?}, the next day");
    }
}

#[test]
fn what_an_agent_did_counts_though_they_are_ready() {
    let mut b = three(by(Strategy::LeastCalls));
    b.ready("a");
    b.ready("b");
    b.acd.add_handled(b.now, &agent("a"), None, Duration::from_secs(1), Duration::ZERO);
    assert_eq!(b.enter("q"), [offer(1, "b")]);
}

#[test]
fn top_down_goes_by_rank() {
    let mut b = three(by(Strategy::TopDown));
    for (name, rank) in [("a", 3), ("b", 1), ("c", 1)] {
        b.rules.agents.get_mut(name).expect("declared").rank = rank;
    }
    b.configure();
    assert_eq!(rung(&mut b, "a c b", 3), "c, b, a", "of equal rank the longest idle");
}

#[test]
fn random_gives_each_their_share_and_forgets_nobody() {
    let mut b = three(by(Strategy::Random));
    for (name, weight) in [("a", 1.0), ("b", 2.0), ("c", 5.0)] {
        b.rules.agents.get_mut(name).expect("declared").weight = weight;
    }
    b.configure();
    ["a", "b", "c"].into_iter().for_each(|name| drop(b.ready(name)));
    let (mut counts, mut since, mut longest) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for call in 1..=16_000 {
        let rung = match b.enter("q").as_slice() {
            [crate::bench::Out::Offer(_, name)] => name.clone(),
            other => panic!("{other:?}"),
        };
        b.acd.leave(b.now, crate::bench::id(call), cti_acd::Left::Answered { agent: agent(&rung) });
        b.ready(&rung);
        *counts.entry(rung.clone()).or_insert(0) += 1;
        let gap = call - since.insert(rung.clone(), call).unwrap_or(0);
        let most = longest.entry(rung).or_insert(0);
        *most = gap.max(*most);
    }
    for (name, share) in [("a", 2_000), ("b", 4_000), ("c", 10_000)] {
        let count: i32 = counts[name];
        assert!((count - share).abs() < 250, "{name}: {count} for {share}");
    }
    // (7/8)^200 × 16,000 is below 10^-7.
    assert!(longest["a"] < 200, "a waited {} calls", longest["a"]);
}

#[test]
fn best_skill_adds_up_the_levels_that_are_needed() {
    let agents = [("a", "q", "german=2 repair=2"), ("b", "q", "german=5"), ("c", "q", "german=1 repair=4 golf=5")];
    let mut rules = by(Strategy::BestSkill);
    let mut b = Bench::new(vec![("q", rules.clone())], &agents);
    assert_eq!(rung(&mut b, "b a c", 3), "b, a, c", "nothing is needed: the longest idle");
    rules.requires = [("german".to_owned(), 1), ("repair".to_owned(), 1)].into();
    let mut b = Bench::new(vec![("q", rules)], &agents);
    assert_eq!(rung(&mut b, "b a c", 2), "c, a");
    assert_eq!(b.enter("q"), [], "b can not repair");
    assert_eq!(b.whys[0].key, Key::SkillLevels(5));
    let lacks = Reason::NoSkill { skill: "repair".to_owned(), has: 0, needs: 1 };
    assert!(b.whys[0].skipped.iter().any(|skipped| skipped.agent == agent("b") && skipped.reason == lacks));
}

#[test]
fn scored_weighs_skill_idle_relationship_and_occupancy() {
    let weights = |skill, idle, relationship, occupancy| ScoreWeights { skill, idle, relationship, occupancy };
    let agents = [("a", "q", "german=3"), ("b", "q", "german=1"), ("c", "q", "german=1")];
    // a has 2 levels more; b has been idle 60 s longer than a, 30 s longer than c; b knows the caller when one is known.
    let check = |weights: ScoreWeights, known: bool, expect: &str| {
        let requires = [("german".to_owned(), 1)].into();
        let rules = QueueRules { strategy: Strategy::Scored, weights, requires, ..QueueRules::default() };
        let mut b = Bench::new(vec![("q", rules)], &agents);
        b.acd.set_agent(b.now, &agent("c"), Activity::Wrapup, false, b.now);
        b.ready("b");
        b.to(20.0);
        b.acd.add_handled(b.now, &agent("c"), None, Duration::from_secs(10), Duration::from_secs(5));
        b.to(30.0);
        b.ready("c");
        b.to(60.0);
        b.ready("a");
        let mut entry = b.entry("q");
        if known {
            entry.related = vec![agent("c")];
        }
        assert_eq!(b.enter_with(entry), [offer(1, expect)], "{weights:?}, known {known}");
    };
    check(weights(1.0, 0.0, 0.0, 0.0), false, "a");
    check(weights(1.0, 1.9, 0.0, 0.0), false, "a");
    check(weights(1.0, 2.1, 0.0, 0.0), false, "b");
    check(weights(0.0, 1.0, 0.6, 0.0), true, "c");
    check(weights(0.0, 1.0, 0.4, 0.0), true, "b");
    check(weights(0.0, 1.0, 0.6, 0.0), false, "b");
    // c worked half of the time: worth 0.5 × occupancy, against half a minute of idleness the other way round.
    check(weights(0.0, -1.0, 0.0, 0.0), false, "a");
    check(weights(-1.0, -0.01, 0.0, 0.0), false, "c");
    check(weights(-1.0, -0.01, 0.0, 1.0), false, "b");
}

#[test]
fn ring_all_rings_several_and_the_first_to_answer_wins() {
    let mut b = three(QueueRules { ring_all_max: 2, ..by(Strategy::RingAll) });
    b.ready("a");
    b.ready("b");
    b.ready("c");
    assert_eq!(b.enter("q"), [offer(1, "a b")]);
    assert_eq!(b.enter("q"), [offer(2, "c")]);
    assert_eq!(b.missed(1, "a"), [], "b still rings");
    assert_eq!(b.ready("a"), []);
    assert_eq!(b.missed(2, "c"), [offer(2, "a")]);
    assert_eq!(b.answer(1, "b"), []);
    assert_eq!(b.acd.offer_of(&agent("b")), None);
    assert_eq!(b.ready("c"), []);
    b.to(1.0);
    assert_eq!(b.missed(2, "a"), [offer(2, "c")], "another was tried since");
}

#[test]
fn who_rang_together_is_not_rung_again_together_at_once() {
    let mut b = three(by(Strategy::RingAll));
    b.ready("a");
    b.ready("b");
    assert_eq!(b.enter("q"), [offer(1, "a b")]);
    b.to(15.0);
    assert_eq!(b.missed(1, "a"), []);
    assert_eq!(b.missed(1, "b"), []);
    b.ready("a");
    b.ready("b");
    assert_eq!(b.to(19.9), []);
    assert_eq!(b.to(20.0), [offer(1, "a b")]);
}

#[test]
fn the_reason_is_told() {
    let mut b = Bench::new(
        vec![("q", QueueRules::default())],
        &[("a", "q", ""), ("b", "q", ""), ("c", "q", ""), ("d", "q", ""), ("e", "q", ""), ("f", "", "")],
    );
    b.set("a", Activity::Break);
    b.set("b", Activity::Talking);
    b.ready("d");
    b.acd.set_agent(b.now, &agent("e"), Activity::Ready, false, b.now);
    b.to(7.0);
    b.enter("q");
    let why = b.whys.pop().expect("an offer");
    assert_eq!((why.by, why.line, why.key, why.ready, why.eligible), (By::Caller, Line::Own, Key::IdleMs(7_000), 1, 5));
    let skipped: Vec<_> = why.skipped.iter().map(|skipped| (skipped.agent.as_str(), skipped.reason.clone())).collect();
    let expect = [("a", Reason::Break), ("b", Reason::Busy), ("c", Reason::Offline), ("e", Reason::Blocked)];
    assert_eq!(skipped, expect);
    b.missed(1, "d");
    b.ready("d");
    b.to(9.0);
    b.ready("c");
    let why = b.whys.pop().expect("an offer");
    assert_eq!((why.by, why.waited_ms, why.position), (By::Agent, 2_000, 1));
    assert_eq!(why.skipped[0].reason, Reason::Tried);
}
