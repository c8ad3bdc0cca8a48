//! Who of the ready comes first. Every strategy is a key that stays as it is while an agent is ready, so that a class keeps
//! its ready agents in order. The lowest key comes first; among equal keys the longest idle, then the first by name.

use std::collections::BTreeMap;

use cti_base::Timestamp;

use crate::rules::{ScoreWeights, Strategy};
use crate::why::Key;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AgentKey {
    pub main: i64,
    pub idle_since: Timestamp,
    /// The agent's place by name.
    pub name_order: u32,
}

/// What a strategy may look at, of one agent for one class.
pub(crate) struct Candidate<'a> {
    pub idle_since: Timestamp,
    pub name_order: u32,
    pub skills: &'a BTreeMap<String, u8>,
    pub rank: u32,
    pub calls: u32,
    pub talk_us: u64,
    /// Work of the time signed in, in thousandths, when the agent became ready.
    pub occupancy_milli: u32,
    /// The number of this queue's last offer to the agent.
    pub offered: Option<u64>,
    pub lot: i64,
}

pub(crate) fn key(
    strategy: Strategy,
    weights: &ScoreWeights,
    requires: &BTreeMap<String, u8>,
    of: &Candidate,
) -> AgentKey {
    let main = match strategy {
        Strategy::LongestIdle | Strategy::RingAll => 0,
        Strategy::RoundRobin => of.offered.map_or(0, |number| number as i64 + 1),
        Strategy::LeastCalls => i64::from(of.calls),
        Strategy::LeastTalkTime => of.talk_us as i64,
        Strategy::TopDown => i64::from(of.rank),
        Strategy::Random => of.lot,
        Strategy::BestSkill => -i64::from(levels(requires, of.skills)),
        Strategy::Scored => {
            let skill = weights.skill * f64::from(levels(requires, of.skills));
            let free = weights.occupancy * (1.0 - f64::from(of.occupancy_milli) / 1_000.0);
            // All gain equally by being idle, so when it began says it all.
            micro_points(idle_points(weights, of.idle_since)) - micro_points(skill + free)
        }
    };
    AgentKey { main, idle_since: of.idle_since, name_order: of.name_order }
}

/// By how much a known caller improves the key.
pub(crate) fn relationship(strategy: Strategy, weights: &ScoreWeights) -> i64 {
    if strategy == Strategy::Scored { micro_points(weights.relationship) } else { 0 }
}

/// The key as it is told.
pub(crate) fn explain(
    now: Timestamp,
    strategy: Strategy,
    weights: &ScoreWeights,
    key: &AgentKey,
    of: &Candidate,
    offers: u64,
) -> Key {
    match strategy {
        Strategy::LongestIdle | Strategy::RingAll => Key::IdleMs(now.since(key.idle_since).as_millis() as u64),
        Strategy::RoundRobin => Key::OffersAgo(of.offered.map(|number| offers.saturating_sub(number))),
        Strategy::LeastCalls => Key::Calls(of.calls),
        Strategy::LeastTalkTime => Key::TalkMs(of.talk_us / 1_000),
        Strategy::TopDown => Key::Rank(of.rank),
        Strategy::Random => Key::Lot(of.lot),
        Strategy::BestSkill => Key::SkillLevels(u32::try_from(-key.main).unwrap_or(0)),
        Strategy::Scored => Key::ScoreMilli((micro_points(idle_points(weights, now)) - key.main) / 1_000),
    }
}

/// The sum of the agent's levels in what is required.
fn levels(requires: &BTreeMap<String, u8>, skills: &BTreeMap<String, u8>) -> u32 {
    requires.keys().filter_map(|skill| skills.get(skill)).map(|level| u32::from(*level)).sum()
}

fn idle_points(weights: &ScoreWeights, at: Timestamp) -> f64 {
    weights.idle * (at.as_micros() as f64 / 60e6)
}

fn micro_points(points: f64) -> i64 {
    (points * 1e6).round() as i64
}

/// A lot above `floor` for a draw: exponential with the weight as its rate, in 2^-32. Who holds the lowest of several lots
/// does so with the share of their weight. The floor is the lot drawn last: an exponential wait has no memory, so who holds a
/// lot above it is as if they had drawn anew, and nobody is forgotten behind a bad draw.
pub(crate) fn lot(floor: i64, draw: u64, weight: f64) -> i64 {
    let wait = neg_log2_q32(draw) as f64 / weight.clamp(1e-3, 1e6);
    floor.saturating_add(wait as i64)
}

/// −log2(draw / 2^64) × 2^32, in whole numbers so that every machine draws the same. 0 counts as 1.
fn neg_log2_q32(draw: u64) -> u64 {
    let draw = draw.max(1);
    let zeros = draw.leading_zeros();
    // In 1..2, as a multiple of 2^-63; squaring it brings out one bit of its logarithm after another.
    let mut mantissa = draw << zeros;
    let mut fraction: u64 = 0;
    for _ in 0..32 {
        let square = (u128::from(mantissa) * u128::from(mantissa)) >> 63;
        let is_two_or_more = square >> 64 != 0;
        fraction = fraction << 1 | u64::from(is_two_or_more);
        mantissa = if is_two_or_more { (square >> 1) as u64 } else { square as u64 };
    }
    ((u64::from(zeros) + 1) << 32) - fraction
}

/// The next of a row of draws: SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_that_of_the_library() {
        let mut state = 1;
        for _ in 0..10_000 {
            let number = draw(&mut state);
            let expect = 64.0 - (number as f64).log2();
            let told = neg_log2_q32(number) as f64 / 4_294_967_296.0;
            assert!((told - expect).abs() < 1e-8, "{number}: {told}, not {expect}");
        }
        assert_eq!(neg_log2_q32(1 << 63), 1 << 32);
        assert_eq!(neg_log2_q32(0), 64 << 32);
    }
}
