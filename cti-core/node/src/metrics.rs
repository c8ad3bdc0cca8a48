//! The figures of contract.md ("Metrics") and their own listener.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use cti_base::TenantId;
use cti_switch::desk::{AgentState, CallState};
use cti_switch::live::Live;
use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::journal::JournalCounters;

/// What everyone reads of the switch: each tenant's live state, published, never queried.
pub type LiveWatch = watch::Receiver<Arc<BTreeMap<TenantId, Arc<Live>>>>;

/// Upper bounds of the latency histograms, seconds.
const LATENCY_BUCKETS: [f64; 13] =
    [0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.5, 2.0];
/// Upper bounds of `zongji_queue_wait_seconds`.
const WAIT_BUCKETS: [f64; 12] = [0.1, 0.5, 1.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0];

/// The methods counted by name; any other is `OTHER`.
pub const METHODS: [&str; 14] = [
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "REGISTER",
    "OPTIONS",
    "NOTIFY",
    "SUBSCRIBE",
    "INFO",
    "UPDATE",
    "PRACK",
    "REFER",
    "MESSAGE",
    "OTHER",
];

/// Every figure, cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    pub calls_total: IntCounterVec,
    calls_active: IntGaugeVec,
    queue_waiting: IntGaugeVec,
    agents: IntGaugeVec,
    trunk_registered: IntGaugeVec,
    pub queue_wait_seconds: Histogram,
    pub wait_estimate_error_seconds: HistogramVec,
    pub setup_seconds: Histogram,
    pub pop_seconds: Histogram,
    pub recordings_active: IntGauge,
    pub recording_bytes_total: IntCounter,
    pub recording_errors_total: IntCounterVec,
    rtp_in: IntCounter,
    rtp_out: IntCounter,
    pub rtp_lost_total: IntCounter,
    sip_in: Arc<[IntCounter]>,
    sip_out: Arc<[IntCounter]>,
    pub sip_rejected_total: IntCounterVec,
    /// Who is kept out for wrong SIP credentials.
    pub sip_bans: IntGauge,
    pub journal_lag_seconds: Gauge,
    journal: Arc<JournalMetrics>,
    pub records_away_seconds: Gauge,
    pub start_seconds: Gauge,
    pub calls_taken_up: IntGauge,
    /// Inputs that found their queue to the switch full, by queue.
    pub inputs_dropped_total: IntCounterVec,
    pub frames_refused_total: IntCounterVec,
    /// The label values in use by the gauges, so that what is gone is set to nought.
    seen: Arc<std::sync::Mutex<Seen>>,
}

/// The journal's figures, as its threads count them.
struct JournalMetrics {
    groups_total: IntCounter,
    bytes_total: IntCounter,
    snapshots_total: IntCounter,
    snapshot_bytes: IntGauge,
    errors_total: IntCounter,
    cut_groups_total: IntCounter,
    undurable: IntGauge,
    undurable_groups_total: IntCounter,
    waits_total: IntCounter,
    lost_facts_total: IntCounter,
}

