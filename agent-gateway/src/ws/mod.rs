//! `/ws`: one websocket of one desk. The reader carries out commands, the writer sends and pings, the keeper saves drafts in
//! order; the three end together.

mod drafts;
mod live;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use cti_base::AgentName;
use cti_switch::desk::NackCode;
use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use tokio::sync::mpsc;

use crate::App;
use crate::auth::{MaybeSignedIn, OriginChecked, SignedIn};
use crate::hub::{Closer, Desk, Outgoing, SocketId, encode};
use crate::protocol::{
    ClientMessage, CloseCode, FRAME_BYTES_MAX, FrameError, GatewayCommand, Hello, NackFrame, PROTO, SUBPROTOCOL,
    ServerControl, parse,
};

/// A client silent this long is gone (desktop.md 8).
const DEAD_AFTER: Duration = Duration::from_secs(25);
/// The first frame must come within this.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// A message longer than this ends the connection; one above `FRAME_BYTES_MAX` is refused and counted.
const MESSAGE_BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;
/// Frames a second that a client may send on average ...
const FRAMES_PER_S: f64 = 50.0;
/// ... and at once.
const FRAMES_BURST: f64 = 200.0;

pub async fn handler(
    State(app): State<Arc<App>>,
    _: OriginChecked,
    MaybeSignedIn(who): MaybeSignedIn,
    upgrade: WebSocketUpgrade,
) -> Response {
    let upgrade =
        upgrade.protocols([SUBPROTOCOL]).max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX);
    let speaks_it = upgrade.selected_protocol().is_some();
    upgrade.on_upgrade(move |socket| async move {
        // A browser can not read the status of a refused handshake: the reason comes as a close code.
        match who {
            Ok(Some(who)) if speaks_it => run(app, who, socket).await,
            Ok(Some(_)) => writer::refuse(socket, CloseCode::ProtocolMismatch).await,
            Ok(None) => writer::refuse(socket, CloseCode::NotSignedIn).await,
            Err(error) => {
                tracing::warn!(ws.error = %error, "a desk can not be let in: the records can not be asked");
                writer::refuse(socket, CloseCode::GoingAway).await;
            }
        }
    })
}

async fn run(app: Arc<App>, who: SignedIn, mut socket: WebSocket) {
    let hello = match tokio::time::timeout(HELLO_WITHIN, first_frame(&mut socket)).await {
        Ok(Some(hello)) if hello.proto == PROTO => hello,
        Ok(_) | Err(_) => {
            (app.hub.observers().frame_refused)("no_hello");
            return writer::refuse(socket, CloseCode::ProtocolMismatch).await;
        }
    };
    let desk = app.hub.desk(&who.tenant, &AgentName::from(who.user.as_str()));
    let drafts = drafts::load(&app, &desk, &who).await;
    if hello.control {
        app.hub.arrive(&desk).await;
    }
    let joined = app.hub.join(&desk, &hello, who.session.clone(), drafts);
    tracing::debug!(ws.tenant = %who.tenant, ws.user = %who.user, ws.build = %hello.build, "desk connected");
    app.hub.sync_presence(&desk).await;

    let (sink, stream) = socket.split();
    let subscription = live::Source { app: app.clone(), who: who.clone() };
    let writing = writer::run(sink, joined.first, joined.outgoing, joined.closer.clone(), subscription);
    let writing = tokio::spawn(writing);
    let watching = tokio::spawn(watch_session(app.clone(), who.clone(), joined.closer.clone()));
    let (keeper, jobs) = mpsc::channel(drafts::WAITING_MAX);
    let keeping = tokio::spawn(drafts::run(app.clone(), who, desk.clone(), jobs));

    let mut reader = Reader {
        app: app.clone(),
        desk: desk.clone(),
        id: joined.id,
        outgoing: joined.sender,
        keeper,
        bucket: Bucket { tokens: FRAMES_BURST, at: Instant::now() },
    };
    reader.run(stream, &joined.closer).await;

    joined.closer.end();
    desk.lock().leave(joined.id);
    app.hub.sync_presence(&desk).await;
    watching.abort();
    drop(reader);
    // Drafts that were taken are saved, and a close frame that is due is sent, before the socket is done.
    let _ = keeping.await;
    let _ = writing.await;
}

/// The `hello`, if that is what comes first.
async fn first_frame(socket: &mut WebSocket) -> Option<Hello> {
    while let Some(Ok(message)) = socket.recv().await {
        match message {
            Message::Text(text) => {
                return match parse(&text) {
                    Ok(ClientMessage::Hello(hello)) => Some(hello),
                    Ok(ClientMessage::Desk { .. } | ClientMessage::Gateway { .. }) | Err(_) => None,
                };
            }
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Binary(_) | Message::Close(_) => return None,
        }
    }
    None
}

/// Closes the socket when its sign-in ends elsewhere (a disabled user, a changed password, a session at its end).
async fn watch_session(app: Arc<App>, who: SignedIn, closer: Closer) {
    const LOOK_EVERY: Duration = Duration::from_secs(30);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // Records that can not be asked say nothing: the desk stays.
        if let Ok(false) = app.auth.still_signed_in(&app.store, &who).await {
            closer.close(CloseCode::NotSignedIn);
        }
    }
}

