-- Folded from the journal's facts: the switch owns callbacks, these rows show them.
CREATE TABLE callbacks (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    queue TEXT NOT NULL,
    agent TEXT,
    number TEXT NOT NULL,
    digits TEXT NOT NULL,
    customer_id TEXT,
    contact_id TEXT,
    source TEXT NOT NULL,
    state TEXT NOT NULL,
    requested_ms BIGINT NOT NULL,
    due_ms BIGINT NOT NULL,
    place_ms BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    last_cause TEXT,
    request_call TEXT,
    call_id TEXT,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX callbacks_by_state ON callbacks (tenant, state, id);
CREATE INDEX callbacks_by_customer ON callbacks (tenant, customer_id, id);
