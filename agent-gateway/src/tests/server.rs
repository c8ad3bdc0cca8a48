//! A running gateway and its clients.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use cti_base::{AgentName, CallId, OfferId, Rng, TenantId, Timestamp};
use cti_switch::Input;
use cti_switch::config::{Role, TenantDoc};
use cti_switch::desk::{AgentState, AgentView, CallState, CallView, Direction, MediaHealth, OfferCreated, Pop};
use cti_switch::live::Live;
use futures_util::{SinkExt, StreamExt};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use zongji_sql::Store;
use zongji_sql::sessions::TokenHash;
use zongji_sql::users::UserPut;

use crate::{Ban, Bans, GatewayConfig, Hub, Observers};

pub const PASSWORD: &str = "correct horse";
/// How long anything that must happen may take.
const WITHIN: Duration = Duration::from_secs(10);

pub struct Server {
    pub address: String,
    pub hub: Hub,
    pub store: Store,
    pub inbox: mpsc::Receiver<Input>,
    pub live: watch::Sender<Arc<BTreeMap<TenantId, Arc<Live>>>>,
    pub ready: Arc<AtomicBool>,
    pub pops: Arc<AtomicUsize>,
    pub refused: Arc<AtomicUsize>,
    pub folder: tempfile::TempDir,
}

impl Server {
    /// Tenants `acme` and `other` with one user a role (named by it) and a second agent `bob`, and tenant `system` with `root`.
    pub async fn start() -> Self {
        Self::start_with(false).await
    }