struct Reader {
    app: Arc<App>,
    desk: Arc<Desk>,
    id: SocketId,
    outgoing: mpsc::Sender<Outgoing>,
    keeper: mpsc::Sender<drafts::Save>,
    bucket: Bucket,
}

impl Reader {
    async fn run(&mut self, mut stream: SplitStream<WebSocket>, closer: &Closer) {
        loop {
            let next = tokio::select! {
                _ = closer.closed() => return,
                next = tokio::time::timeout(DEAD_AFTER, stream.next()) => next,
            };
            let text = match next {
                Ok(Some(Ok(Message::Text(text)))) => text,
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
                Ok(Some(Ok(Message::Binary(_)))) => {
                    self.nack(None, "this protocol has only text frames".into(), "bad_frame");
                    continue;
                }
                // Gone, silent for too long, or a message too long to read.
                Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) | Err(_) => return,
            };
            if !self.bucket.take(Instant::now()) {
                (self.app.hub.observers().frame_refused)("too_fast");
                return closer.close(CloseCode::TooSlow);
            }
            if text.len() > FRAME_BYTES_MAX {
                self.nack(None, format!("a frame has at most {FRAME_BYTES_MAX} bytes"), "too_long");
                continue;
            }
            self.frame(&text).await;
        }
    }

    async fn frame(&mut self, text: &str) {
        match parse(text) {
            Ok(ClientMessage::Hello(_)) => self.nack(None, "hello was already said".into(), "bad_frame"),
            Ok(ClientMessage::Desk { id, expect_ver, command }) => {
                self.app.hub.command(&self.desk, self.id, id, expect_ver, command).await;
            }
            Ok(ClientMessage::Gateway { id, expect_ver, command }) => self.gateway(id, expect_ver, command).await,
            Err(FrameError { id, nack }) => {
                let counted = match nack.code {
                    NackCode::UnknownCommand => "unknown_command",
                    NackCode::NotSupported => "not_supported",
                    NackCode::BadFrame
                    | NackCode::NotYours
                    | NackCode::WrongState
                    | NackCode::AnswerOnPhone
                    | NackCode::Conflict
                    | NackCode::Forbidden
                    | NackCode::Busy => "bad_frame",
                };
                (self.app.hub.observers().frame_refused)(counted);
                self.send(Outgoing::Frame(encode(&ServerControl::Nack(NackFrame::new(id, nack)))));
            }
        }
    }

    async fn gateway(&mut self, id: String, expect_rev: Option<u32>, command: GatewayCommand) {
        let hub = self.app.hub.clone();
        if !hub.begin(&self.desk, self.id, &id) {
            return;
        }
        match command {
            GatewayCommand::TakeControl {} => {
                self.desk.lock().take_control(self.id);
                hub.sync_presence(&self.desk).await;
                hub.answer(&self.desk, &id, Ok(()));
            }
            GatewayCommand::MediaOffer { sdp, tab } => {
                let result = hub.media_offer(&self.desk, self.id, sdp, tab).await;
                hub.answer(&self.desk, &id, result);
            }
            GatewayCommand::Sub { topic: crate::protocol::Topic::Live, filter } => {
                hub.answer(&self.desk, &id, Ok(()));
                self.send(Outgoing::Subscribe(filter.unwrap_or_default()));
            }
            GatewayCommand::Unsub { topic: crate::protocol::Topic::Live } => {
                self.send(Outgoing::Unsubscribe);
                hub.answer(&self.desk, &id, Ok(()));
            }
            GatewayCommand::SaveDraft { call_id, kind, fields } => {
                if !self.desk.lock().has_control(self.id) {
                    return hub.answer(&self.desk, &id, Err(crate::hub::read_only()));
                }
                let save = drafts::Save { id, expect_rev, call_id, kind, fields };
                if let Err(error) = self.keeper.try_send(save) {
                    let id = error.into_inner().id;
                    hub.answer(
                        &self.desk,
                        &id,
                        Err(crate::hub::busy("too many drafts wait for the records: try again")),
                    );
                }
            }
        }
    }

    fn nack(&self, id: Option<String>, message: String, counted: &'static str) {
        (self.app.hub.observers().frame_refused)(counted);
        let nack = NackFrame { id, code: NackCode::BadFrame, message, retryable: false };
        self.send(Outgoing::Frame(encode(&ServerControl::Nack(nack))));
    }

    /// An answer that finds no place is a client that does not read: the next event closes it with 4008.
    fn send(&self, outgoing: Outgoing) {
        let _ = self.outgoing.try_send(outgoing);
    }
}

/// A bucket of frames that a client may send, filled at a steady rate.
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        let gained = now.duration_since(self.at).as_secs_f64() * FRAMES_PER_S;
        self.tokens = (self.tokens + gained).min(FRAMES_BURST);
        self.at = now;
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}
