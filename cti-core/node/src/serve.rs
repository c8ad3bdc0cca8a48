//! `zongji serve`: everything started in order, joined, and ended in order.
//!
//! The order of a start is the order of what a caller needs: SIP's sockets first, so that the kernel keeps what comes while the
//! journal is read; then the switch with its calls; and only then what calls do without, the records above all.

mod phases;
mod records;
mod signals;
mod upgrade;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent_gateway::{GatewayConfig, Hub};
use anyhow::Context;
use cti_base::Timestamp;
use cti_switch::Input;
use recordings::{Recorder, RecorderThread};
use tokio::net::UnixListener;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use zongji_sql::Store;

use crate::admin::{self, Answer, Request, Status, control};
use crate::browsers::BrowsersThread;
use crate::config::Setup;
use crate::journal::projector;
use crate::journal::take_up::{could_take_up, take_up};
use crate::journal::{self, Journal};
use crate::lookup::LookUps;
use crate::metrics::{self, LiveWatch, Metrics};
use crate::net::guard::Guard;
use crate::net::inbox::{Inbox, Pause, inbox};
use crate::net::streams::Streams;
use crate::net::tls::Tls;
use crate::switch_task::{self, Hands, Origin, Published, Ways};
use crate::wiring::{self, Sound};
use crate::{clock, data};

pub use phases::program_begins;
pub use signals::Signals;
pub use upgrade::CHECK_FLAG;

use phases::Phases;
use records::{Known, Records};
use signals::Told;
use upgrade::Program;

/// How long calls that are hung up on at the end may take to be over.
const CALLS_END_MAX: Duration = Duration::from_secs(2);
/// How long the ended program waits for the last facts and recordings to be written.
const CLOSING_TIME_MAX: Duration = Duration::from_secs(10);
/// How long an `apply` or `user` waits for records that are not there yet.
const RECORDS_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long the switch may take to stand still with all that it knows on disk.
const STANDSTILL_MAX: Duration = Duration::from_secs(5);
/// The exit code where the switch ended by itself.
const BROKE: i32 = 1;
/// Legs of the engine that is only made to see whether it can be.
const LEGS_OF_CHECK: usize = 2;
/// Upgrades that are asked for and wait.
const UPGRADES_MAX: usize = 4;

/// A server that runs. [`Server::run_until_signal`] waits for its end.
pub struct Server {
    pub http: SocketAddr,
    pub metrics_listen: SocketAddr,
    pub sip: Vec<SocketAddr>,
    pub store: Store,
    pub live: LiveWatch,
    idle: watch::Receiver<bool>,
    ready: Arc<AtomicBool>,
    inbox: Inbox,
    records: Records,
    stop: CancellationToken,
    tasks: tokio::task::JoinSet<()>,
    threads: Threads,
    hub: Hub,
    setup: Setup,
    program: Program,
    upgrades: mpsc::Receiver<Upgrade>,
    clock: clock::Keeper,
    tls: Option<Tls>,
    _lock: data::Lock,
}

/// What is waited for at the end, in this order.
struct Threads {
    switch: std::thread::JoinHandle<()>,
    journal: Journal,
    projecting: tokio::task::JoinHandle<()>,
    recorder: Recorder,
    recorder_thread: RecorderThread,
    browsers: BrowsersThread,
}

/// Someone wants this server to become `binary`; is told only where it does not.
struct Upgrade {
    binary: Option<PathBuf>,
    failed: oneshot::Sender<String>,
}

/// Runs until a signal, within the runtime that this makes.
pub fn run(setup: Setup) -> anyhow::Result<()> {
    crate::logging::start(setup.config.log.format);
    crate::runtime()?.block_on(async {
        let signals = Signals::new()?;
        let server = Server::start(setup, true).await?;
        server.announce();
        server.run_until_signal(signals, || {}).await
    })
}

/// Whether this program could serve: what [`upgrade`] asks of the next one. Reads only.
pub fn check(setup: &Setup) -> anyhow::Result<()> {
    let key = data::node_key(&setup.node_key())?;
    let listeners = wiring::configured_listeners(&setup.config);
    let engine_config = wiring::engine_config(setup, &listeners, LEGS_OF_CHECK, None);
    wiring::tls(setup)?;
    could_take_up(&setup.journal(), &key, engine_config).map_err(anyhow::Error::msg)?;
    println!("zongji {} could serve {}", env!("CARGO_PKG_VERSION"), setup.data.display());
    Ok(())
}

