//! Whom a caller asks: relaxing, several queues, preferred and direct agents, lending; limits that look at agents.

use std::sync::Arc;
use std::time::Duration;

use cti_acd::{
    Activity, Decision, Entered, Entry, Left, LimitKind, Line, OrderRules, OverflowRule, QueueRules, RelaxStep,
    ServiceLevel, StickyEnd,
};
use cti_base::QueueName;

use crate::bench::{Bench, Out, agent, id, offer, queue};

fn requires(level: u8) -> QueueRules {
    QueueRules { requires: [("german".to_owned(), level)].into(), ..QueueRules::default() }
}

fn relaxed(call: u64, step: usize, over: bool, level: u8, queues: &str) -> Out {
    let requires = if level == 0 { Default::default() } else { [("german".to_owned(), level)].into() };
    let queues = queues.split(' ').map(QueueName::from).collect();
    Out::Other(call, Decision::Relaxed { id: id(call), step, over, requires, queues })
}

#[test]
fn requirements_relax_with_time_and_come_back() {
    let mut rules = requires(4);
    let step = |after_s, until_s| RelaxStep { after_s, until_s, ..RelaxStep::default() };
    rules.relax = vec![
        RelaxStep { requires: [("german".to_owned(), 2), ("golf".to_owned(), 1)].into(), ..step(10, None) },
        RelaxStep { queues: vec![queue("other")], ..step(20, Some(30)) },
        RelaxStep { drop: vec!["german".to_owned()], ..step(40, None) },
    ];
    let agents = [("a", "q", "german=3"), ("b", "other", "german=2"), ("c", "q", ""), ("d", "other", "german=1")];
    let mut b = Bench::new(vec![("q", rules), ("other", QueueRules::default())], &agents);
    ["c", "d"].into_iter().for_each(|name| drop(b.ready(name)));
    assert_eq!(b.enter("q"), []);
    assert_eq!(b.to(9.9), []);
    assert_eq!(b.ready("a"), [], "3 is not 4");
    assert_eq!(b.to(10.0), [relaxed(1, 0, false, 2, "q"), offer(1, "a")]);
    assert_eq!(b.missed(1, "a"), []);
    b.set("a", Activity::Break);
    assert_eq!(b.to(20.0), [relaxed(1, 1, false, 2, "q other")]);
    assert_eq!(b.ready("b"), [offer(1, "b")]);
    assert_eq!((&b.whys[1].line, &b.whys[1].steps), (&Line::Also(queue("other")), &vec![0, 1]));
    b.missed(1, "b");
    b.set("b", Activity::Break);
    assert_eq!(b.to(30.0), [relaxed(1, 1, true, 2, "q")]);
    assert_eq!(b.ready("b"), [], "the other queue is no longer asked");
    assert_eq!(b.to(40.0), [relaxed(1, 2, false, 0, "q"), offer(1, "c")]);
}

#[test]
fn an_agent_takes_the_longest_wait_of_all_queues_weighted() {
    let two = |first: QueueRules, second: QueueRules| {
        let mut b = Bench::new(vec![("q", first), ("r", second)], &[("a", "q r", "")]);
        b.enter("q");
        b.to(10.0);
        b.enter("r");
        b.to(20.0);
        b.ready("a")
    };
    let plain = QueueRules::default();
    assert_eq!(two(plain.clone(), plain.clone()), [offer(1, "a")]);
    let weight = |weight| QueueRules { weight, ..QueueRules::default() };
    assert_eq!(two(plain.clone(), weight(1.9)), [offer(1, "a")]);
    assert_eq!(two(plain.clone(), weight(2.1)), [offer(2, "a")]);
    let deadline = |seconds| QueueRules {
        order: OrderRules { deadline: true, ..OrderRules::default() },
        service_level: ServiceLevel { seconds, percent: 80 },
        ..QueueRules::default()
    };
    assert_eq!(two(deadline(30), deadline(21)), [offer(1, "a")]);
    assert_eq!(two(deadline(30), deadline(19)), [offer(2, "a")]);
    let priority = QueueRules { priority: 1, ..QueueRules::default() };
    assert_eq!(two(plain.clone(), priority), [offer(2, "a")]);
    let age = |per_s| QueueRules {
        order: OrderRules { age_points_per_s: per_s, ..OrderRules::default() },
        ..QueueRules::default()
    };
    assert_eq!(two(age(1.0), age(1.9)), [offer(1, "a")], "at 20 s: 20 against 19 points");
    assert_eq!(two(age(1.0), age(2.1)), [offer(2, "a")]);
}

