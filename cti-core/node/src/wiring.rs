//! What the shells are made of and how they are joined: sockets, engine, recorder, media workers, and who counts what.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_gateway::{Bans, BrowserAudio, Observers};
use anyhow::Context;
use cti_base::{Country, E164};
use cti_media::MediaEvent;
use cti_media::webrtc::Edge;
use cti_sip::{DigestPolicy, EndpointConfig, Transport};
use cti_switch::{EngineConfig, Input};
use recordings::{Recorder, RecorderThread, StoreConfig};
use tokio::net::TcpListener;
use zongji_sql::Store;

use crate::browsers::{self, BrowserEvent, Browsers, BrowsersThread, Who};
use crate::config::{Digest, NodeConfig, REALM, Setup};
use crate::journal::projector::Progress;
use crate::media_worker::{MediaConfig, MediaCounters, MediaWorkers, PromptLibrary};
use crate::metrics::{self, Metrics};
use crate::net::guard::Guard;
use crate::net::inbox::Inbox;
use crate::net::tls::{Tls, TlsFiles};
use crate::net::{local_ip, outward_ip, outward_ip6, streams, udp};
use crate::{clock, data};

/// Files that are open beside the legs' sockets: database, recordings, browsers.
const FILES_BESIDE_LEGS: u64 = 2_048;
/// How long an address may still be held by a process that is being killed.
const BIND_MAX: Duration = Duration::from_secs(2);
const BIND_AGAIN: Duration = Duration::from_millis(10);
/// A leg has a socket for RTP and one for RTCP; its recording's file is counted half to each leg.
const FILES_PER_LEG: u64 = 3;
/// Legs are never more than this, whatever the system allows.
const LEGS_MAX: u64 = 20_000;
/// When broken-off recordings that no call asked for are looked for: long after the calls of before were taken up.
const UNCLAIMED_AFTER: Duration = Duration::from_secs(30);
const REGISTRATIONS_MAX: usize = 50_000;
/// SIP transactions for each leg that may live: INVITE, its answer's, re-INVITE, BYE.
const TRANSACTIONS_PER_LEG: usize = 8;

/// Everything bound before anything starts, so that a port in use is told at once.
pub struct Sockets {
    pub listeners: Vec<(Transport, SocketAddr)>,
    pub udp: Vec<udp::Bound>,
    pub streams: Vec<(Transport, std::net::TcpListener)>,
    /// What is shown over TLS, where anything is.
    pub tls: Option<Tls>,
    pub http: TcpListener,
    pub metrics: TcpListener,
}

impl Sockets {
    /// Binds all of it, or tells which address is taken.
    pub async fn bind(setup: &Setup) -> anyhow::Result<Self> {
        let config = &setup.config;
        let taken = |what: &str, address: &SocketAddr| format!("{what} {address} can not be listened on");
        let mut listeners = Vec::new();
        let (mut udp, mut of_streams) = (Vec::new(), Vec::new());
        let tls = tls(setup)?;
        for listen in &config.sip.udp {
            let bound = patiently(|| udp::bind(*listen)).await.with_context(|| taken("[sip] udp", listen))?;
            listeners.push((Transport::Udp, bound.local));
            udp.push(bound);
        }
        for (name, transport, listen) in stream_listeners(config) {
            let what = format!("[sip] {name}");
            let bound = patiently(|| streams::bind(listen)).await.with_context(|| taken(&what, &listen))?;
            listeners.push((transport, bound.local_addr()?));
            of_streams.push((transport, bound));
        }
        let (http, metrics) = (&config.http.listen, &config.metrics.listen);
        let http_bound = patiently(|| streams::bind(*http)).await.with_context(|| taken("[http] listen", http))?;
        let metrics_bound =
            patiently(|| streams::bind(*metrics)).await.with_context(|| taken("[metrics] listen", metrics))?;
        let (http, metrics) = (TcpListener::from_std(http_bound)?, TcpListener::from_std(metrics_bound)?);
        Ok(Self { listeners, udp, streams: of_streams, tls, http, metrics })
    }
}

