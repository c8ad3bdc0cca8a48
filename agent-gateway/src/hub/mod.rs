//! The desks of all agents: each agent's view, its numbered events, its sockets and its commands.
//!
//! The switch's side ([`Hub::deliver`], [`Hub::offer`], [`Hub::reply`]) never waits and may be called from any thread.

mod agent_desk;
mod callbacks;
mod commands;
pub(crate) mod live;
mod log;
mod shown;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::ws::Utf8Bytes;
use cti_base::{AgentName, TenantId};
use cti_switch::desk::{self, AgentView, Nack, NackCode, OfferCreated};
use cti_switch::live::Live;
use cti_switch::{CommandId, Input, Presence};
use dashmap::DashMap;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use zongji_sql::sessions::TokenHash;

#[cfg(test)]
pub(crate) use agent_desk::DeskState;
pub(crate) use agent_desk::{Closer, Desk, Joined, Outgoing, encode};
pub use commands::SocketId;
pub use view::{DRAFTS_MAX, View};

use crate::audio::BrowserAudio;
use crate::protocol::{Ack, CloseCode, Draft, Event, GatewayEvent, Hello, NackFrame, ServerControl};
use commands::Begin;
use shown::Shown;

/// The current state of every tenant, as the node publishes it.
pub type LiveWatch = watch::Receiver<Arc<BTreeMap<TenantId, Arc<Live>>>>;

/// A command waits this long for a place in the switch's inbox, then is refused as `busy`.
const INBOX_WAIT: Duration = Duration::from_secs(2);
/// The first desk of an agent since the start waits this long for the switch to say how things stand.
const STANDS_WITHIN: Duration = Duration::from_secs(2);
/// Commands waiting for the switch's answer, all desks together.
const PENDING_MAX: usize = 10_000;

/// What the gateway measures; the node puts its metrics behind these.
#[derive(Clone)]
pub struct Observers {
    /// `zongji_pop_seconds`: from the offer to its frame written.
    pub pop: Arc<dyn Fn(Duration) + Send + Sync>,
    /// A client's frame or request was refused for its form; by reason (`bad_frame`, `unknown_command`, `too_fast`, `too_long`).
    pub frame_refused: Arc<dyn Fn(&'static str) + Send + Sync>,
}

impl Default for Observers {
    /// Measures nothing.
    fn default() -> Self {
        Self { pop: Arc::new(|_| {}), frame_refused: Arc::new(|_| {}) }
    }
}

/// All desks. Cheap to clone.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    /// New at each start: a client that resumes from another epoch gets a snapshot.
    epoch: String,
    /// One for each agent that the switch or a signed-in user has named: as many as there are users.
    desks: DashMap<(TenantId, AgentName), Arc<Desk>>,
    pending: DashMap<u64, (Arc<Desk>, String)>,
    /// Questions about callbacks that wait for the switch's answer.
    asked: DashMap<u64, oneshot::Sender<callbacks::Answer>>,
    next_id: AtomicU64,
    inbox: mpsc::Sender<Input>,
    live: LiveWatch,
    runtime: Handle,
    observers: Observers,
    audio: BrowserAudio,
}

impl Hub {
    /// Must be called within a tokio runtime: timers of offers run on it.
    pub(crate) fn new(inbox: mpsc::Sender<Input>, live: LiveWatch, observers: Observers, audio: BrowserAudio) -> Self {
        let mut epoch = [0u8; 8];
        // Without randomness the start's time still tells one start from the next.
        if getrandom::fill(&mut epoch).is_err() {
            epoch = crate::now_ms().to_be_bytes();
        }
        Self(Arc::new(Inner {
            epoch: hex::encode(epoch),
            desks: DashMap::new(),
            pending: DashMap::new(),
            asked: DashMap::new(),
            next_id: AtomicU64::new(1),
            inbox,
            live,
            runtime: Handle::current(),
            observers,
            audio,
        }))
    }