impl Server {
    /// Starts everything and takes calls. `first_password`: a first start makes and prints an administrator.
    pub async fn start(setup: Setup, first_password: bool) -> anyhow::Result<Self> {
        let mut phases = Phases::begin();
        // Beside everything else: they are needed as soon as the journal's tenants are read.
        drop(tokio::task::spawn_blocking(wiring::make_tables));
        let program = Program::running().context("this program's own file is not known")?;
        data::prepare(&setup.data)?;
        let lock = data::lock(&setup.data).await?;
        let key = data::node_key(&setup.node_key())?;
        phases.done("program and lock");
        let legs_max = wiring::raise_file_limit();
        let sockets = wiring::Sockets::bind(&setup).await?;
        phases.done("bind");

        let metrics = Metrics::new()?;
        let guard = Guard::default();
        let (inbox, outlet) = inbox(metrics.clone(), guard.clone());
        let stop = CancellationToken::new();
        let browsers = wiring::start_browsers(&setup, &inbox)?;
        let edge = browsers.1.edge.clone();
        let (of_sound, sounds_inbox) = (setup.clone(), inbox.clone());
        let sound = tokio::task::spawn_blocking(move || wiring::start_sound(&of_sound, &sounds_inbox, browsers));

        let mut opened = journal::open(&setup.journal(), setup.config.journal.durability, &key)?;
        phases.done("read the journal");
        let engine_config = wiring::engine_config(&setup, &sockets.listeners, legs_max, Some(edge));
        let (engine, report) = take_up(&mut opened, engine_config, wiring::seed(&key)?)?;
        let last = (report.last_at > Timestamp::default()).then_some(report.last_at);
        let begun = clock::begin(&setup.journal(), last);
        engine.registered_from().for_each(|source| guard.registered(source));
        let known: Known = engine.tenants().map(|tenant| (tenant.doc.tenant.id.clone(), tenant.clone())).collect();
        let taken_up = engine.live(begun.now).values().map(|live| live.calls.len()).sum::<usize>();
        let (appender, journal) = opened.start()?;
        phases.done("replay");

        let Sound { recorder, recorder_thread, media, browsers, browsers_thread } = sound.await??;
        let media_counters = media.counters();
        phases.done("media");

        let store = Store::open_lazily(&setup.database_url())?;
        let (progress, projecting) = projector::start(journal.clone(), store.clone(), CancellationToken::new());
        let (live_in, live) = watch::channel(Arc::new(BTreeMap::new()));
        let (idle_in, idle) = watch::channel(taken_up == 0);
        let ready = Arc::new(AtomicBool::new(false));
        let (hub, router) = agent_gateway::build(GatewayConfig {
            store: store.clone(),
            inbox: inbox.other(),
            live: live.clone(),
            recordings_root: setup.recordings(),
            tls: false,
            ready: ready.clone(),
            observers: wiring::observers(&metrics),
            bans: wiring::bans(&guard),
            audio: wiring::browser_audio(browsers),
        });
        let lookups = LookUps::new(store.clone(), inbox.clone());
        for (id, tenant) in &known {
            lookups.declare(id.clone(), tenant.country);
            guard.set_named(id.clone(), tenant.named_addresses());
        }
        let tls = sockets.tls;
        let streams = Streams::new(inbox.clone(), tls.clone(), stop.clone());
        phases.done("gateway");

        // Bound before the records are read: what is applied from here on comes by the socket.
        let path = setup.control_socket();
        let control = control::bind(&path).with_context(|| format!("{} can not be made", path.display()))?;
        let records = Records {
            store: store.clone(),
            inbox: inbox.clone(),
            lookups: lookups.clone(),
            guard: guard.clone(),
            first_password,
        };
        // Nobody is known yet: before the switch takes its first input and anyone can connect, or a call or a desk that
        // came first would be nobody's.
        if known.is_empty() {
            records.once(&setup, &known).await?;
            phases.done("records");
        }

        let hands = Hands {
            streams: streams.clone(),
            guard: guard.clone(),
            media,
            hub: hub.clone(),
            lookups,
            metrics: metrics.clone(),
        };
        let sip = sockets.listeners.iter().map(|(_, address)| *address).collect();
        let published = Published { live: live_in, idle: idle_in };
        let ways = Ways { sockets: sockets.udp, inbox: inbox.clone(), outlet };
        let origin = Origin { engine, journal: appender, taken_up: !report.is_new };
        let switch = switch_task::spawn(origin, ways, hands, published, stop.clone())
            .context("the switch's thread could not start")?;
        ready.store(true, Ordering::Release);
        phases.done("switch");
        let away = begun.alive.map_or(Duration::ZERO, |alive| clock::now().since(alive));

        let mut tasks = tokio::task::JoinSet::new();
        for (transport, listener) in sockets.streams {
            let streams = streams.clone();
            tasks.spawn(async move { end_logged("SIP over a stream", streams.listen(transport, listener).await) });
        }
        if let Some(tls) = &tls {
            tasks.spawn(tls.clone().watch(stop.clone()));
        }
        let (http, metrics_listen) = (sockets.http.local_addr()?, sockets.metrics.local_addr()?);
        let refresh = wiring::refresher(media_counters, &recorder, progress, store.clone(), guard);
        let scraped = metrics::serve(sockets.metrics, metrics.clone(), live.clone(), refresh);
        tasks.spawn(async move { end_logged("the metrics", scraped.await) });
        let served = agent_gateway::serve(sockets.http, router, stop.clone().cancelled_owned());
        tasks.spawn(async move { end_logged("HTTP", served.await) });

        let threads = Threads { switch, projecting, journal, recorder, recorder_thread, browsers: browsers_thread };
        let idle_now = idle.clone();
        let clock = clock::Keeper::start(&setup.journal(), move || *idle_now.borrow()).context("the clock's mark")?;
        let (upgrades_in, upgrades) = mpsc::channel(UPGRADES_MAX);
        let mut server = Self {
            http,
            metrics_listen,
            sip,
            store,
            live,
            idle,
            ready,
            inbox,
            records,
            stop,
            tasks,
            threads,
            hub,
            setup,
            program,
            upgrades,
            clock,
            tls,
            _lock: lock,
        };
        phases.done("the rest");
        metrics.start_seconds.set(phases.total().as_secs_f64());
        metrics.calls_taken_up.set(i64::try_from(taken_up).unwrap_or(i64::MAX));
        tracing::info!(
            calls = taken_up,
            away_ms = away.as_millis() as u64,
            clock = begun.reckoned.as_str(),
            "taken up {taken_up} calls in {} ms: {phases}",
            phases.total().as_millis()
        );
        let mut instance = [0u8; 8];
        data::random(&mut instance)?;
        let status = Status {
            instance: hex::encode(instance),
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            taken_up: taken_up as u64,
            away_ms: away.as_millis() as u64,
            start_ms: phases.total().as_millis() as u64,
        };
        server.answer(control, known, status, upgrades_in);
        Ok(server)
    }