/// Every stream to be listened on, with its key in `[sip]`.
fn stream_listeners(config: &NodeConfig) -> impl Iterator<Item = (&'static str, Transport, SocketAddr)> {
    let sip = &config.sip;
    let kinds = [
        ("tcp", Transport::Tcp, &sip.tcp),
        ("tls", Transport::Tls, &sip.tls),
        ("ws", Transport::Ws, &sip.ws),
        ("wss", Transport::Wss, &sip.wss),
    ];
    kinds.into_iter().flat_map(|(name, transport, list)| list.iter().map(move |listen| (name, transport, *listen)))
}

/// The certificate, where one is named.
pub fn tls(setup: &Setup) -> anyhow::Result<Option<Tls>> {
    let sip = &setup.config.sip;
    let (Some(cert), Some(key)) = (sip.tls_cert.clone(), sip.tls_key.clone()) else { return Ok(None) };
    Tls::new(TlsFiles { cert, key, ca: sip.tls_ca.clone() }).context("[sip] tls_cert, tls_key, tls_ca").map(Some)
}

/// Tries again for [`BIND_MAX`] where the address is taken.
async fn patiently<T>(bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let until = Instant::now() + BIND_MAX;
    loop {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < until => {
                tokio::time::sleep(BIND_AGAIN).await;
            }
            done => return done,
        }
    }
}

/// Raises the soft limit of open files to the hard one; the number of legs that it has room for.
pub fn raise_file_limit() -> usize {
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|error| {
        tracing::warn!(%error, "the limit of open files could not be raised");
        rlimit::Resource::NOFILE.get_soft().unwrap_or(FILES_BESIDE_LEGS)
    });
    let legs = (files.saturating_sub(FILES_BESIDE_LEGS) / FILES_PER_LEG).clamp(2, LEGS_MAX);
    tracing::info!(files, legs, "open files and the legs they have room for");
    legs as usize
}

/// SIP's listeners as the configuration has them, nothing bound.
pub fn configured_listeners(config: &NodeConfig) -> Vec<(Transport, SocketAddr)> {
    let udp = config.sip.udp.iter().map(|listen| (Transport::Udp, *listen));
    udp.chain(stream_listeners(config).map(|(_, transport, listen)| (transport, listen))).collect()
}

/// `browsers`: where they reach this process, which is known once it listens to them.
pub fn engine_config(
    setup: &Setup,
    listeners: &[(Transport, SocketAddr)],
    legs_max: usize,
    browsers: Option<Edge>,
) -> EngineConfig {
    let config = &setup.config;
    let listening: Vec<SocketAddr> = listeners.iter().map(|(_, address)| *address).collect();
    let own = if listening.is_empty() { outward_ip() } else { local_ip(&listening) };
    EngineConfig {
        sip: EndpointConfig {
            listeners: listeners.to_vec(),
            advertised: config.sip.advertised,
            local_ip: own,
            local_ip6: outward_ip6(),
            digest: match config.sip.digest {
                Digest::Md5 => DigestPolicy::Md5,
                Digest::Sha256 => DigestPolicy::Sha256,
                Digest::Both => DigestPolicy::Both,
            },
            realm: REALM.to_owned(),
            user_agent: format!("zongji/{}", env!("CARGO_PKG_VERSION")),
            sessions_max: legs_max,
            transactions_max: legs_max * TRANSACTIONS_PER_LEG,
            registrations_max: REGISTRATIONS_MAX,
        },
        media_ip: config.media.advertised.or(config.sip.advertised).unwrap_or(own),
        media_loopback: media_bind_ip(setup).is_unspecified()
            && config.media.advertised.or(config.sip.advertised).is_none(),
        rtp_ports: config.media.rtp_ports.0.clone(),
        legs_max,
        browsers,
    }
}

