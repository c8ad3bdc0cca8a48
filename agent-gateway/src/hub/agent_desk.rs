use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use axum::extract::ws::Utf8Bytes;
use cti_base::{AgentName, TenantId};
use cti_switch::desk::Standing;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use zongji_sql::sessions::TokenHash;

use super::commands::{CommandMemory, SocketId};
use super::log::EventLog;
use super::shown::Shown;
use super::view::{DRAFTS_MAX, View};
use crate::protocol::{
    CloseCode, Control, ControlReason, Event, EventFrame, GatewayEvent, Hello, LiveFilter, ServerControl, Welcome,
};

/// Frames waiting for one socket; a socket with more is closed with 4008 and resumes.
const OUTGOING_MAX: usize = 256;
/// Tabs of one agent; with one more the oldest is closed with 4003.
const SOCKETS_MAX: usize = 8;

/// One agent's desk: what it shows, what was sent, and the sockets that show it.
pub struct Desk {
    pub tenant: TenantId,
    pub agent: AgentName,
    state: Mutex<DeskState>,
    /// Whether the switch was last told that a desktop is there; held while it is told, so that the last word is true.
    pub told_present: tokio::sync::Mutex<bool>,
    /// Woken when the switch has said how things stand.
    pub stands: tokio::sync::Notify,
}

#[derive(Default)]
pub struct DeskState {
    pub view: View,
    pub commands: CommandMemory,
    pub drafts_loaded: bool,
    /// Whether the switch has said how things stand, so that the view holds all there is.
    pub stands: bool,
    /// The tab whose offer was answered last.
    pub media_socket: Option<SocketId>,
    log: EventLog,
    sockets: Vec<Socket>,
    /// Whether a socket ever joined. Before that nobody can resume: an agent with only a phone costs no frame and no log.
    was_joined: bool,
}

/// The hub's end of a websocket.
struct Socket {
    id: SocketId,
    outgoing: mpsc::Sender<Outgoing>,
    closer: Closer,
    control: bool,
    /// The session's token hash: signing out closes its sockets.
    session: Arc<TokenHash>,
}

/// What the writer of a socket is given.
pub enum Outgoing {
    Frame(Utf8Bytes),
    /// An offer; the writer of the controlling tab says when it is written.
    Offer(Utf8Bytes, Option<Shown>),
    Subscribe(LiveFilter),
    Unsubscribe,
}

/// Closes one socket with a code; the first code counts.
#[derive(Clone, Default)]
pub struct Closer {
    token: CancellationToken,
    code: Arc<OnceLock<CloseCode>>,
}

impl Closer {
    pub fn close(&self, code: CloseCode) {
        let _ = self.code.set(code);
        self.token.cancel();
    }

    /// Ends the socket's tasks without a close frame: the peer is gone.
    pub fn end(&self) {
        self.token.cancel();
    }

    pub async fn closed(&self) -> Option<CloseCode> {
        self.token.cancelled().await;
        self.code.get().copied()
    }
}

/// A socket that joined its desk.
pub struct Joined {
    pub id: SocketId,
    pub outgoing: mpsc::Receiver<Outgoing>,
    pub sender: mpsc::Sender<Outgoing>,
    pub closer: Closer,
    /// Welcome, then the missed events or a snapshot: to be written before anything from `outgoing`.
    pub first: Vec<Utf8Bytes>,
}

impl Desk {
    pub fn new(tenant: TenantId, agent: AgentName) -> Self {
        let (told_present, stands) = (tokio::sync::Mutex::new(false), tokio::sync::Notify::new());
        Self { tenant, agent, state: Mutex::default(), told_present, stands }
    }

    /// Short: nothing is awaited under it. A panic under it is a bug that must not silence a desk, so poison is passed over.
    pub fn lock(&self) -> MutexGuard<'_, DeskState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DeskState {
    /// Numbers, folds, keeps and sends one event.
    pub fn push(&mut self, now_ms: u64, event: Event, shown: Option<Shown>) {
        self.view.apply(&event);
        if !self.was_joined {
            self.log.skip();
            return;
        }
        let is_offer = shown.is_some();
        let frame = self.log.push(now_ms, |seq| encode(&EventFrame { seq, ts: now_ms, event }));
        let mut shown = shown;
        for socket in &self.sockets {
            let outgoing = match is_offer {
                true => Outgoing::Offer(frame.clone(), if socket.control { shown.take() } else { None }),
                false => Outgoing::Frame(frame.clone()),
            };
            // A frame that can not be taken is dropped with its duty: the switch is told at once.
            socket.hand(outgoing);
        }
        self.drop_old_drafts(now_ms);
    }