#[derive(Default)]
struct Seen {
    calls: BTreeSet<(String, &'static str)>,
    agents: BTreeSet<(String, &'static str)>,
    trunks: BTreeSet<(String, String)>,
    queues: BTreeSet<(String, String)>,
}

impl Metrics {
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let sip = counters(
            &registry,
            "zongji_sip_messages_total",
            "SIP messages by method and direction",
            &["method", "dir"],
        )?;
        let by_method = |dir: &str| METHODS.iter().map(|method| sip.with_label_values(&[*method, dir])).collect();
        let rtp = counters(&registry, "zongji_rtp_packets_total", "RTP packets by direction", &["dir"])?;
        Ok(Self {
            calls_total: counters(
                &registry,
                "zongji_calls_total",
                "Ended calls by tenant, direction and outcome",
                &["tenant", "direction", "outcome"],
            )?,
            calls_active: gauges(&registry, "zongji_calls_active", "Calls by tenant and state", &["tenant", "state"])?,
            queue_waiting: gauges(&registry, "zongji_queue_waiting", "Waiting callers by queue", &["tenant", "queue"])?,
            agents: gauges(&registry, "zongji_agents", "Agents by tenant and state", &["tenant", "state"])?,
            trunk_registered: gauges(
                &registry,
                "zongji_trunk_registered",
                "Whether a trunk that registers is registered",
                &["tenant", "trunk"],
            )?,
            queue_wait_seconds: histogram(
                &registry,
                "zongji_queue_wait_seconds",
                "From queued to answered or ended",
                &WAIT_BUCKETS,
            )?,
            wait_estimate_error_seconds: registered(
                &registry,
                HistogramVec::new(
                    HistogramOpts::new(
                        "zongji_wait_estimate_error_seconds",
                        "How far the wait that was estimated on entering was from the wait of an answered caller",
                    )
                    .buckets(WAIT_BUCKETS.to_vec()),
                    &["estimator"],
                )?,
            )?,
            setup_seconds: histogram(
                &registry,
                "zongji_setup_seconds",
                "From an INVITE in to the INVITE out or the answer that it leads to",
                &LATENCY_BUCKETS,
            )?,
            pop_seconds: histogram(
                &registry,
                "zongji_pop_seconds",
                "From an offer to its frame written to the agent's socket",
                &LATENCY_BUCKETS,
            )?,
            recordings_active: registered(
                &registry,
                IntGauge::new("zongji_recordings_active", "Recordings being written")?,
            )?,
            recording_bytes_total: registered(
                &registry,
                IntCounter::new("zongji_recording_bytes_total", "Bytes of sealed recordings")?,
            )?,
            recording_errors_total: counters(
                &registry,
                "zongji_recording_errors_total",
                "Recordings that failed or lost audio, by reason",
                &["reason"],
            )?,
            rtp_in: rtp.with_label_values(&["in"]),
            rtp_out: rtp.with_label_values(&["out"]),
            rtp_lost_total: registered(
                &registry,
                IntCounter::new("zongji_rtp_lost_total", "RTP packets that never came, by sequence number")?,
            )?,
            sip_in: by_method("in"),
            sip_out: by_method("out"),
            sip_rejected_total: counters(
                &registry,
                "zongji_sip_rejected_total",
                "SIP messages and calls refused before they became anything, by reason",
                &["reason"],
            )?,
            sip_bans: registered(
                &registry,
                IntGauge::new("zongji_sip_bans", "Users and sources kept out for wrong SIP credentials")?,
            )?,
            journal_lag_seconds: registered(
                &registry,
                Gauge::new("zongji_journal_lag_seconds", "Age of the oldest fact that is not in the journal yet")?,
            )?,
            journal: Arc::new(JournalMetrics::new(&registry)?),
            records_away_seconds: registered(
                &registry,
                Gauge::new(
                    "zongji_records_away_seconds",
                    "How long the records' database has not answered; 0 is well",
                )?,
            )?,
            start_seconds: registered(
                &registry,
                Gauge::new("zongji_start_seconds", "From the program's beginning until it took calls")?,
            )?,
            calls_taken_up: registered(
                &registry,
                IntGauge::new("zongji_calls_taken_up", "Calls that this program took up at its start")?,
            )?,
            inputs_dropped_total: counters(
                &registry,
                "zongji_inputs_dropped_total",
                "Inputs that found their queue to the switch full, by queue",
                &["queue"],
            )?,
            frames_refused_total: counters(
                &registry,
                "zongji_frames_refused_total",
                "Frames and requests of clients refused for their form, by reason",
                &["reason"],
            )?,
            seen: Arc::default(),
            registry,
        })
    }

    /// Counts one SIP message by its bytes: a request by its method, an answer by its CSeq's.
    pub fn sip_message(&self, incoming: bool, bytes: &[u8]) {
        let counters = if incoming { &self.sip_in } else { &self.sip_out };
        counters[method_index(bytes)].inc();
    }

    /// The media workers' own counts, as they stand.
    pub fn observe_media(&self, packets_in: u64, packets_out: u64, lost: u64) {
        raise(&self.rtp_in, packets_in);
        raise(&self.rtp_out, packets_out);
        raise(&self.rtp_lost_total, lost);
    }

    pub fn observe_journal(&self, counted: &JournalCounters) {
        let (journal, load) = (&self.journal, |counter: &AtomicU64| counter.load(Ordering::Relaxed));
        raise(&journal.groups_total, load(&counted.groups));
        raise(&journal.bytes_total, load(&counted.bytes));
        raise(&journal.snapshots_total, load(&counted.snapshots));
        journal.snapshot_bytes.set(i64::try_from(load(&counted.snapshot_bytes)).unwrap_or(i64::MAX));
        raise(&journal.errors_total, load(&counted.errors));
        raise(&journal.cut_groups_total, load(&counted.cut_groups));
        journal.undurable.set(i64::from(load(&counted.undurable_since) > 0));
        raise(&journal.undurable_groups_total, load(&counted.undurable_groups));
        raise(&journal.waits_total, load(&counted.waits));
        raise(&journal.lost_facts_total, load(&counted.lost_facts));
    }

    /// The recorder's own counts, as they stand.
    pub fn observe_recordings(&self, counters: &recordings::Counters) {
        self.recordings_active.set(i64::try_from(counters.active()).unwrap_or(i64::MAX));
        raise(&self.recording_bytes_total, counters.bytes());
        for reason in recordings::ErrorReason::ALL {
            raise(&self.recording_errors_total.with_label_values(&[reason.as_str()]), counters.errors(reason));
        }
    }

    /// Sets the gauges that follow the live state.
    pub fn observe_live(&self, live: &BTreeMap<TenantId, Arc<Live>>) {
        let mut calls: BTreeMap<(String, &'static str), i64> = BTreeMap::new();
        let mut agents = calls.clone();
        let mut queues: BTreeMap<(String, String), i64> = BTreeMap::new();
        let mut trunks = queues.clone();
        for (tenant, live) in live {
            for call in &live.calls {
                *calls.entry((tenant.to_string(), call_state(call.state))).or_default() += 1;
            }
            for agent in &live.agents {
                *agents.entry((tenant.to_string(), agent_state(agent.state))).or_default() += 1;
            }
            for trunk in &live.trunks {
                if let Some(registration) = &trunk.registration {
                    trunks.insert((tenant.to_string(), trunk.name.clone()), i64::from(registration.registered));
                }
            }
            for queue in &live.queues {
                queues.insert((tenant.to_string(), queue.name.to_string()), i64::from(queue.waiting));
            }
        }
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        settle(&self.calls_active, &mut seen.calls, calls);
        settle(&self.agents, &mut seen.agents, agents);
        settle(&self.queue_waiting, &mut seen.queues, queues);
        settle(&self.trunk_registered, &mut seen.trunks, trunks);
    }

    /// Prometheus text.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "the metrics could not be written out");
        }
        text
    }
}

