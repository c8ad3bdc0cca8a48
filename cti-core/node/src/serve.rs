//! `zongji serve`: everything started in order, joined, and ended in order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent_gateway::{GatewayConfig, Hub};
use anyhow::{Context, anyhow, bail};
use cti_switch::Input;
use cti_switch::config::Tenant;
use cti_switch::limits::TENANTS_MAX;
use recordings::{Recorder, RecorderThread};
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use zongji_sql::Store;

use crate::admin::{self, Answer, Request, control};
use crate::config::Setup;
use crate::journal::projector;
use crate::journal::take_up::take_up;
use crate::journal::{self, Journal};
use crate::lookup::LookUps;
use crate::metrics::{self, LiveWatch, Metrics};
use crate::net::inbox::{Inbox, inbox};
use crate::net::tcp::Tcp;
use crate::switch_task::{self, Hands, Published, Ways};
use crate::{data, wiring};

/// How long calls that are hung up on at the end may take to be over.
const CALLS_END_MAX: Duration = Duration::from_secs(2);
/// How long the ended program waits for the last facts and recordings to be written.
const CLOSING_TIME_MAX: Duration = Duration::from_secs(10);

/// A server that runs. `run` waits for its end.
pub struct Server {
    pub http: SocketAddr,
    pub metrics_listen: SocketAddr,
    pub sip: Vec<SocketAddr>,
    pub store: Store,
    pub live: LiveWatch,
    drain_s: u64,
    idle: watch::Receiver<bool>,
    ready: Arc<AtomicBool>,
    inbox: Inbox,
    lookups: LookUps,
    stop: CancellationToken,
    tasks: tokio::task::JoinSet<()>,
    threads: Threads,
    hub: Hub,
    setup: Setup,
    _lock: data::Lock,
}

/// What is waited for at the end, in this order.
struct Threads {
    switch: std::thread::JoinHandle<()>,
    journal: Journal,
    projecting: tokio::task::JoinHandle<()>,
    recorder: Recorder,
    recorder_thread: RecorderThread,
}

/// Runs until a signal, within the runtime that this makes.
pub fn run(setup: Setup) -> anyhow::Result<()> {
    crate::logging::start(setup.config.log.format);
    crate::runtime()?.block_on(async {
        let server = Server::start(setup, true).await?;
        server.announce();
        server.run_until_signal(|| {}).await
    })
}

