-- The first schema. Times are UTC milliseconds, ids text (UUIDv7), JSON text, flags 0 or 1.
CREATE TABLE tenants (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    doc TEXT,
    version BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL
);

CREATE TABLE users (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    display TEXT NOT NULL,
    role TEXT NOT NULL,
    password_hash TEXT,
    sip_ha1_md5 TEXT,
    sip_ha1_sha256 TEXT,
    disabled BIGINT NOT NULL,
    version BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, name)
);

CREATE TABLE sessions (
    token_hash TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    user_name TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    seen_ms BIGINT NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (tenant, user_name);
CREATE INDEX sessions_by_end ON sessions (expires_ms);

CREATE TABLE tokens (
    token_hash TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    user_name TEXT NOT NULL,
    name TEXT NOT NULL,
    created_ms BIGINT NOT NULL
);
CREATE UNIQUE INDEX tokens_by_name ON tokens (tenant, user_name, name);

CREATE TABLE customers (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    company TEXT,
    value_class TEXT,
    risk TEXT,
    locale TEXT,
    notes TEXT,
    version BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);

CREATE TABLE contacts (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    digits TEXT,
    tail TEXT,
    label TEXT,
    version BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX contacts_by_customer ON contacts (tenant, customer_id, id);
CREATE INDEX contacts_by_tail ON contacts (tenant, tail, customer_id);

CREATE TABLE products (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    model TEXT NOT NULL,
    serial TEXT NOT NULL,
    purchased_on TEXT,
    warranty_until TEXT,
    version BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX products_by_customer ON products (tenant, customer_id, id);
CREATE INDEX products_by_serial ON products (tenant, serial, id);

CREATE TABLE case_numbers (
    tenant TEXT NOT NULL PRIMARY KEY,
    last BIGINT NOT NULL
);

CREATE TABLE cases (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    number BIGINT NOT NULL,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    priority TEXT NOT NULL,
    title TEXT NOT NULL,
    description TEXT,
    customer_id TEXT,
    product_id TEXT,
    call_id TEXT,
    place TEXT,
    callback_number TEXT,
    agent TEXT,
    fields TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX cases_by_number ON cases (tenant, number);
CREATE INDEX cases_by_customer ON cases (tenant, customer_id, id);
CREATE INDEX cases_by_call ON cases (tenant, call_id, id);

CREATE TABLE case_events (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    case_id TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    actor TEXT NOT NULL,
    kind TEXT NOT NULL,
    changes TEXT NOT NULL,
    text TEXT,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX case_events_by_case ON case_events (tenant, case_id, id);

CREATE TABLE drafts (
    tenant TEXT NOT NULL,
    user_name TEXT NOT NULL,
    call_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    fields TEXT NOT NULL,
    rev BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, user_name, call_id, kind)
);

CREATE TABLE calls (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    direction TEXT NOT NULL,
    outcome TEXT NOT NULL,
    cause TEXT NOT NULL,
    from_number TEXT NOT NULL,
    from_digits TEXT NOT NULL,
    to_number TEXT NOT NULL,
    to_digits TEXT NOT NULL,
    trunk TEXT,
    ivr_path TEXT NOT NULL,
    queue TEXT,
    agent TEXT,
    customer_id TEXT,
    started_ms BIGINT NOT NULL,
    queued_ms BIGINT,
    offered_ms BIGINT,
    answered_ms BIGINT,
    ended_ms BIGINT NOT NULL,
    wait_ms BIGINT NOT NULL,
    ring_ms BIGINT NOT NULL,
    talk_ms BIGINT NOT NULL,
    hold_ms BIGINT NOT NULL,
    legs TEXT NOT NULL,
    segments TEXT NOT NULL,
    quality TEXT NOT NULL,
    vars TEXT NOT NULL,
    recording_id TEXT,
    disposition TEXT,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX calls_by_start ON calls (tenant, started_ms, id);
CREATE INDEX calls_by_customer ON calls (tenant, customer_id, started_ms, id);

CREATE TABLE call_wrapups (
    tenant TEXT NOT NULL,
    call_id TEXT NOT NULL,
    agent TEXT NOT NULL,
    wrapup_ms BIGINT NOT NULL,
    disposition TEXT,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, call_id)
);

CREATE TABLE call_segments (
    tenant TEXT NOT NULL,
    call_id TEXT NOT NULL,
    place BIGINT NOT NULL,
    kind TEXT NOT NULL,
    queue TEXT,
    agent TEXT,
    started_ms BIGINT NOT NULL,
    ended_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, call_id, place)
);
CREATE INDEX call_segments_by_start ON call_segments (tenant, started_ms);

CREATE TABLE recordings (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    call_id TEXT NOT NULL,
    path TEXT,
    duration_ms BIGINT,
    channels BIGINT,
    sha256 TEXT,
    bytes BIGINT,
    state TEXT NOT NULL,
    reason TEXT,
    started_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX recordings_by_call ON recordings (tenant, call_id, id);

CREATE TABLE projections (
    name TEXT NOT NULL PRIMARY KEY,
    seq BIGINT NOT NULL
);

CREATE TABLE idempotency (
    tenant TEXT NOT NULL,
    user_name TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status BIGINT,
    body TEXT,
    expires_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, user_name, key)
);
CREATE INDEX idempotency_by_end ON idempotency (expires_ms);

CREATE TABLE audit (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