    /// Answers on the control socket, and brings up the records where they are not there yet.
    fn answer(&mut self, control: UnixListener, known: Known, status: Status, upgrades: mpsc::Sender<Upgrade>) {
        // Two applies of one tenant at once would each compare with what the other is about to replace.
        let one_at_a_time: Arc<Mutex<()>> = Arc::default();
        if !known.is_empty() {
            let (records, setup, turn) = (self.records.clone(), self.setup.clone(), one_at_a_time.clone());
            self.tasks.spawn(async move {
                let _turn = turn.lock().await;
                records.until_done(&setup, &known).await;
            });
        }
        let records = self.records.clone();
        self.tasks.spawn(control::serve(control, move |request| {
            let (records, one_at_a_time) = (records.clone(), one_at_a_time.clone());
            let (status, upgrades) = (status.clone(), upgrades.clone());
            async move {
                match request {
                    Request::Status => Ok(Answer::Status(status)),
                    Request::Upgrade { binary } => Err(upgrade_asked(&upgrades, binary).await),
                    request => carry_out(&records, one_at_a_time, request).await,
                }
            }
        }));
    }

    /// Does in this process what the control socket does.
    pub async fn ask(&self, request: Request) -> Result<Answer, String> {
        carry_out(&self.records, Arc::default(), request).await
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
    /// is done first, off the runtime's threads. SIGUSR2 or `zongji upgrade` before that makes it another program.
    pub async fn run_until_signal(
        mut self,
        mut signals: Signals,
        at_signal: impl FnOnce() + Send + 'static,
    ) -> anyhow::Result<()> {
        let broke = loop {
            tokio::select! {
                () = self.stop.cancelled() => break true,
                told = signals.next() => match told {
                    Told::End => break false,
                    Told::Upgrade => {
                        let failed = self.become_another(None).await;
                        tracing::error!(error = failed, "not upgraded: this program goes on");
                    }
                    Told::Reload => {
                        if let Some(tls) = &self.tls {
                            tls.reload();
                        }
                    }
                },
                Some(Upgrade { binary, failed }) = self.upgrades.recv() => {
                    let error = self.become_another(binary).await;
                    tracing::error!(error, "not upgraded: this program goes on");
                    // Whoever asked may be gone.
                    let _ = failed.send(error);
                }
            }
        };
        if broke {
            // Like any crash: what an orderly end would hang up on and seal, the next process takes up.
            tracing::error!("the switch's thread ended by itself: the program ends with it");
            std::process::exit(BROKE);
        }
        self.ready.store(false, Ordering::Release);
        self.upgrades.close();
        self.inbox.send(Input::Drain).await;
        if tokio::task::spawn_blocking(at_signal).await.is_err() {
            tracing::error!("what was to be done at the end ended by a panic");
        }
        let drain_s = self.setup.config.node.drain_s;
        tracing::info!(drain_s, "no new calls; waiting for those in progress");
        let drained = self.idle.wait_for(|idle| *idle);
        tokio::select! {
            _ = tokio::time::timeout(Duration::from_secs(drain_s), drained) => {}
            () = signals.end() => tracing::info!("a second signal: ending at once"),
            () = self.stop.cancelled() => {}
        }
        self.close().await;
        Ok(())
    }

    /// Becomes `binary`, or the own file as it is by now. Returns only where that fails, with the reason: all is as before.
    async fn become_another(&self, binary: Option<PathBuf>) -> String {
        let next = self.program.becomes(binary);
        let version = match next.look().await {
            Ok(version) => version,
            Err(error) => return error,
        };
        tracing::info!(version, file = %next.file().display(), "becoming another program: the switch stands still");
        let (still, stands) = oneshot::channel();
        let (go_on, held) = oneshot::channel();
        if !self.inbox.pause(Pause { still, go_on: held }).await {
            return "the switch has ended".into();
        }
        let error = match tokio::time::timeout(STANDSTILL_MAX, stands).await {
            Ok(Ok(())) => {
                self.clock.mark();
                format!("{} can not be run: {}", next.file().display(), next.exec())
            }
            Ok(Err(_)) | Err(_) => "the journal did not take the switch's state in time: see the log".into(),
        };
        drop(go_on);
        error
    }

    /// Ends the calls that are left, writes what has happened, and lets go of everything.
    async fn close(mut self) {
        self.hub.close_all();
        self.inbox.send(Input::Close).await;
        let ended = tokio::time::timeout(CALLS_END_MAX, self.idle.wait_for(|idle| *idle)).await.is_ok();
        if !ended {
            tracing::error!(limit_s = CALLS_END_MAX.as_secs(), "the last calls did not end in time");
        }
        let Threads { switch, journal, projecting, recorder, recorder_thread, browsers } = self.threads;
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
            if tokio::task::spawn_blocking(move || drop(browsers)).await.is_err() {
                tracing::error!("the browsers' audio ended by a panic");
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

/// What an asked-for upgrade failed by; where it succeeds, this process is another before there is an answer.
async fn upgrade_asked(upgrades: &mpsc::Sender<Upgrade>, binary: Option<PathBuf>) -> String {
    let (failed, error) = oneshot::channel();
    let asked = upgrades.send(Upgrade { binary, failed }).await;
    let ending = || "this server is ending".to_owned();
    if asked.is_err() { ending() } else { error.await.unwrap_or_else(|_| ending()) }
}

async fn carry_out(records: &Records, one_at_a_time: Arc<Mutex<()>>, request: Request) -> Result<Answer, String> {
    if tokio::time::timeout(RECORDS_WAIT_MAX, records.store.until_ready()).await.is_err() {
        return Err("the records' database is away: see the server's log, and try again when it is back".into());
    }
    let _turn = one_at_a_time.lock().await;
    let done = admin::carry_out(&records.store, request).await?;
    for tenant in done.declared {
        records.declare(tenant).await;
    }
    Ok(done.answer)
}

fn end_logged(what: &str, ended: std::io::Result<()>) {
    if let Err(error) = ended {
        tracing::error!(%error, "{what} can not be served any more");
    }
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