impl Server {
    /// Starts everything and takes calls. `first_password`: a first start makes and prints an administrator.
    pub async fn start(setup: Setup, first_password: bool) -> anyhow::Result<Self> {
        data::prepare(&setup.data)?;
        let lock = data::lock(&setup.data)?;
        let key = data::node_key(&setup.node_key())?;
        let legs_max = wiring::raise_file_limit();
        let sockets = wiring::Sockets::bind(&setup).await?;

        let metrics = Metrics::new()?;
        let store = Store::connect(&setup.database_url()).await.with_context(|| {
            format!("the database {} can not be opened", wiring::without_password(&setup.database_url()))
        })?;
        if first_password
            && let Some((name, password)) = admin::first_administrator(&store).await.map_err(|e| anyhow!(e))?
        {
            println!("First start: sign in as tenant `system`, user `{name}`, password `{password}`.");
            println!("It is shown this once; change it with `zongji user passwd --tenant system --name {name}`.");
        }
        let (inbox, outlet) = inbox(metrics.clone());
        let stop = CancellationToken::new();
        let (recorder, recorder_thread) = wiring::start_recorder(&setup, &inbox)?;
        let media = wiring::start_media(&setup, recorder.clone(), &inbox)?;
        let media_counters = media.counters();
        let mut opened = journal::open(&setup.journal(), setup.config.journal.durability, &key)?;
        let engine_config = wiring::engine_config(&setup, &sockets, legs_max);
        let (engine, taken_up) = take_up(&mut opened, engine_config, wiring::seed(&key)?)?;
        let (appender, journal) = opened.start()?;
        let (progress, projecting) = projector::start(journal.clone(), store.clone(), CancellationToken::new());

        let (live_in, live) = watch::channel(Arc::new(BTreeMap::new()));
        let (idle_in, idle) = watch::channel(true);
        let ready = Arc::new(AtomicBool::new(false));
        let (hub, router) = agent_gateway::build(GatewayConfig {
            store: store.clone(),
            inbox: inbox.other(),
            live: live.clone(),
            recordings_root: setup.recordings(),
            tls: false,
            ready: ready.clone(),
            observers: wiring::observers(&metrics),
        })
        .context("the gateway could not start")?;
        let lookups = LookUps::new(store.clone(), inbox.clone());
        let tcp = Tcp::new(inbox.clone(), stop.clone());

        // Bound before the records are read: what is applied from here on comes by the socket.
        let path = setup.control_socket();
        let control = control::bind(&path).with_context(|| format!("{} can not be made", path.display()))?;
        // Before the switch takes its first input and anyone can connect: a call or a desk that came first would be nobody's.
        let tenants = admin::stored_tenants(&store).await.map_err(|error| anyhow!(error))?;
        if tenants.len() > TENANTS_MAX {
            bail!("the records hold {} tenants; one node serves at most {TENANTS_MAX}", tenants.len());
        }
        if !taken_up.is_new {
            inbox.send(Input::Restarted).await;
        }
        for tenant in tenants {
            declare(&inbox, &lookups, tenant).await;
        }

        let hands =
            Hands { tcp: tcp.clone(), media, hub: hub.clone(), lookups: lookups.clone(), metrics: metrics.clone() };
        let sip = sockets.listeners.iter().map(|(_, address)| *address).collect();
        let published = Published { live: live_in, idle: idle_in };
        let ways = Ways { sockets: sockets.udp, inbox: inbox.clone(), outlet };
        let switch = switch_task::spawn(engine, appender, ways, hands, published, stop.clone())
            .context("the switch's thread could not start")?;

        let mut tasks = tokio::task::JoinSet::new();
        for listener in sockets.tcp {
            let tcp = tcp.clone();
            tasks.spawn(async move { end_logged("SIP over TCP", tcp.listen(listener).await) });
        }
        let (http, metrics_listen) = (sockets.http.local_addr()?, sockets.metrics.local_addr()?);
        let refresh = wiring::refresher(media_counters, &recorder, progress);
        let scraped = metrics::serve(sockets.metrics, metrics, live.clone(), refresh);
        tasks.spawn(async move { end_logged("the metrics", scraped.await) });
        let served = agent_gateway::serve(sockets.http, router, stop.clone().cancelled_owned());
        tasks.spawn(async move { end_logged("HTTP", served.await) });

        let threads = Threads { switch, projecting, journal, recorder, recorder_thread };
        let server = Self {
            http,
            metrics_listen,
            sip,
            store,
            live,
            drain_s: setup.config.node.drain_s,
            idle,
            ready,
            inbox,
            lookups,
            stop,
            tasks,
            threads,
            hub,
            setup,
            _lock: lock,
        };
        Ok(server.begin(control))
    }

    /// Answers on the control socket, and is ready.
    fn begin(mut self, control: UnixListener) -> Self {
        let (store, inbox, lookups) = (self.store.clone(), self.inbox.clone(), self.lookups.clone());
        // Two applies of one tenant at once would each compare with what the other is about to replace.
        let one_at_a_time = Arc::new(tokio::sync::Mutex::new(()));
        self.tasks.spawn(control::serve(control, move |request| {
            carry_out(store.clone(), inbox.clone(), lookups.clone(), one_at_a_time.clone(), request)
        }));
        self.ready.store(true, Ordering::Release);
        self
    }

    /// Does in this process what the control socket does.
    pub async fn ask(&self, request: Request) -> Result<Answer, String> {
        let alone = Arc::default();
        carry_out(self.store.clone(), self.inbox.clone(), self.lookups.clone(), alone, request).await
    }

