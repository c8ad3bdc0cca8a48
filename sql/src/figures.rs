//! Figures of queues, agents and calls by quarter of an hour, added up from facts by the projector.

use std::collections::BTreeMap;

use cti_base::{AgentName, QueueName, TenantId, Timestamp};
use cti_switch::Fact;
use cti_switch::desk::AgentState;
use cti_switch::figures::{AgentFigures, CallFigures, QueueFigures, Sink, StateTimes, fold};

use crate::error::Result;
use crate::projector::Rows;
use crate::row::{Reader, Row, word};
use crate::statement::{Arg, args, statements};
use crate::store::{Store, Tx};

/// `INSERT ... ON CONFLICT DO UPDATE`: every number is added to what is there. `$greatest` is set to the greater of both.
macro_rules! adding {
    ($table:literal, $keys:literal, $places:literal, [$($greatest:ident)?] $($sum:ident)*) => {
        concat!(
            "INSERT INTO ", $table, " (", $keys, $(", ", stringify!($sum),)* $(", ", stringify!($greatest),)? ") VALUES (",
            $places, ") ON CONFLICT (", $keys, ") DO UPDATE SET tenant = excluded.tenant"
            $(, ", ", stringify!($sum), " = ", $table, ".", stringify!($sum), " + excluded.", stringify!($sum))*
            $(, ", ", stringify!($greatest), " = CASE WHEN excluded.", stringify!($greatest), " > ", $table, ".",
                stringify!($greatest), " THEN excluded.", stringify!($greatest), " ELSE ", $table, ".",
                stringify!($greatest), " END")?
        )
    };
}

/// The sums of a stretch ($2 to $3) by parts of $4 milliseconds and by `$by`. PostgreSQL's sums of numbers are of another type
/// than the numbers, hence the casts.
macro_rules! summing {
    ($table:literal, $by:literal, [$($greatest:ident)?] $($sum:ident)*) => {
        concat!(
            "SELECT MIN(start_ms - start_ms % $4) AS bucket_ms", $by,
            $(", CAST(SUM(", stringify!($sum), ") AS BIGINT) AS ", stringify!($sum),)*
            $(", MAX(", stringify!($greatest), ") AS ", stringify!($greatest),)?
            " FROM ", $table, " WHERE tenant = $1 AND start_ms >= $2 AND start_ms < $3 GROUP BY start_ms - start_ms % $4", $by,
            " ORDER BY 1", $by
        )
    };
}

/// The columns, in the order of the figures' own names.
macro_rules! queue_columns {
    ($then:ident! $($more:tt)*) => {
        $then! { $($more)*
            offered overflowed_in answered abandoned_waiting abandoned_ringing abandoned_short overflowed_out moved
            ended answered_in_time abandoned_in_time wait_answered_ms wait_abandoned_ms handled talk_ms hold_ms
            wrapup_ms
        }
    };
}
macro_rules! agent_columns {
    ($then:ident! $($more:tt)*) => {
        $then! { $($more)*
            offers answered rejected missed failed withdrawn ring_ms hold_ms
        }
    };
}
macro_rules! call_columns {
    ($then:ident! $($more:tt)*) => {
        $then! { $($more)*
            calls ended answered abandoned_ivr abandoned_queue abandoned_ringing overflowed voicemail callback
            completed_ivr failed talk_ms hold_ms
        }
    };
}

statements! {
    ADD_QUEUE = queue_columns!(adding! "queue_intervals", "tenant, start_ms, queue",
        "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21", [wait_max_ms]);
    ADD_AGENT = agent_columns!(adding! "agent_intervals", "tenant, start_ms, agent",
        "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11", []);
    ADD_STATE = adding!("agent_state_intervals", "tenant, start_ms, agent, state, reason", "$1, $2, $3, $4, $5, $6", [] ms);
    ADD_CALLS = call_columns!(adding! "call_intervals", "tenant, start_ms",
        "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15", []);
    QUEUES = queue_columns!(summing! "queue_intervals", ", queue", [wait_max_ms]);
    AGENTS = agent_columns!(summing! "agent_intervals", ", agent", []);
    STATES = summing!("agent_state_intervals", ", agent, state, reason", [] ms);
    CALLS = call_columns!(summing! "call_intervals", "", []);
    FORGET_QUEUES = "DELETE FROM queue_intervals";
    FORGET_AGENTS = "DELETE FROM agent_intervals";
    FORGET_STATES = "DELETE FROM agent_state_intervals";
    FORGET_CALLS = "DELETE FROM call_intervals";
}

/// A stretch of time to be reported on, and how it is divided. Times are UTC milliseconds; quarters of an hour are the
/// smallest that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from_ms: u64,
    pub to_ms: u64,
    /// Length of a part, counted from the epoch; `None` is the whole stretch as one, which begins at `from_ms`.
    pub part_ms: Option<u64>,
}

/// A figure's part of a [`Span`], by its begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<N, F> {
    pub start_ms: u64,
    pub name: N,
    pub figures: F,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentPart {
    pub figures: AgentFigures,
    pub times: StateTimes,
}

/// By begin, then by name. A queue without calls has no part.
pub async fn queues(store: &Store, tenant: &TenantId, span: Span) -> Result<Vec<Part<QueueName, QueueFigures>>> {
    let read = |row: Row| -> Result<_> {
        let r = row.of("queue_intervals", "queue");
        let figures = QueueFigures::from_values(&values(&r, QueueFigures::NAMES)?);
        Ok(Part { start_ms: span.start(&r)?, name: QueueName::from(r.text("queue")?), figures })
    };
    store.all(&QUEUES, span.args(tenant)).await?.into_iter().map(read).collect()
}