/// A new seed each start: ids and tags must not come again.
pub fn seed(key: &[u8; data::NODE_KEY_BYTES]) -> anyhow::Result<[u8; 32]> {
    let mut seed = [0u8; 32];
    data::random(&mut seed)?;
    for (byte, key) in seed.iter_mut().zip(key) {
        *byte ^= key;
    }
    Ok(seed)
}

/// The tables of numbering plans, which the first number that is looked at would else wait for: a tenth of a second of a core.
pub fn make_tables() {
    let _no_number = Country::parse("CN").and_then(|country| E164::parse("10000000000", country));
}

/// What has to do with sound.
pub struct Sound {
    pub recorder: Recorder,
    pub recorder_thread: RecorderThread,
    pub media: MediaWorkers,
    pub browsers: Browsers,
    pub browsers_thread: BrowsersThread,
}

/// Reads the prompts and starts the threads: tens of milliseconds.
pub fn start_sound(
    setup: &Setup,
    inbox: &Inbox,
    (browsers, browsers_thread): (Browsers, BrowsersThread),
) -> anyhow::Result<Sound> {
    let (recorder, recorder_thread) = start_recorder(setup, inbox)?;
    let media = start_media(setup, recorder.clone(), inbox, browsers.clone())?;
    Ok(Sound { recorder, recorder_thread, media, browsers, browsers_thread })
}

/// All browsers' port. One that is taken is told and another found: telephones go on without browsers' firewalls in mind.
pub fn start_browsers(setup: &Setup, inbox: &Inbox) -> anyhow::Result<(Browsers, BrowsersThread)> {
    let start = |port: u16| {
        let inbox = inbox.clone();
        Browsers::start(&browsers_addresses(setup, port), move |event| {
            let desk = |Who { tenant, agent }, up| Input::Browser { tenant, agent, up };
            inbox.send_blocking(match event {
                BrowserEvent::Up(who) => desk(who, true),
                BrowserEvent::Down(who) => desk(who, false),
                BrowserEvent::Gone(leg) => Input::Media(MediaEvent::Gone { leg }),
            });
        })
    };
    let port = setup.config.media.browser_port;
    let started = start(port).or_else(|error| {
        if error.kind() != io::ErrorKind::AddrInUse || port == 0 {
            return Err(error);
        }
        tracing::warn!(port, "[media] browser_port is taken: browsers are told another");
        start(0)
    });
    started.context("the browsers' audio could not start")
}