    /// One event of the switch for one agent, in order.
    pub fn deliver(&self, tenant: &TenantId, agent: &AgentName, event: desk::Event) {
        let (desk, now_ms) = (self.desk(tenant, agent), crate::now_ms());
        match event {
            desk::Event::Standing(standing) => {
                desk.lock().stand(now_ms, *standing);
                desk.stands.notify_waiters();
            }
            event => desk.lock().push(now_ms, Event::Switch(event), None),
        }
    }

    /// An offer: its frame goes to the agent's sockets, and `Input::OfferShown` to the switch once the controlling tab's is
    /// written, at once where there is none, and in any case within 20 ms.
    pub fn offer(&self, tenant: &TenantId, agent: &AgentName, offer: Box<OfferCreated>) {
        let inner = &self.0;
        let shown = Shown::new(offer.offer_id, inner.inbox.clone(), inner.runtime.clone(), inner.observers.clone());
        let desk = self.desk(tenant, agent);
        let mut state = desk.lock();
        if state.is_present() {
            shown.limit();
        }
        state.push(crate::now_ms(), Event::Switch(desk::Event::OfferCreated(offer)), Some(shown));
    }

    /// The switch's answer to `Input::Desk`.
    pub fn reply(&self, id: CommandId, result: Result<(), Nack>) {
        if let Some((_, (desk, client_id))) = self.0.pending.remove(&id.0) {
            self.answer(&desk, &client_id, result);
        }
    }

    /// A draft was kept by the records: its agent's tabs are told.
    pub(crate) fn draft_saved(&self, tenant: &TenantId, agent: &AgentName, draft: Draft) {
        let event = Event::Gateway(GatewayEvent::DraftSaved(draft));
        self.desk(tenant, agent).lock().push(crate::now_ms(), event, None);
    }

    /// A draft's case is logged.
    pub(crate) fn draft_cleared(&self, tenant: &TenantId, agent: &AgentName, call_id: &str, kind: &str) {
        let desk = self.desk(tenant, agent);
        let mut state = desk.lock();
        if state.view.drafts.contains_key(&(call_id.to_owned(), kind.to_owned())) {
            let event =
                Event::Gateway(GatewayEvent::DraftCleared { call_id: call_id.to_owned(), kind: kind.to_owned() });
            state.push(crate::now_ms(), event, None);
        }
    }

    /// Closes the sockets of one sign-in (`session`, its token's hash) or of all of a user's: they are not signed in.
    pub(crate) fn sign_out(&self, tenant: &TenantId, agent: &AgentName, session: Option<&TokenHash>) {
        if let Some(desk) = self.find(tenant, agent) {
            let mut state = desk.lock();
            state.sign_out(session);
            if !state.is_present() {
                (self.0.audio.close)(tenant.clone(), agent.clone());
            }
        }
    }

    /// Closes every socket with 1001: the server is going away.
    pub fn close_all(&self) {
        for desk in &self.0.desks {
            desk.lock().close_all(CloseCode::GoingAway);
        }
    }

    /// The tenant's state as it is at this moment.
    pub(crate) fn live(&self, tenant: &TenantId) -> Option<Live> {
        live::now(&self.0.live, tenant)
    }

    pub(crate) fn audio(&self) -> &BrowserAudio {
        &self.0.audio
    }

    pub(crate) fn observers(&self) -> &Observers {
        &self.0.observers
    }

    pub(crate) fn desk(&self, tenant: &TenantId, agent: &AgentName) -> Arc<Desk> {
        if let Some(desk) = self.find(tenant, agent) {
            return desk;
        }
        let key = (tenant.clone(), agent.clone());
        self.0.desks.entry(key).or_insert_with(|| Arc::new(Desk::new(tenant.clone(), agent.clone()))).clone()
    }

    /// Before the first desk of an agent joins: the switch is told, and says how things stand, so that the snapshot holds the
    /// call that went on while nobody was here. A switch that does not say so in time leaves the desk to its events.
    pub(crate) async fn arrive(&self, desk: &Desk) {
        let stood = tokio::time::timeout(STANDS_WITHIN, async {
            let stands = desk.stands.notified();
            if desk.lock().stands || !self.knows_agent(desk).await {
                return;
            }
            // Even if it was told: it may not have known the agent then.
            let mut told = desk.told_present.lock().await;
            *told = false;
            self.tell_presence(desk, &mut told, true).await;
            drop(told);
            stands.await;
        });
        if stood.await.is_err() {
            tracing::warn!(ws.tenant = %desk.tenant, ws.user = %desk.agent, "the switch has not said how a desk stands");
        }
    }

