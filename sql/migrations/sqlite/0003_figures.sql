CREATE TABLE queue_intervals (
    tenant TEXT NOT NULL,
    start_ms BIGINT NOT NULL,
    queue TEXT NOT NULL,
    offered BIGINT NOT NULL,
    overflowed_in BIGINT NOT NULL,
    answered BIGINT NOT NULL,
    abandoned_waiting BIGINT NOT NULL,
    abandoned_ringing BIGINT NOT NULL,
    abandoned_short BIGINT NOT NULL,
    overflowed_out BIGINT NOT NULL,
    moved BIGINT NOT NULL,
    ended BIGINT NOT NULL,
    answered_in_time BIGINT NOT NULL,
    abandoned_in_time BIGINT NOT NULL,
    wait_answered_ms BIGINT NOT NULL,
    wait_abandoned_ms BIGINT NOT NULL,
    handled BIGINT NOT NULL,
    talk_ms BIGINT NOT NULL,
    hold_ms BIGINT NOT NULL,
    wrapup_ms BIGINT NOT NULL,
    wait_max_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, start_ms, queue)
);

CREATE TABLE agent_intervals (
    tenant TEXT NOT NULL,
    start_ms BIGINT NOT NULL,
    agent TEXT NOT NULL,
    offers BIGINT NOT NULL,
    answered BIGINT NOT NULL,
    rejected BIGINT NOT NULL,
    missed BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    withdrawn BIGINT NOT NULL,
    ring_ms BIGINT NOT NULL,
    hold_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, start_ms, agent)
);

CREATE TABLE agent_state_intervals (
    tenant TEXT NOT NULL,
    start_ms BIGINT NOT NULL,
    agent TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, start_ms, agent, state, reason)
);

CREATE TABLE call_intervals (
    tenant TEXT NOT NULL,
    start_ms BIGINT NOT NULL,
    calls BIGINT NOT NULL,
    ended BIGINT NOT NULL,
    answered BIGINT NOT NULL,
    abandoned_ivr BIGINT NOT NULL,
    abandoned_queue BIGINT NOT NULL,
    abandoned_ringing BIGINT NOT NULL,
    overflowed BIGINT NOT NULL,
    voicemail BIGINT NOT NULL,
    callback BIGINT NOT NULL,
    completed_ivr BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    talk_ms BIGINT NOT NULL,
    hold_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, start_ms)
);

CREATE TABLE call_trace (
    tenant TEXT NOT NULL,
    call_id TEXT NOT NULL,
    place BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    entry TEXT NOT NULL,
    PRIMARY KEY (tenant, call_id, place)
);
