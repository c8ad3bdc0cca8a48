//! An agent's websocket beside the phone: the pop comes first.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket, http::HeaderValue};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::answered::{MENU, tenant};
use crate::server::{PASSWORD, Ports, Server, machine};
use crate::sipp::{Caller, Sipp};
use crate::sound::tone;

/// A program that speaks `cc.v1` as the desk does.
pub struct Desk {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next: u64,
}

impl Desk {
    pub async fn connect(server: &Server, tenant: &str, user: &str) -> Result<Self> {
        let mut request = format!("ws://127.0.0.1:{}/ws", server.ports.http).into_client_request()?;
        request.headers_mut().insert("cookie", HeaderValue::from_str(&server.cookie(tenant, user).await?)?);
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("cc.v1"));
        let (socket, _) = tokio_tungstenite::connect_async(request).await?;
        let mut desk = Self { socket, next: 1 };
        desk.send(json!({"t": "hello", "d": {"proto": "cc.v1", "build": "test"}})).await?;
        desk.until("welcome").await?;
        desk.until("snapshot").await?;
        Ok(desk)
    }

    pub async fn send(&mut self, frame: Value) -> Result<()> {
        Ok(self.socket.send(Message::text(frame.to_string())).await?)
    }

    /// Sends a command; its ack or nack.
    pub async fn command(&mut self, t: &str, d: Value) -> Result<Value> {
        let id = format!("c{}", self.next);
        self.next += 1;
        self.send(json!({"id": id, "t": t, "d": d})).await?;
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            let frame = self.frame().await?;
            if frame["id"] == id.as_str() || frame["d"]["id"] == id.as_str() {
                return Ok(frame);
            }
        }
        bail!("no answer to {t}")
    }

    pub async fn frame(&mut self) -> Result<Value> {
        loop {
            let message =
                tokio::time::timeout(Duration::from_secs(20), self.socket.next()).await?.context("closed")??;
            match message {
                Message::Text(text) => return Ok(serde_json::from_str(&text)?),
                Message::Close(frame) => bail!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// The next frame of this kind; others are passed over.
    pub async fn until(&mut self, t: &str) -> Result<Value> {
        loop {
            let frame = self.frame().await?;
            if frame["t"] == t {
                return Ok(frame);
            }
        }
    }
}

/// A desk that is read by nobody until its agent's phone rings.
struct Watched(WebSocket<std::net::TcpStream>);

impl Watched {
    /// Connects and goes ready.
    fn connect(server: &Server, cookie: &str) -> Result<Self> {
        let mut request = format!("ws://127.0.0.1:{}/ws", server.ports.http).into_client_request()?;
        request.headers_mut().insert("cookie", HeaderValue::from_str(cookie)?);
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("cc.v1"));
        let stream = std::net::TcpStream::connect(("127.0.0.1", server.ports.http))?;
        stream.set_read_timeout(Some(Duration::from_secs(15)))?;
        let (socket, _) = tungstenite::client(request, stream)?;
        let mut watched = Self(socket);
        watched.send(&json!({"t": "hello", "d": {"proto": "cc.v1", "build": "test"}}))?;
        watched.until("snapshot")?;
        watched.send(&json!({"id": "w1", "t": "agent.set_state", "d": {"state": "ready"}}))?;
        watched.until("ack")?;
        Ok(watched)
    }

    fn send(&mut self, frame: &Value) -> Result<()> {
        Ok(self.0.send(Message::text(frame.to_string()))?)
    }

    fn until(&mut self, t: &str) -> Result<Value> {
        loop {
            if let Message::Text(text) = self.0.read()? {
                let frame: Value = serde_json::from_str(&text)?;
                if frame["t"] == t {
                    return Ok(frame);
                }
            }
        }
    }

    /// Waits for the INVITE, and then takes what lies in the desk's socket already, waiting for nothing.
    fn frames_before_the_invite(mut self, phone: &UdpSocket) -> Result<(Self, Vec<Value>)> {
        let mut buffer = [0; 65_536];
        let (len, _) = phone.recv_from(&mut buffer)?;
        self.0.get_ref().set_nonblocking(true)?;
        ensure!(buffer[..len].starts_with(b"INVITE "), "{}", String::from_utf8_lossy(&buffer[..len]));
        let mut frames = Vec::new();
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => frames.push(serde_json::from_str(&text)?),
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.0.get_ref().set_nonblocking(false)?;
        Ok((self, frames))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_pop_is_on_the_desk_before_the_phone_is_rung() -> Result<()> {
    let _machine = machine().await;
    let ports = Ports::block(6);
    let agent = format!(
        "[[agent]]\nname = \"1001\"\ndisplay = \"王芳\"\npassword_file = \"password\"\nskills = {{ repair = 5 }}\nqueues = [\"repair\"]\nphone = {{ kind = \"contact\", uri = \"sip:1001@127.0.0.1:{}\" }}\n",
        ports.free
    );
    let server = Server::start(ports, &tenant(&agent), &[("main.toml", MENU), ("password", PASSWORD)]).await?;
    let dir = server.dir.path();
    let customer = server
        .http
        .post(server.url("/api/v1/customers"))
        .header("cookie", &server.admin)
        .json(&json!({"name": "李师傅", "company": "远途物流"}))
        .send()
        .await?;
    ensure!(customer.status().is_success(), "customer: {}", customer.status());
    let customer: Value = customer.json().await?;
    let contact = json!({"customer_id": customer["id"], "kind": "phone", "value": "138 0013 8000", "label": "mobile"});
    let contact =
        server.http.post(server.url("/api/v1/contacts")).header("cookie", &server.admin).json(&contact).send().await?;
    ensure!(contact.status().is_success(), "contact: {}: {}", contact.status(), contact.text().await?);

    let phone = UdpSocket::bind(("127.0.0.1", ports.free))?;
    phone.set_read_timeout(Some(Duration::from_secs(15)))?;
    // Signed in as one agent: this one only looks, when the phone is rung, at what the desk's socket holds by then.
    let cookie = server.cookie("acme", "1001").await?;
    let watched = tokio::task::block_in_place(|| Watched::connect(&server, &cookie))?;
    let rung = std::thread::spawn(move || watched.frames_before_the_invite(&phone));
    let tone = tone(dir, 440)?;
    let caller = Caller {
        did: "4001001001",
        number: "13800138000",
        digit: None,
        hangup_ms: 1_500,
        calls: 1,
        rate: 1,
        tone: &tone,
        tcp: false,
    };
    let mut sipp = Sipp::caller(dir, "caller", ports.free + 20, ports.sip, &caller)?;
    let (mut watched, frames) = tokio::task::block_in_place(|| rung.join()).expect("the phone's thread")?;
    let offer = frames.iter().find(|frame| frame["t"] == "offer.created");
    let offer = offer.with_context(|| format!("the phone was rung before the pop: {frames:#?}"))?;
    let pop = &offer["d"]["pop"];
    ensure!(pop["number"] == "+8613800138000" && pop["candidates"][0]["name"] == "李师傅", "{offer:#}");
    tokio::task::block_in_place(|| watched.until("offer.withdrawn"))?;
    tokio::task::block_in_place(|| sipp.finish(Duration::from_secs(15)))?;
    ensure!(server.metric("zongji_pop_seconds_count", "").await? >= 1.0, "the pop was measured");
    ensure!(server.metric("zongji_setup_seconds_count", "").await? >= 1.0, "the setup was measured");

    // A second tab of the same agent. A frame that does not parse is refused with a code; the socket lives on.
    drop(watched);
    let mut desk = Desk::connect(&server, "acme", "1001").await?;
    desk.socket.send(Message::text("{nonsense")).await?;
    let nack = desk.until("nack").await?;
    ensure!(nack["code"] == "bad_frame" || nack["d"]["code"] == "bad_frame", "{nack}");
    let ack = desk.command("agent.set_state", json!({"state": "break", "reason": "meal"})).await?;
    ensure!(ack["t"] == "ack", "{ack}");
    server.until("/api/v1/live", Duration::from_secs(2), |live| live["agents"][0]["state"] == "break").await?;
    Ok(())
}
