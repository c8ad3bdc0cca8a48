-- Messages that callers left: what a fact tells of them, and what people have done with them since.
CREATE TABLE voicemails (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    queue TEXT NOT NULL,
    recording_id TEXT NOT NULL,
    number TEXT NOT NULL,
    digits TEXT NOT NULL,
    customer_id TEXT,
    received_ms BIGINT NOT NULL,
    from_ms BIGINT NOT NULL,
    length_ms BIGINT NOT NULL,
    state TEXT NOT NULL,
    agent TEXT,
    changed_ms BIGINT,
    note TEXT,
    version BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX voicemails_by_state ON voicemails (tenant, state, id);