    /// What the switch says of how things stand, as events where this desk did not know.
    pub fn stand(&mut self, now_ms: u64, standing: Standing) {
        for event in self.view.changes_to(standing) {
            self.push(now_ms, Event::Switch(event), None);
        }
        self.stands = true;
    }

    pub fn seq(&self) -> u64 {
        self.log.seq()
    }

    /// Bytes of events that are kept for a client that comes back.
    #[cfg(test)]
    pub fn bytes_kept(&self) -> usize {
        self.log.bytes()
    }

    /// Adds a socket and decides who controls.
    pub fn join(&mut self, id: SocketId, hello: &Hello, session: Arc<TokenHash>, epoch: &str, now_ms: u64) -> Joined {
        self.was_joined = true;
        if hello.control {
            self.take_control_from_others(id);
        }
        while self.sockets.len() >= SOCKETS_MAX {
            self.sockets.remove(0).closer.close(CloseCode::SignedInElsewhere);
        }
        let (sender, outgoing) = mpsc::channel(OUTGOING_MAX);
        let closer = Closer::default();
        let missed = match &hello.resume {
            Some(resume) if resume.epoch == epoch => self.log.after(resume.seq),
            Some(_) | None => None,
        };
        let seq = self.log.seq();
        let welcome = Welcome {
            epoch: epoch.to_owned(),
            seq,
            server_ms: now_ms,
            resumed: missed.is_some(),
            control: hello.control,
            build: crate::BUILD.to_owned(),
        };
        let mut first = vec![encode(&ServerControl::Welcome(welcome))];
        match missed {
            Some(frames) => first.extend(frames),
            None => first.push(encode(&ServerControl::Snapshot(Box::new(self.view.snapshot(seq))))),
        }
        let socket = Socket { id, outgoing: sender.clone(), closer: closer.clone(), control: hello.control, session };
        self.sockets.push(socket);
        Joined { id, outgoing, sender, closer, first }
    }

    pub fn leave(&mut self, id: SocketId) {
        self.sockets.retain(|socket| socket.id != id);
    }

    /// Whether a desktop is there that the agent can work with.
    pub fn is_present(&self) -> bool {
        self.sockets.iter().any(|socket| socket.control)
    }

    pub fn has_control(&self, id: SocketId) -> bool {
        self.sockets.iter().any(|socket| socket.id == id && socket.control)
    }

    pub fn take_control(&mut self, id: SocketId) {
        self.take_control_from_others(id);
        if let Some(socket) = self.sockets.iter_mut().find(|socket| socket.id == id && !socket.control) {
            socket.control = true;
            let control = Control { control: true, reason: ControlReason::Taken };
            socket.hand(Outgoing::Frame(encode(&ServerControl::Control(control))));
        }
    }

    /// Sends a frame to one socket, if it is still there.
    pub fn send_to(&self, id: SocketId, outgoing: Outgoing) {
        if let Some(socket) = self.sockets.iter().find(|socket| socket.id == id) {
            socket.hand(outgoing);
        }
    }

    /// Closes the sockets of one sign-in, or of all.
    pub fn sign_out(&mut self, session: Option<&TokenHash>) {
        self.sockets.retain(|socket| {
            let stays = session.is_some_and(|session| *socket.session != *session);
            if !stays {
                socket.closer.close(CloseCode::NotSignedIn);
            }
            stays
        });
    }

    pub fn close_all(&mut self, code: CloseCode) {
        for socket in self.sockets.drain(..) {
            socket.closer.close(code);
        }
    }

    fn take_control_from_others(&mut self, id: SocketId) {
        for socket in self.sockets.iter_mut().filter(|socket| socket.id != id && socket.control) {
            socket.control = false;
            let control = Control { control: false, reason: ControlReason::TakenElsewhere };
            socket.hand(Outgoing::Frame(encode(&ServerControl::Control(control))));
        }
    }

    fn drop_old_drafts(&mut self, now_ms: u64) {
        while self.view.drafts.len() > DRAFTS_MAX {
            let Some(oldest) = self.view.drafts.values().min_by_key(|draft| draft.updated_ms) else { return };
            let (call_id, kind) = (oldest.call_id.clone(), oldest.kind.clone());
            self.push(now_ms, Event::Gateway(GatewayEvent::DraftCleared { call_id, kind }), None);
        }
    }
}

impl Socket {
    fn hand(&self, outgoing: Outgoing) {
        if self.outgoing.try_send(outgoing).is_err() {
            self.closer.close(CloseCode::TooSlow);
        }
    }
}

/// One of our own frames as text. They are maps with string keys of plain values: serde_json can not fail on them.
pub fn encode<T: Serialize>(frame: &T) -> Utf8Bytes {
    serde_json::to_string(frame).expect("our frames are maps of plain values").into()
}