/// Brings the figures that others count up to date.
pub type Refresh = Arc<dyn Fn(&Metrics) + Send + Sync>;

/// Serves `/metrics` until the task is dropped; what others count is brought up to date when asked for.
pub async fn serve(listener: TcpListener, metrics: Metrics, live: LiveWatch, refresh: Refresh) -> std::io::Result<()> {
    let router = Router::new().route("/metrics", get(scrape)).with_state((metrics, live, refresh));
    axum::serve(listener, router).await
}

async fn scrape(State((metrics, live, refresh)): State<(Metrics, LiveWatch, Refresh)>) -> impl IntoResponse {
    let now = live.borrow().clone();
    metrics.observe_live(&now);
    refresh(&metrics);
    ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], metrics.render())
}

impl JournalMetrics {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| registered(registry, IntCounter::new(name, help)?);
        let gauge = |name: &str, help: &str| registered(registry, IntGauge::new(name, help)?);
        Ok(Self {
            groups_total: counter("zongji_journal_groups_total", "Groups of inputs and facts written")?,
            bytes_total: counter("zongji_journal_bytes_total", "Bytes of inputs, facts and snapshots written")?,
            snapshots_total: counter("zongji_journal_snapshots_total", "Snapshots of the switch written")?,
            snapshot_bytes: gauge("zongji_journal_snapshot_bytes", "Size of the last snapshot")?,
            errors_total: counter("zongji_journal_errors_total", "Writes of the journal that failed")?,
            cut_groups_total: counter(
                "zongji_journal_cut_groups_total",
                "Groups at the journal's end that were lost or broken at the start",
            )?,
            undurable: gauge("zongji_journal_undurable", "1 while calls go on without the journal")?,
            undurable_groups_total: counter(
                "zongji_journal_undurable_groups_total",
                "Groups whose effects went out before they were on disk",
            )?,
            waits_total: counter(
                "zongji_journal_waits_total",
                "Times that the switch took no input until the journal had room",
            )?,
            lost_facts_total: counter("zongji_journal_lost_facts_total", "Facts lost because too many waited")?,
        })
    }
}