#[test]
fn a_caller_may_wait_in_several_queues_at_once() {
    let rules = vec![("q", QueueRules::default()), ("r", QueueRules::default())];
    let mut b = Bench::new(rules, &[("a", "r", ""), ("b", "q", "")]);
    let mut entry = b.entry("q");
    entry.also = vec![queue("r")];
    b.enter_with(entry.clone());
    assert_eq!(b.ready("a"), [offer(1, "a")]);
    b.answer(1, "a");
    b.ready("a");
    b.to(5.0);
    b.ready("b");
    assert_eq!(b.enter_with(entry), [offer(2, "b")], "the own queue's agents first, though idle for less");
}

fn sticky(call: u64, name: &str, why: StickyEnd) -> Out {
    Out::Other(call, Decision::StickyOver { id: id(call), agent: agent(name), why })
}

#[test]
fn the_preferred_agent_is_asked_alone_at_first() {
    let rules = QueueRules { sticky_s: 10, ..QueueRules::default() };
    let mut b =
        Bench::new(vec![("q", rules), ("r", QueueRules::default())], &[("a", "q", ""), ("b", "q", ""), ("c", "r", "")]);
    b.ready("b");
    b.set("a", Activity::Talking);
    let mut entry = b.entry("q");
    entry.prefer = Some(agent("a"));
    assert_eq!(b.enter_with(entry.clone()), [], "b is free, but a may be soon");
    assert_eq!(b.to(9.0), []);
    assert_eq!(b.ready("a"), [offer(1, "a")]);
    assert_eq!(b.whys[0].line, Line::Sticky);
    assert_eq!(b.missed(1, "a"), [sticky(1, "a", StickyEnd::Missed), offer(1, "b")]);
    b.answer(1, "b");
    // The time is over.
    b.ready("b");
    b.set("a", Activity::Talking);
    entry.entered = b.now;
    assert_eq!(b.enter_with(entry.clone()), []);
    assert_eq!(b.to(19.0), [sticky(2, "a", StickyEnd::Time), offer(2, "b")]);
    b.answer(2, "b");
    // Away, at once or later.
    b.ready("b");
    entry.entered = b.now;
    assert_eq!(b.enter_with(entry.clone()), []);
    assert_eq!(b.set("a", Activity::Break), [sticky(3, "a", StickyEnd::Away), offer(3, "b")]);
    b.answer(3, "b");
    b.ready("b");
    assert_eq!(b.enter_with(entry.clone()), [sticky(4, "a", StickyEnd::Away), offer(4, "b")]);
    b.answer(4, "b");
    b.ready("b");
    b.ready("c");
    entry.prefer = Some(agent("c"));
    assert_eq!(b.enter_with(entry), [sticky(5, "c", StickyEnd::Away), offer(5, "b")], "c does not serve the queue");
}

#[test]
fn a_direct_call_waits_for_its_agent_in_a_line_of_its_own() {
    let rules = QueueRules { overflow: vec![OverflowRule::NoStaff, OverflowRule::AfterS(60)], ..requires(3) };
    let mut b = Bench::new(vec![("q", rules)], &[("a", "", ""), ("b", "q", "german=3")]);
    let mut entry = b.entry("q");
    entry.direct = Some(agent("nobody"));
    assert_eq!(b.try_enter(entry.clone()).1, Entered::NoSuchAgent);
    entry.direct = Some(agent("a"));
    assert_eq!(b.try_enter(entry.clone()).1, Entered::Overflow { rule: Some(0), why: LimitKind::NoStaff });
    b.set("a", Activity::Talking);
    b.set("b", Activity::Talking);
    b.enter("q");
    b.enter_with(entry.clone());
    b.enter_with(entry);
    assert_eq!((b.acd.position(id(3)), b.acd.position(id(4)), b.acd.position(id(5))), (Some(1), Some(1), Some(2)));
    assert_eq!(b.ready("a"), [offer(4, "a")], "without the queue and its skills");
    assert_eq!(b.whys[0].line, Line::Direct);
    assert_eq!(b.ready("b"), [offer(3, "b")]);
    assert_eq!(b.missed(4, "a"), []);
    let limit = |call| Out::Other(call, Decision::Limit { id: id(call), rule: Some(0), why: LimitKind::NoStaff });
    assert_eq!(b.set("a", Activity::Offline), [limit(4), limit(5)]);
}

