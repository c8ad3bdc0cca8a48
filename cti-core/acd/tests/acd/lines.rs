//! Who waits and in which order; limits.

use cti_acd::{Decision, Entered, LimitKind, OrderRules, OverflowRule, QueueRules};

use crate::bench::{Bench, Out, id, offer, queue};

fn plain() -> QueueRules {
    QueueRules::default()
}

#[test]
fn the_first_caller_meets_the_longest_idle_agent() {
    let mut b = Bench::new(vec![("q", plain())], &[("a", "q", ""), ("b", "q", ""), ("c", "q", "")]);
    b.ready("b");
    b.to(1.0);
    b.ready("a");
    assert_eq!(b.enter("q"), [offer(1, "b")]);
    assert_eq!(b.enter("q"), [offer(2, "a")]);
    assert_eq!(b.enter("q"), []);
    assert_eq!(b.enter("q"), []);
    assert_eq!((b.acd.position(id(3)), b.acd.position(id(4))), (Some(3), Some(4)));
    assert_eq!(b.ready("c"), [offer(3, "c")]);
    b.answer(1, "b");
    assert_eq!(b.acd.position(id(4)), Some(3));
    assert_eq!(b.ready("b"), [offer(4, "b")]);
}

#[test]
fn who_missed_a_caller_comes_after_everybody_else_or_after_five_seconds() {
    let mut b = Bench::new(vec![("q", plain())], &[("a", "q", ""), ("b", "q", "")]);
    b.ready("a");
    assert_eq!(b.enter("q"), [offer(1, "a")]);
    assert_eq!(b.missed(1, "a"), []);
    assert_eq!(b.ready("a"), [], "not the same one again");
    assert_eq!(b.to(4.9), []);
    assert_eq!(b.to(5.0), [offer(1, "a")]);
    assert_eq!(b.missed(1, "a"), []);
    b.ready("a");
    b.to(6.0);
    assert_eq!(b.ready("b"), [offer(1, "b")]);
    assert_eq!(b.missed(1, "b"), [offer(1, "a")], "another was tried since");
}

#[test]
fn limits_pass_callers_on() {
    let rules = QueueRules {
        overflow: vec![OverflowRule::Waiting(2), OverflowRule::AfterS(30)],
        max_wait_s: 20,
        max_waiting: 10,
        ..plain()
    };
    let mut b = Bench::new(vec![("q", rules), ("full", QueueRules { max_waiting: 1, ..plain() })], &[("a", "q", "")]);
    b.enter("q");
    b.to(5.0);
    b.enter("q");
    assert_eq!(b.try_enter(b.entry("q")).1, Entered::Overflow { rule: Some(0), why: LimitKind::Waiting });
    b.enter("full");
    assert_eq!(b.try_enter(b.entry("full")).1, Entered::Overflow { rule: None, why: LimitKind::Full });
    assert_eq!(b.try_enter(b.entry("none")).1, Entered::NoSuchQueue);
    assert_eq!(b.ready("a"), [offer(1, "a")]);
    assert_eq!(b.to(20.0), [], "a phone that rings is not taken back");
    let limit = |call| Out::Other(call, Decision::Limit { id: id(call), rule: None, why: LimitKind::MaxWait });
    assert_eq!(b.missed(1, "a"), [limit(1)]);
    assert_eq!(b.to(25.0), [limit(2)]);
    assert_eq!(b.acd.waiting(&queue("q")), 2, "they stand there until they are carried away");
}

#[test]
fn points_come_before_the_wait() {
    let order = OrderRules { value_points: [("gold".to_owned(), 5)].into(), age_points_per_s: 0.5, deadline: false };
    let mut b = Bench::new(vec![("q", QueueRules { order, ..plain() })], &[("a", "q", "")]);
    b.enter("q");
    b.to(9.0);
    let mut gold = b.entry("q");
    gold.value = Some("gold".to_owned());
    b.enter_with(gold.clone());
    b.to(11.0);
    (gold.since, gold.entered) = (b.now, b.now);
    b.enter_with(gold);
    let order: Vec<_> = b.acd.waiting_ids(&queue("q")).collect();
    assert_eq!(order, [id(2), id(1), id(3)], "five points are worth ten seconds");
}
