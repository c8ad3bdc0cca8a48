//! The tenant's file as the ACD reads it.

use std::collections::BTreeMap;

use cti_acd::{AgentRules, OverflowRule, QueueRules, Rules, Strategy};
use cti_base::QueueName;

use super::{Overflow, QueueDecl, Target, TenantDoc, When};
use crate::limits::RING_ALL_MAX;

impl TenantDoc {
    /// What of it the ACD goes by.
    pub fn acd_rules(&self) -> Rules {
        let queue = |decl: &QueueDecl| (decl.name.clone(), decl.acd_rules());
        let agents = self.agent.iter().enumerate().map(|(at, decl)| {
            let rules = AgentRules {
                queues: decl.queues.clone(),
                skills: decl.skills.clone(),
                weight: decl.weight,
                rank: decl.rank.unwrap_or(at as u32),
            };
            (decl.name.clone(), rules)
        });
        Rules { queues: self.queue.iter().map(queue).collect(), agents: agents.collect() }
    }
}

impl TenantDoc {
    /// Where the overflow rules of each queue lead, by the ACD's numbers for them; `None` is out of the queues.
    pub fn acd_moves(&self) -> BTreeMap<QueueName, Vec<Option<QueueName>>> {
        let target = |rule: &Overflow| match &rule.to {
            Target::Queue(queue) => Some(queue.clone()),
            Target::Agent(_) | Target::Ivr { .. } | Target::Voicemail | Target::Number(_) | Target::Busy => None,
        };
        let rules =
            |decl: &QueueDecl| decl.overflow.iter().filter(|rule| rule.when.of_acd().is_some()).map(target).collect();
        self.queue.iter().map(|decl| (decl.name.clone(), rules(decl))).collect()
    }
}

impl QueueDecl {
    fn acd_rules(&self) -> QueueRules {
        QueueRules {
            strategy: self.strategy,
            weights: self.weights,
            priority: self.priority,
            weight: self.weight,
            order: self.order.clone(),
            requires: self.requires.clone(),
            relax: self.relax.clone(),
            overflow: self.overflow.iter().filter_map(|rule| rule.when.of_acd()).collect(),
            max_wait_s: self.max_wait_s,
            max_waiting: self.max_waiting,
            sticky_s: self.sticky.map_or(0, |sticky| sticky.s),
            ring_all_max: RING_ALL_MAX as u32,
            service_level: cti_acd::ServiceLevel {
                seconds: self.service_level.seconds,
                percent: self.service_level.percent,
            },
            borrow: self.borrow.clone(),
        }
    }
}

impl QueueDecl {
    /// The rule that the ACD knows by this number.
    pub(crate) fn overflow_rule(&self, rule: usize) -> Option<&Overflow> {
        self.overflow.iter().filter(|overflow| overflow.when.of_acd().is_some()).nth(rule)
    }

    /// Whether what the records know of a caller decides on whom is asked first, or on the caller's place.
    pub(crate) fn asks_records(&self) -> bool {
        let asks_related = self.strategy == Strategy::Scored && self.weights.relationship > 0.0;
        self.sticky.is_some() || asks_related || !self.order.value_points.is_empty()
    }

    /// Where a full queue passes callers on to, and one that is no longer declared: as the length or the time would.
    /// `is_open` says which rules are rules for the caller.
    pub(crate) fn overflow_when_full(&self, is_open: impl Fn(&Overflow) -> bool) -> Option<&Target> {
        let open = || self.overflow.iter().filter(|rule| is_open(rule));
        let by_length = open().find(|rule| matches!(rule.when, When::Waiting(_)));
        let by_time = || open().find(|rule| matches!(rule.when, When::AfterS(_)));
        by_length.or_else(by_time).map(|rule| &rule.to)
    }
}

impl When {
    /// The ACD's own conditions; the others are asked before a caller comes to it.
    pub(crate) const fn of_acd(&self) -> Option<OverflowRule> {
        match self {
            Self::AfterS(after) => Some(OverflowRule::AfterS(*after)),
            Self::Waiting(waiting) => Some(OverflowRule::Waiting(*waiting)),
            Self::EstimateS(estimate) => Some(OverflowRule::EstimateS(*estimate)),
            Self::NoStaff => Some(OverflowRule::NoStaff),
            Self::Closed(_) | Self::Emergency => None,
        }
    }
}