    /// Whether the switch has such an agent. Waits until it has published anything at all.
    async fn knows_agent(&self, desk: &Desk) -> bool {
        let mut live = self.0.live.clone();
        // Nobody reads from this receiver: to it, any published state is news.
        if matches!(live.has_changed(), Ok(false)) && live.changed().await.is_err() {
            return false;
        }
        self.agent_in_live(&desk.tenant, &desk.agent).is_some()
    }

    /// Adds a socket to its desk. `drafts` are the records' where this is the first to bring them.
    pub(crate) fn join(
        &self,
        desk: &Desk,
        hello: &Hello,
        session: Arc<TokenHash>,
        drafts: Option<Vec<Draft>>,
    ) -> Joined {
        let id = SocketId(self.0.next_id.fetch_add(1, Ordering::Relaxed));
        let now_ms = crate::now_ms();
        let mut state = desk.lock();
        if let Some(drafts) = drafts.filter(|_| !state.drafts_loaded) {
            state.drafts_loaded = true;
            for draft in drafts {
                if !state.view.drafts.contains_key(&(draft.call_id.clone(), draft.kind.clone())) {
                    state.push(now_ms, Event::Gateway(GatewayEvent::DraftSaved(draft)), None);
                }
            }
        }
        if state.view.agent.is_none()
            && let Some(agent) = self.agent_in_live(&desk.tenant, &desk.agent)
        {
            state.push(now_ms, Event::Switch(desk::Event::AgentState(agent)), None);
        }
        state.join(id, hello, session, &self.0.epoch, now_ms)
    }

    /// Tells the switch whether the agent has a desktop, where that changed. Whoever changes it calls this after.
    pub(crate) async fn sync_presence(&self, desk: &Desk) {
        let mut told = desk.told_present.lock().await;
        let present = desk.lock().is_present();
        self.tell_presence(desk, &mut told, present).await;
    }

    async fn tell_presence(&self, desk: &Desk, told: &mut bool, present: bool) {
        if *told == present {
            return;
        }
        let presence = if present { Presence::Connected } else { Presence::Disconnected };
        let input = Input::DeskPresence { tenant: desk.tenant.clone(), agent: desk.agent.clone(), presence };
        // A closed inbox is a switch that has ended: there is no one to tell.
        if self.0.inbox.send(input).await.is_ok() {
            *told = present;
        }
    }

    /// A command of a socket for the switch; its answer goes to the socket.
    pub(crate) async fn command(
        &self,
        desk: &Arc<Desk>,
        socket: SocketId,
        id: String,
        expect_ver: Option<u32>,
        command: desk::Command,
    ) {
        if !self.begin(desk, socket, &id) {
            return;
        }
        if let Some(nack) = refused(desk, socket, expect_ver, &command) {
            return self.answer(desk, &id, Err(nack));
        }
        if self.0.pending.len() >= PENDING_MAX {
            return self.answer(desk, &id, Err(busy("too many commands wait for the switch")));
        }
        let number = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let (tenant, agent) = (desk.tenant.clone(), desk.agent.clone());
        match tokio::time::timeout(INBOX_WAIT, self.0.inbox.reserve()).await {
            Ok(Ok(place)) => {
                self.0.pending.insert(number, (desk.clone(), id));
                place.send(Input::Desk { tenant, agent, id: CommandId(number), command });
            }
            Ok(Err(_)) => self.answer(desk, &id, Err(busy("the switch has ended: try again when the server is back"))),
            Err(_) => self.answer(desk, &id, Err(busy("the switch is busy: try again"))),
        }
    }