/// Where browsers reach us. Behind a translator of addresses everything is bound and the outer address told; else our own is,
/// and the loopback one for browsers on this machine.
fn browsers_addresses(setup: &Setup, port: u16) -> Vec<browsers::Listen> {
    let bind = media_bind_ip(setup);
    let listen = |ip: IpAddr, told| browsers::Listen { bind: SocketAddr::new(ip, port), told };
    match setup.config.media.advertised.or(setup.config.sip.advertised) {
        Some(advertised) => vec![listen(bind, Some(advertised))],
        None if bind.is_unspecified() => {
            let (own, loopback) = (outward_ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
            let ours = (!own.is_loopback()).then_some(own);
            ours.into_iter().chain([loopback]).map(|ip| listen(ip, None)).collect()
        }
        None => vec![listen(bind, None)],
    }
}

/// The gateway's way to the browsers' audio.
pub fn browser_audio(browsers: Browsers) -> BrowserAudio {
    let closing = browsers.clone();
    BrowserAudio {
        offer: Arc::new(move |tenant, agent, sdp| {
            let (answer, waits) = tokio::sync::oneshot::channel();
            let reply = move |answered: Result<String, browsers::OfferError>| {
                // Whoever asked may be gone.
                let _ = answer.send(answered.map_err(|error| error.to_string()));
            };
            browsers.offer(Who { tenant, agent }, sdp, Box::new(reply));
            waits
        }),
        close: Arc::new(move |tenant, agent| closing.close(Who { tenant, agent })),
    }
}

fn start_recorder(setup: &Setup, inbox: &Inbox) -> anyhow::Result<(Recorder, RecorderThread)> {
    let inbox = inbox.clone();
    let root = setup.recordings();
    let told = format!("the recordings' folder {} can not be used", root.display());
    let tell = move |event| {
        inbox.send_blocking(Input::Media(event));
    };
    let (recorder, thread) = Recorder::start(StoreConfig { root }, tell).context(told)?;
    recorder.search_unclaimed(UNCLAIMED_AFTER);
    Ok((recorder, thread))
}

fn start_media(setup: &Setup, recorder: Recorder, inbox: &Inbox, browsers: Browsers) -> anyhow::Result<MediaWorkers> {
    let config = MediaConfig {
        ip: media_bind_ip(setup),
        workers: setup.config.media.workers,
        rtp_timeout: Duration::from_secs(setup.config.media.rtp_timeout_s),
        browsers: Some(browsers),
    };
    let named = |(locale, name, wav): &(&str, &str, &'static [u8])| (format!("{locale}/{name}.wav"), *wav);
    let shipped = ivr_scripts::shipped::PROMPTS.iter().map(named);
    let prompts = PromptLibrary::from_files(shipped).context("the prompts")?;
    let inbox = inbox.clone();
    let tell = move |event| {
        inbox
            .offer(Input::Media(event))
            .or_else(|input| if let Input::Media(event) = input { Err(event) } else { Ok(()) })
    };
    MediaWorkers::start(config, Arc::new(prompts), recorder, tell).context("the media workers could not start")
}

/// Where RTP is bound: everywhere, unless all of SIP is on one address.
fn media_bind_ip(setup: &Setup) -> IpAddr {
    let mut listeners = configured_listeners(&setup.config).into_iter().map(|(_, listener)| listener.ip());
    let wildcard = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let first = listeners.next().unwrap_or(wildcard);
    if listeners.all(|ip| ip == first) { first } else { wildcard }
}

pub fn observers(metrics: &Metrics) -> Observers {
    let (pop, refused) = (metrics.pop_seconds.clone(), metrics.frames_refused_total.clone());
    Observers {
        pop: Arc::new(move |took| pop.observe(took.as_secs_f64())),
        frame_refused: Arc::new(move |reason| refused.with_label_values(&[reason]).inc()),
    }
}

/// The guard as the API asks it.
pub fn bans(guard: &Guard) -> Bans {
    let (of_list, of_lift) = (guard.clone(), guard.clone());
    Bans { list: Arc::new(move || of_list.list()), lift: Arc::new(move |id| of_lift.lift(id)) }
}

/// Brings the figures that others count up to date when they are asked for.
pub fn refresher(
    media: Arc<MediaCounters>,
    recorder: &Recorder,
    progress: Progress,
    store: Store,
    guard: Guard,
) -> metrics::Refresh {
    let recordings = recorder.counters();
    Arc::new(move |metrics: &Metrics| {
        metrics.observe_media(media.packets_in(), media.packets_out(), media.lost());
        metrics.observe_recordings(&recordings);
        metrics.journal_lag_seconds.set(progress.lag_seconds(clock::now()));
        metrics.observe_journal(progress.journal());
        metrics.sip_bans.set(i64::try_from(guard.list().len()).unwrap_or(i64::MAX));
        metrics.records_away_seconds.set(store.away().unwrap_or_default().as_secs_f64());
    })
}

/// A database's URL as it may be shown.
pub fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => format!("{scheme}://...@{place}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_databases_password_is_not_shown() {
        assert_eq!(without_password("postgres://u:secret@h/db"), "postgres://...@h/db");
        assert_eq!(without_password("sqlite:/d/zongji.db"), "sqlite:/d/zongji.db");
    }
}