    pub async fn start_with(tls: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", folder.path().join("zongji.db").display());
        let store = Store::connect(&url).await.expect("the records open");
        let now = zongji_sql::now();
        for tenant in ["acme", "other"] {
            let people = ["agent", "bob", "supervisor", "qa", "admin"].map(person);
            zongji_sql::tenants::apply(&store, &doc(tenant), &people, now).await.expect("applied");
        }
        let system = TenantId::from("system");
        zongji_sql::tenants::ensure(&store, &system, "System", now).await.expect("made");
        let root = UserPut { role: Role::Admin, ..person("root") };
        zongji_sql::users::put(&store, &system, &root, now).await.expect("made");

        let (sender, inbox) = mpsc::channel(1_000);
        let (live, live_watch) = watch::channel(Arc::new(BTreeMap::new()));
        let ready = Arc::new(AtomicBool::new(true));
        let (pops, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (count_pop, count_refused) = (pops.clone(), refused.clone());
        let observers = Observers {
            pop: Arc::new(move |_| {
                count_pop.fetch_add(1, Ordering::SeqCst);
            }),
            frame_refused: Arc::new(move |_| {
                count_refused.fetch_add(1, Ordering::SeqCst);
            }),
        };
        let audio = crate::BrowserAudio { offer: Arc::new(answer_offer), ..crate::BrowserAudio::default() };
        let (hub, router) = crate::build(GatewayConfig {
            store: store.clone(),
            inbox: sender,
            live: live_watch,
            recordings_root: folder.path().join("recordings"),
            tls,
            ready: ready.clone(),
            observers,
            bans: Bans { list: Arc::new(|| vec![one_ban()]), lift: Arc::new(|id| id == "7") },
            audio,
        });
        // A switch that has published knows its agents: these are none of them unless a test publishes them.
        live.send_replace(Arc::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        tokio::spawn(crate::serve(listener, router, std::future::pending()));
        Self { address, hub, store, inbox, live, ready, pops, refused, folder }
    }

    /// A signed-in client.
    pub async fn client(&self, tenant: &str, user: &str) -> Client {
        let client = self.stranger();
        let answer = client.sign_in(tenant, user, PASSWORD).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        let cookie = answer.headers()[header::SET_COOKIE].to_str().expect("text");
        Client { cookie: Some(cookie.split(';').next().expect("a pair").to_owned()), ..client }
    }

    pub fn stranger(&self) -> Client {
        Client { http: reqwest::Client::new(), address: self.address.clone(), cookie: None }
    }

    /// A program's token of a user.
    pub async fn token(&self, tenant: &str, user: &str) -> String {
        let token = crate::auth::new_token().expect("random");
        let hash = TokenHash::of(&token);
        let tenant = TenantId::from(tenant);
        zongji_sql::tokens::put(&self.store, &tenant, user, "test", &hash, zongji_sql::now()).await.expect("kept");
        token
    }

    /// The next input of the switch.
    pub async fn input(&mut self) -> Input {
        tokio::time::timeout(WITHIN, self.inbox.recv()).await.expect("an input in time").expect("open")
    }

    pub fn publish(&self, tenant: &str, live: Live) {
        self.live.send_replace(Arc::new(BTreeMap::from([(TenantId::from(tenant), Arc::new(live))])));
    }
}

pub struct Client {
    pub http: reqwest::Client,
    pub address: String,
    pub cookie: Option<String>,
}

impl Client {
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/api/v1/{path}") };
        let request = self.http.request(method, format!("http://{}{path}", self.address));
        match &self.cookie {
            Some(cookie) => request.header(header::COOKIE, cookie),
            None => request,
        }
    }

    pub async fn sign_in(&self, tenant: &str, user: &str, password: &str) -> reqwest::Response {
        let body = json!({ "tenant": tenant, "user": user, "password": password });
        self.request(Method::POST, "session").json(&body).send().await.expect("an answer")
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        answer(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> (StatusCode, Value) {
        answer(self.request(Method::PATCH, path).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::DELETE, path)).await
    }

    /// A websocket that has said nothing yet.
    pub async fn socket(&self) -> Socket {
        self.socket_with(|_| {}).await.expect("the handshake")
    }

    pub async fn socket_with(&self, edit: impl FnOnce(&mut axum::http::HeaderMap)) -> Result<Socket, Box<WsError>> {
        let mut request = format!("ws://{}/ws", self.address).into_client_request().expect("a request");
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", "cc.v1".parse().expect("text"));
        if let Some(cookie) = &self.cookie {
            headers.insert("cookie", cookie.parse().expect("text"));
        }
        edit(headers);
        let (stream, _) = tokio_tungstenite::connect_async(request).await.map_err(Box::new)?;
        Ok(Socket { stream })
    }

    /// A websocket that has said hello; its welcome, and its snapshot where there is one.
    pub async fn desk(&self, hello: Value) -> (Socket, Value, Option<Value>) {
        let mut socket = self.socket().await;
        socket.send(json!({ "t": "hello", "d": hello })).await;
        let welcome = socket.receive().await;
        assert_eq!(welcome["t"], "welcome", "{welcome}");
        let snapshot = match welcome["d"]["resumed"] == true {
            true => None,
            false => Some(socket.receive().await["d"].take()),
        };
        (socket, welcome["d"].clone(), snapshot)
    }
}

pub async fn answer(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let answer = request.send().await.expect("an answer");
    let (status, text) = (answer.status(), answer.text().await.expect("text"));
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

pub struct Socket {
    pub stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    pub async fn send(&mut self, frame: Value) {
        self.send_text(&frame.to_string()).await;
    }

    pub async fn send_text(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.expect("sent");
    }

    /// The next frame.
    pub async fn receive(&mut self) -> Value {
        match self.next().await {
            Ok(frame) => frame,
            Err(code) => panic!("closed with {code:?} instead of a frame"),
        }
    }

    /// The close code, after whatever frames still come.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            if let Err(code) = self.next().await {
                return code;
            }
        }
    }