    /// Whether the command is new and shall be carried out; one that came before gets its answer again.
    pub(crate) fn begin(&self, desk: &Desk, socket: SocketId, id: &str) -> bool {
        let mut state = desk.lock();
        match state.commands.begin(id, socket, Instant::now()) {
            Begin::New => true,
            Begin::Pending => false,
            Begin::Answered(frame) => {
                state.send_to(socket, Outgoing::Frame(frame));
                false
            }
            Begin::Full => {
                let nack = busy("too many commands within ten minutes: wait a little");
                let frame = encode(&ServerControl::Nack(NackFrame::new(Some(id.to_owned()), nack)));
                state.send_to(socket, Outgoing::Frame(frame));
                false
            }
        }
    }

    /// Answers a command that was begun.
    pub(crate) fn answer(&self, desk: &Desk, id: &str, result: Result<(), Nack>) {
        let mut state = desk.lock();
        let (frame, forget) = match result {
            Ok(()) => (ServerControl::Ack(Ack { id: id.to_owned(), seq: state.seq() }), false),
            Err(nack) => {
                let retryable = nack.retryable;
                (ServerControl::Nack(NackFrame::new(Some(id.to_owned()), nack)), retryable)
            }
        };
        let frame: Utf8Bytes = encode(&frame);
        let sockets = match forget {
            true => state.commands.forget(id),
            false => state.commands.finish(id, frame.clone()),
        };
        for socket in sockets {
            state.send_to(socket, Outgoing::Frame(frame.clone()));
        }
    }

    fn find(&self, tenant: &TenantId, agent: &AgentName) -> Option<Arc<Desk>> {
        self.0.desks.get(&(tenant.clone(), agent.clone())).map(|desk| desk.clone())
    }

    /// What the published state knows of an agent whom no event has named yet.
    fn agent_in_live(&self, tenant: &TenantId, name: &AgentName) -> Option<AgentView> {
        // As published, not copied: a thousand desks may come back at once.
        let live = self.0.live.borrow().get(tenant).cloned()?;
        let agent = live.agents.iter().find(|agent| agent.name == *name)?;
        Some(AgentView {
            name: agent.name.clone(),
            display: agent.display.clone(),
            state: agent.state,
            reason: agent.reason.clone(),
            since_ms: agent.since_ms,
            next: None,
            browser: agent.browser,
            media: agent.media,
            ver: 0,
        })
    }
}

/// Why the gateway itself refuses a command, if it does.
fn refused(desk: &Desk, socket: SocketId, expect_ver: Option<u32>, command: &desk::Command) -> Option<Nack> {
    let state = desk.lock();
    if !state.has_control(socket) {
        return Some(read_only());
    }
    let expect_ver = expect_ver?;
    let ver = match command {
        desk::Command::SetState { .. } => state.view.agent.as_ref().map(|agent| agent.ver),
        // An offer has no version: it is there or it is not.
        desk::Command::Accept { .. } | desk::Command::Reject { .. } => None,
        desk::Command::Hangup { call_id }
        | desk::Command::Hold { call_id }
        | desk::Command::Retrieve { call_id }
        | desk::Command::Mute { call_id }
        | desk::Command::Unmute { call_id }
        | desk::Command::Dtmf { call_id, .. }
        | desk::Command::Transfer { call_id, .. }
        | desk::Command::Consult { call_id, .. }
        | desk::Command::Swap { call_id }
        | desk::Command::Complete { call_id }
        | desk::Command::CancelConsult { call_id }
        | desk::Command::Conference { call_id }
        | desk::Command::Supervise { call_id, .. }
        | desk::Command::ExtendWrapup { call_id }
        | desk::Command::FinishWrapup { call_id, .. } => state.view.calls.get(call_id).map(|call| call.ver),
    };
    let ver = ver.filter(|ver| *ver != expect_ver)?;
    let message = format!("version {expect_ver} was expected, {ver} is current: look again");
    Some(Nack { code: NackCode::Conflict, message, retryable: false })
}

pub(crate) fn read_only() -> Nack {
    let message = "this tab is read-only, another one controls the desk: send session.take_control first".into();
    Nack { code: NackCode::Forbidden, message, retryable: false }
}

pub(crate) fn busy(message: &str) -> Nack {
    Nack { code: NackCode::Busy, message: message.into(), retryable: true }
}