/// A counter that follows someone else's.
fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

fn settle<L: AsRef<str> + Ord + Clone>(
    gauges: &IntGaugeVec,
    seen: &mut BTreeSet<(String, L)>,
    values: BTreeMap<(String, L), i64>,
) {
    for key in seen.iter().filter(|key| !values.contains_key(*key)) {
        gauges.with_label_values(&[key.0.as_str(), key.1.as_ref()]).set(0);
    }
    for (key, value) in values {
        gauges.with_label_values(&[key.0.as_str(), key.1.as_ref()]).set(value);
        seen.insert(key);
    }
}

fn registered<C: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    registered(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    registered(registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> prometheus::Result<Histogram> {
    registered(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
}

fn method_index(bytes: &[u8]) -> usize {
    let other = METHODS.len() - 1;
    let method = if bytes.starts_with(b"SIP/") { cseq_method(bytes) } else { bytes.split(|byte| *byte == b' ').next() };
    let method = method.unwrap_or_default();
    METHODS.iter().position(|known| known.as_bytes() == method).unwrap_or(other)
}

/// The method in an answer's CSeq line, without reading the rest.
pub(crate) fn cseq_method(bytes: &[u8]) -> Option<&[u8]> {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(|line| line.trim_ascii());
    let line = lines.find(|line| line.len() > 5 && line[..5].eq_ignore_ascii_case(b"cseq:"))?;
    line.rsplit(|byte| *byte == b' ' || *byte == b'\t').next()
}

const fn call_state(state: CallState) -> &'static str {
    match state {
        CallState::Ivr => "ivr",
        CallState::Queued => "queued",
        CallState::Offering => "offering",
        CallState::Dialing => "dialing",
        CallState::Talking => "talking",
        CallState::Held => "held",
        CallState::Consulting => "consulting",
        CallState::Conference => "conference",
        CallState::Parked => "parked",
        CallState::Ended => "ended",
    }
}

const fn agent_state(state: AgentState) -> &'static str {
    match state {
        AgentState::Offline => "offline",
        AgentState::Ready => "ready",
        AgentState::Offered => "offered",
        AgentState::Talking => "talking",
        AgentState::Wrapup => "wrapup",
        AgentState::Break => "break",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cti_switch::live::QueueLive;

    fn text(metrics: &Metrics) -> String {
        String::from_utf8(metrics.render()).expect("text")
    }

    #[test]
    fn sip_messages_are_counted_by_method_and_direction() {
        let metrics = Metrics::new().expect("names are valid");
        metrics.sip_message(true, b"INVITE sip:1@h SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\n");
        metrics.sip_message(false, b"SIP/2.0 200 OK\r\nVia: x\r\ncseq:  12   BYE \r\n\r\n");
        metrics.sip_message(false, b"SIP/2.0 200 OK\r\n\r\n");
        metrics.sip_message(true, b"\0\0");
        let text = text(&metrics);
        let check = |line: &str| assert!(text.lines().any(|l| l == line), "no {line} in {text}");
        check("zongji_sip_messages_total{dir=\"in\",method=\"INVITE\"} 1");
        check("zongji_sip_messages_total{dir=\"out\",method=\"BYE\"} 1");
        check("zongji_sip_messages_total{dir=\"out\",method=\"OTHER\"} 1");
        check("zongji_sip_messages_total{dir=\"in\",method=\"OTHER\"} 1");
        check("zongji_sip_messages_total{dir=\"in\",method=\"ACK\"} 0");
    }

    #[test]
    fn a_gauge_whose_label_is_gone_is_nought() {
        let metrics = Metrics::new().expect("names are valid");
        let queue = QueueLive { waiting: 3, ..QueueLive::named("repair".into()) };
        let live = Live { queues: vec![queue], ..Live::default() };
        metrics.observe_live(&BTreeMap::from([(TenantId::from("acme"), Arc::new(live))]));
        assert!(text(&metrics).contains("zongji_queue_waiting{queue=\"repair\",tenant=\"acme\"} 3"));
        metrics.observe_live(&BTreeMap::new());
        assert!(text(&metrics).contains("zongji_queue_waiting{queue=\"repair\",tenant=\"acme\"} 0"));
    }
}