#[test]
fn who_is_passed_on_when_nobody_is_there() {
    let rules = QueueRules { overflow: vec![OverflowRule::NoStaff], ..requires(2) };
    let mut b = Bench::new(vec![("q", rules)], &[("a", "q", "german=1"), ("b", "q", "german=2")]);
    b.set("a", Activity::Talking);
    assert_eq!(b.try_enter(b.entry("q")).1, Entered::Overflow { rule: Some(0), why: LimitKind::NoStaff });
    b.set("b", Activity::Break);
    assert_eq!(b.enter("q"), [], "on a break is still there");
    let limit = Out::Other(2, Decision::Limit { id: id(2), rule: Some(0), why: LimitKind::NoStaff });
    assert_eq!(b.set("b", Activity::Offline), [limit]);
}

#[test]
fn who_would_wait_too_long_is_passed_on_at_once_or_later() {
    let rules = QueueRules { overflow: vec![OverflowRule::EstimateS(400)], ..QueueRules::default() };
    let mut b = Bench::new(vec![("q", rules)], &[("a", "q", ""), ("b", "q", "")]);
    b.set("a", Activity::Talking);
    b.enter("q");
    b.enter("q");
    assert_eq!(b.try_enter(b.entry("q")).1, Entered::Overflow { rule: Some(0), why: LimitKind::Estimate }, "3 × 180 s");
    b.set("b", Activity::Talking);
    b.enter("q");
    b.set("b", Activity::Break);
    let limit = Out::Other(4, Decision::Limit { id: id(4), rule: Some(0), why: LimitKind::Estimate });
    assert_eq!(b.to(5.0), [limit]);
    b.ready("b");
    b.hang_up(4);
    assert_eq!(b.acd.estimate(b.now, id(2)).map(|estimate| estimate.position), Some(2));
}

#[test]
fn agents_are_lent_while_the_lender_can_spare_them() {
    let lender = QueueRules { service_level: ServiceLevel { seconds: 10, percent: 80 }, ..QueueRules::default() };
    let borrower = QueueRules { borrow: vec![queue("lender")], ..QueueRules::default() };
    let agents = [("own", "q", ""), ("lent", "lender", ""), ("other", "lender", "")];
    let mut b = Bench::new(vec![("q", borrower), ("lender", lender)], &agents);
    b.ready("lent");
    b.to(1.0);
    b.ready("own");
    assert_eq!(b.enter("q"), [offer(1, "own")], "own agents first");
    assert_eq!(b.enter("q"), [offer(2, "lent")]);
    assert_eq!(b.whys[1].line, Line::Lent(queue("lender")));
    b.answer(2, "lent");
    // The lender's own first, whoever waits longer.
    b.enter("q");
    b.to(2.0);
    b.enter("lender");
    assert_eq!(b.ready("lent"), [offer(4, "lent")]);
    b.answer(4, "lent");
    // Ten calls in the window, half of them late: nothing is lent until they have left it.
    for call in 5..15 {
        b.enter("lender");
        if call % 2 == 0 {
            let mut late = b.entry("lender");
            late.entered = b.now - Duration::from_secs(11);
            late.since = late.entered;
            b.acd.enter(b.now, id(call), late);
        }
        b.acd.leave(b.now, id(call), Left::Answered { agent: agent("other") });
    }
    assert_eq!(b.ready("lent"), [], "the service level does not hold");
    assert_eq!(b.to(1_700.0), []);
    assert_eq!(b.to(1_860.0), [offer(3, "lent")], "what was bad is half an hour ago");
}

#[test]
fn an_agent_is_not_lent_away_from_who_is_about_to_stand_in_another_of_their_lines() {
    let lender = QueueRules { overflow: vec![OverflowRule::AfterS(10)], ..requires(3) };
    let borrower = QueueRules { borrow: vec![queue("lender")], ..QueueRules::default() };
    let queues = vec![("q", borrower), ("lender", lender), ("other", QueueRules::default())];
    let mut b = Bench::new(queues, &[("a", "lender other", "german=1")]);
    b.ready("a");
    b.enter("lender");
    b.enter("q");
    let limit = Out::Other(1, Decision::Limit { id: id(1), rule: Some(0), why: LimitKind::After });
    assert_eq!(b.to(10.0), [limit], "the other caller would have the agent by being lent");
    let entry = b.entry("other");
    assert_eq!(b.acd.enter(b.now, id(1), entry), Entered::Waiting);
    assert_eq!(b.drain(), [offer(1, "a")]);
    assert_eq!(b.ready("a"), [], "still ringing");
    assert_eq!(b.answer(1, "a"), []);
    assert_eq!(b.ready("a"), [offer(2, "a")], "nobody waits for the lender");
}