/// By begin, then by name: those who were on duty or were offered a call.
pub async fn agents(store: &Store, tenant: &TenantId, span: Span) -> Result<Vec<Part<AgentName, AgentPart>>> {
    let mut parts: BTreeMap<(u64, AgentName), AgentPart> = BTreeMap::new();
    for row in store.all(&AGENTS, span.args(tenant)).await? {
        let r = row.of("agent_intervals", "agent");
        let part = parts.entry((span.start(&r)?, r.text("agent")?.into())).or_default();
        part.figures = AgentFigures::from_values(&values(&r, AgentFigures::NAMES)?);
    }
    for row in store.all(&STATES, span.args(tenant)).await? {
        let r = row.of("agent_state_intervals", "agent");
        let part = parts.entry((span.start(&r)?, r.text("agent")?.into())).or_default();
        let reason = r.text("reason")?;
        part.times.add((r.word("state")?, Some(reason.as_str()).filter(|reason| !reason.is_empty())), r.int("ms")?);
    }
    Ok(parts.into_iter().map(|((start_ms, name), figures)| Part { start_ms, name, figures }).collect())
}

/// By begin.
pub async fn calls(store: &Store, tenant: &TenantId, span: Span) -> Result<Vec<Part<(), CallFigures>>> {
    let read = |row: Row| -> Result<_> {
        let r = row.of("call_intervals", "tenant");
        let figures = CallFigures::from_values(&values(&r, CallFigures::NAMES)?);
        Ok(Part { start_ms: span.start(&r)?, name: (), figures })
    };
    store.all(&CALLS, span.args(tenant)).await?.into_iter().map(read).collect()
}

impl Span {
    /// Longer than any time: every start is in the part that begins at 0.
    const WHOLE_MS: u64 = i64::MAX.unsigned_abs();

    fn args(&self, tenant: &TenantId) -> Vec<Arg> {
        args![tenant, self.from_ms, self.to_ms, self.part_ms.unwrap_or(Self::WHOLE_MS)]
    }

    fn start(&self, row: &Reader<'_>) -> Result<u64> {
        if self.part_ms.is_none() { Ok(self.from_ms) } else { row.int("bucket_ms") }
    }
}

fn values(row: &Reader<'_>, names: &[&'static str]) -> Result<Vec<u64>> {
    names.iter().map(|name| row.int(name)).collect()
}

/// What a batch of facts adds: one statement a row however many facts there are.
#[derive(Default)]
pub(crate) struct Batch {
    queues: BTreeMap<(TenantId, u64, QueueName), QueueFigures>,
    agents: BTreeMap<(TenantId, u64, AgentName), AgentFigures>,
    states: BTreeMap<(TenantId, u64, AgentName, AgentState, String), u64>,
    calls: BTreeMap<(TenantId, u64), CallFigures>,
}

impl Batch {
    pub(crate) fn add(&mut self, at: Timestamp, fact: &Fact) {
        fold(at, fact, self);
    }

    pub(crate) fn write(self, rows: &mut Rows) -> Result<()> {
        for ((tenant, start_ms, queue), figures) in self.queues {
            rows.run(&ADD_QUEUE, with(args![&tenant, start_ms, &queue], &figures.values()));
        }
        for ((tenant, start_ms, agent), figures) in self.agents {
            rows.run(&ADD_AGENT, with(args![&tenant, start_ms, &agent], &figures.values()));
        }
        for ((tenant, start_ms, agent, state, reason), ms) in self.states {
            rows.run(&ADD_STATE, args![&tenant, start_ms, &agent, word(&state)?, reason, ms]);
        }
        for ((tenant, start_ms), figures) in self.calls {
            rows.run(&ADD_CALLS, with(args![&tenant, start_ms], &figures.values()));
        }
        Ok(())
    }
}

fn with(mut args: Vec<Arg>, values: &[u64]) -> Vec<Arg> {
    args.extend(values.iter().map(|value| Arg::from(*value)));
    args
}

impl Sink for Batch {
    fn queue(&mut self, tenant: &TenantId, queue: &QueueName, start_ms: u64, add: &QueueFigures) {
        self.queues.entry((tenant.clone(), start_ms, queue.clone())).or_default().add(add);
    }

    fn agent(&mut self, tenant: &TenantId, agent: &AgentName, start_ms: u64, add: &AgentFigures) {
        self.agents.entry((tenant.clone(), start_ms, agent.clone())).or_default().add(add);
    }

    fn state(
        &mut self,
        tenant: &TenantId,
        agent: &AgentName,
        start_ms: u64,
        state: (AgentState, Option<&str>),
        ms: u64,
    ) {
        let reason = crate::projector::storable(state.1.unwrap_or_default());
        *self.states.entry((tenant.clone(), start_ms, agent.clone(), state.0, reason)).or_default() += ms;
    }

    fn calls(&mut self, tenant: &TenantId, start_ms: u64, add: &CallFigures) {
        self.calls.entry((tenant.clone(), start_ms)).or_default().add(add);
    }
}

pub(crate) async fn forget(tx: &mut Tx) -> Result<()> {
    for statement in [&FORGET_QUEUES, &FORGET_AGENTS, &FORGET_STATES, &FORGET_CALLS] {
        tx.run(statement, vec![]).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_are_the_figures_by_name() {
        macro_rules! names {
            ([$($greatest:ident)?] $($sum:ident)*) => { &[$(stringify!($sum),)* $(stringify!($greatest),)?] };
        }
        let columns: [&[&str]; 3] =
            [queue_columns!(names![wait_max_ms]), agent_columns!(names![]), call_columns!(names![])];
        assert_eq!(columns, [QueueFigures::NAMES, AgentFigures::NAMES, CallFigures::NAMES]);
    }
}