    async fn next(&mut self) -> Result<Value, Option<u16>> {
        loop {
            let message = tokio::time::timeout(WITHIN, self.stream.next()).await.expect("a frame in time");
            match message {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).expect("JSON")),
                Some(Ok(Message::Close(frame))) => return Err(frame.map(|frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }
}

pub fn tenant() -> TenantId {
    TenantId::from("acme")
}

pub fn agent() -> AgentName {
    AgentName::from("agent")
}

pub fn call_id(number: u64) -> CallId {
    CallId::new(Timestamp::from_millis(1_795_305_600_000), &mut Rng::from_number(number))
}

pub fn offer_id(number: u64) -> OfferId {
    OfferId::new(Timestamp::from_millis(1_795_305_600_000), &mut Rng::from_number(number))
}

pub fn pop(number: &str) -> Pop {
    let pop = json!({
        "number": number, "region": null, "candidates": [], "records_known": true, "ivr_path": ["start"], "wait_ms": 5, "vars": {},
    });
    serde_json::from_value(pop).expect("a pop")
}

pub fn offer(number: u64) -> Box<OfferCreated> {
    Box::new(OfferCreated {
        offer_id: offer_id(number),
        call_id: call_id(number),
        queue: "repair".into(),
        joining: None,
        case_kind: Some("repair".into()),
        ring_until_ms: 1,
        auto_answer: false,
        can_accept: true,
        pop: pop("+8613800138000"),
    })
}

pub fn call(number: u64, state: CallState, ver: u32) -> Box<CallView> {
    Box::new(CallView {
        call_id: call_id(number),
        state,
        direction: Direction::Inbound,
        queue: Some("repair".into()),
        case_kind: None,
        leads: true,
        listens: None,
        aside: false,
        parties: Vec::new(),
        muted: false,
        recording: true,
        answered_ms: Some(1),
        held_since_ms: None,
        ended_ms: None,
        wrapup_until_ms: None,
        cause: None,
        pop: pop("+8613800138000"),
        ver,
    })
}

pub fn agent_view(state: AgentState, ver: u32) -> AgentView {
    let (display, media) = ("王芳".into(), MediaHealth::Ok);
    AgentView { name: agent(), display, state, reason: None, since_ms: 1, next: None, browser: false, media, ver }
}

/// An offer that begins as one does is answered with itself.
fn answer_offer(_: TenantId, _: AgentName, sdp: String) -> crate::AudioAnswer {
    let (answer, waits) = tokio::sync::oneshot::channel();
    let answered = if sdp.starts_with("v=0") { Ok(sdp) } else { Err("it is no offer".to_owned()) };
    let _ = answer.send(answered);
    waits
}

fn person(name: &str) -> UserPut {
    static HASH: OnceLock<String> = OnceLock::new();
    let hash = HASH.get_or_init(|| crate::auth::hash_password(PASSWORD).expect("hashes"));
    let role = match name {
        "supervisor" => Role::Supervisor,
        "qa" => Role::Qa,
        "admin" => Role::Admin,
        _ => Role::Agent,
    };
    let name = name.to_owned();
    UserPut { name, display: None, role, password_hash: Some(hash.clone()), sip_ha1: None }
}

pub fn doc(tenant: &str) -> TenantDoc {
    let doc = json!({
        "tenant": { "id": tenant, "name": "Acme Diesel", "outbound": { "prefixes": ["+86"] } },
        "trunk": [{ "name": "carrier-a", "hosts": ["127.0.0.1"] }],
        "ivr": [{ "name": "main", "file": "main.toml", "source": "# text" }],
        "hours": [{ "name": "office", "open": ["Mon-Fri 08:00-18:00"] }],
        "number": [{ "did": "4001001000", "trunk": "carrier-a", "route": { "queue": "repair" } }],
        "queue": [{ "name": "repair" }, { "name": "general" }],
        "agent": [
            { "name": "agent", "display": "王芳", "queues": ["repair"], "skills": { "repair": 5 },
              "phone": { "kind": "sip", "secret_file": "secrets/agent" } },
            { "name": "bob", "queues": ["general"], "phone": { "kind": "contact", "uri": "sip:bob@127.0.0.1:6001" } },
        ],
    });
    serde_json::from_value(doc).expect("a tenant's file")
}

fn one_ban() -> Ban {
    Ban { id: "7".into(), source: "192.0.2.1".into(), user: Some("1001".into()), failures: 5, since_ms: 1, until_ms: 2 }
}