#[test]
fn new_rules_take_effect_at_once_and_take_nobody_s_place() {
    let mut b =
        Bench::new(vec![("q", requires(3)), ("r", QueueRules::default())], &[("a", "q", "german=2"), ("b", "r", "")]);
    b.ready("a");
    b.enter("q");
    b.to(1.0);
    b.enter("q");
    b.enter("r");
    b.rules.agents.get_mut("a").expect("declared").skills.insert("german".to_owned(), 3);
    assert_eq!(b.configure(), [offer(1, "a")]);
    assert_eq!((b.acd.position(id(1)), b.acd.position(id(2))), (Some(1), Some(2)));
    b.rules.queues.remove("r");
    let gone = Out::Other(3, Decision::Limit { id: id(3), rule: None, why: LimitKind::Gone });
    assert_eq!(b.configure(), [gone]);
    b.hang_up(3);
    b.rules.agents.remove("a");
    assert_eq!(b.configure(), []);
    assert_eq!(b.missed(1, "a"), []);
    assert_eq!(b.ready("a"), [], "who is not declared is offered nothing");
    b.rules.agents.get_mut("b").expect("declared").queues = vec![queue("q")];
    b.rules.queues.insert(queue("q"), QueueRules { max_wait_s: 30, ..QueueRules::default() });
    b.ready("b");
    assert_eq!(b.configure(), [offer(1, "b")]);
    let limit = Out::Other(2, Decision::Limit { id: id(2), rule: None, why: LimitKind::MaxWait });
    assert_eq!(b.to(31.0), [limit], "counted from when they entered");
}

#[test]
fn an_offer_that_nobody_was_told_of_is_not_made_to_who_left_meanwhile() {
    let mut b = Bench::new(vec![("q", QueueRules::default())], &[("a", "q", ""), ("b", "q", "")]);
    b.ready("a");
    b.to(1.0);
    b.ready("b");
    b.acd.enter(b.now, id(1), b.entry("q"));
    b.acd.set_agent(b.now, &agent("a"), Activity::Break, false, b.now);
    let offers: Vec<_> = std::iter::from_fn(|| b.acd.poll(b.now)).collect();
    assert!(matches!(&offers[..], [Decision::Offer { agents, .. }] if *agents == [agent("b")]), "{offers:?}");
    b.acd.close();
    b.acd.enter(b.now, id(2), b.entry("q"));
    b.acd.set_agent(b.now, &agent("a"), Activity::Ready, true, b.now);
    assert_eq!(b.acd.poll(b.now), None, "closed");
    b.acd.configure(b.now, Arc::new(b.rules.clone()));
    assert_eq!(b.acd.poll(b.now), None, "still closed");
}

#[test]
fn a_rule_that_led_nowhere_is_none_and_who_comes_back_has_their_place() {
    let overflow = vec![OverflowRule::NoStaff, OverflowRule::AfterS(20), OverflowRule::Waiting(1)];
    let rules = QueueRules { overflow, max_waiting: 2, max_wait_s: 60, ..QueueRules::default() };
    let mut b = Bench::new(vec![("q", rules)], &[("a", "q", "")]);
    let first = b.entry("q");
    assert_eq!(b.try_enter(first.clone()).1, Entered::Overflow { rule: Some(0), why: LimitKind::NoStaff });
    assert_eq!(b.enter_with(Entry { spent: 1, ..first.clone() }), []);
    b.to(5.0);
    let second = b.entry("q");
    let waits = Entered::Overflow { rule: Some(2), why: LimitKind::Waiting };
    assert_eq!(b.try_enter(Entry { spent: 1, ..second.clone() }).1, waits);
    assert_eq!(b.enter_with(Entry { spent: 0b101, ..second.clone() }), []);
    b.to(10.0);
    let third = Entry { spent: 0b101, ..first };
    let full = Entered::Overflow { rule: None, why: LimitKind::Full };
    assert_eq!(b.try_enter(third.clone()).1, full);
    let (back, entered, _) = b.try_enter(Entry { stood: true, ..third.clone() });
    assert_eq!(entered, Entered::Waiting, "they stood there before");
    assert_eq!(b.acd.position(id(back)), Some(2), "behind the first, who came when they did; before the second");
    // 20 s count from their own entering, for those whose rule it is.
    let after = |call, rule| Out::Other(call, Decision::Limit { id: id(call), rule, why: LimitKind::After });
    let late = b.to(20.0);
    assert!(late.contains(&after(back, Some(1))) && !late.contains(&after(4, Some(1))), "{late:?}");
    b.to(61.0);
    let too_late = Entry { spent: 0b111, stood: true, ..third };
    assert_eq!(b.try_enter(too_late).1, Entered::Overflow { rule: None, why: LimitKind::MaxWait });
}