    fn announce(&self) {
        let sip: Vec<String> = self.setup.config.sip.udp.iter().map(ToString::to_string).collect();
        println!(
            "HTTP on http://{}, SIP on {}, metrics on http://{}/metrics",
            self.http,
            sip.join(", "),
            self.metrics_listen
        );
    }

    /// Waits for SIGTERM or SIGINT, lets calls end for the drain time, and ends. A second signal ends at once. `at_signal`
    /// is done first, off the runtime's threads.
    pub async fn run_until_signal(mut self, at_signal: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
        let mut signals = Signals::new()?;
        let broke = tokio::select! {
            () = signals.next() => false,
            () = self.stop.cancelled() => true,
        };
        self.ready.store(false, Ordering::Release);
        if !broke {
            self.inbox.send(Input::Drain).await;
            if tokio::task::spawn_blocking(at_signal).await.is_err() {
                tracing::error!("what was to be done at the end ended by a panic");
            }
            let drain = Duration::from_secs(self.drain_s);
            tracing::info!(drain_s = self.drain_s, "no new calls; waiting for those in progress");
            tokio::select! {
                _ = tokio::time::timeout(drain, self.idle.wait_for(|idle| *idle)) => {}
                () = signals.next() => tracing::info!("a second signal: ending at once"),
                () = self.stop.cancelled() => {}
            }
        }
        self.close().await;
        if broke { Err(anyhow!("the switch's thread ended by itself: see the log")) } else { Ok(()) }
    }

    /// Ends the calls that are left, writes what has happened, and lets go of everything.
    async fn close(mut self) {
        self.hub.close_all();
        self.inbox.send(Input::Close).await;
        let ended = tokio::time::timeout(CALLS_END_MAX, self.idle.wait_for(|idle| *idle)).await.is_ok();
        if !ended {
            tracing::error!(limit_s = CALLS_END_MAX.as_secs(), "the last calls did not end in time");
        }
        let Threads { switch, journal, projecting, recorder, recorder_thread } = self.threads;
        let (mut tasks, stop) = (self.tasks, self.stop);
        let closing = async move {
            // The recorder first: what it seals becomes a fact while the switch lives.
            if recorder.close().is_err() {
                tracing::error!(
                    "the recorder is too busy to be closed: the last recordings are playable but have no seal"
                );
            } else if tokio::task::spawn_blocking(move || recorder_thread.join()).await.is_err() {
                tracing::error!("the recorder ended by a panic");
            }
            stop.cancel();
            let ended = tokio::task::spawn_blocking(move || switch.join().is_ok()).await;
            if !matches!(ended, Ok(true)) {
                tracing::error!("the switch's thread ended by a panic");
            }
            journal.drained().await;
            if projecting.await.is_err() {
                tracing::error!("the projector ended by a panic: history goes on from where it is at the next start");
            }
            tasks.shutdown().await;
        };
        if tokio::time::timeout(CLOSING_TIME_MAX, closing).await.is_err() {
            tracing::error!(limit_s = CLOSING_TIME_MAX.as_secs(), "not everything was written in time");
        }
        self.store.close().await;
        // Left behind, it is replaced at the next start.
        let _gone = std::fs::remove_file(self.setup.control_socket());
    }
}

async fn declare(inbox: &Inbox, lookups: &LookUps, tenant: Arc<Tenant>) {
    lookups.declare(tenant.doc.tenant.id.clone(), tenant.country).await;
    inbox.send(Input::Declare(tenant)).await;
}

async fn carry_out(
    store: Store,
    inbox: Inbox,
    lookups: LookUps,
    one_at_a_time: Arc<tokio::sync::Mutex<()>>,
    request: Request,
) -> Result<Answer, String> {
    let _turn = one_at_a_time.lock().await;
    let done = admin::carry_out(&store, request).await?;
    for tenant in done.declared {
        declare(&inbox, &lookups, tenant).await;
    }
    Ok(done.answer)
}

/// SIGTERM and SIGINT alike.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn end_logged(what: &str, ended: std::io::Result<()>) {
    if let Err(error) = ended {
        tracing::error!(%error, "{what} can not be served any more");
    }
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
