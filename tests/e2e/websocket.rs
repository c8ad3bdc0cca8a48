//! SIP over websocket (RFC 7118): a phone as a browser has it, and what is said to it after the server was killed.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use cti_base::{Rng, Timestamp};
use cti_sip::{
    ConnectionId, DigestPolicy, Endpoint, EndpointConfig, Event, Flow, Packet, RegisterRequest, SessionId, Transport,
};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::answered::{MENU, tenant, the_call};
use crate::server::{Ports, Server, machine};
use crate::sipp::{Caller, Sipp};
use crate::sound::{share, tone};

const SECRET: &str = "s3cret-of-1001";

/// 1001's phone: SIP by one websocket, sound by a datagram socket that only listens.
struct Phone {
    end: Endpoint,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    flow: Flow,
    rtp: UdpSocket,
    began: Instant,
    /// What was heard, A-law decoded.
    heard: Vec<i16>,
}

impl Phone {
    /// Connects and registers.
    async fn start(port: u16, connection: u64) -> Result<Self> {
        let server = SocketAddr::from(([127, 0, 0, 1], port));
        let local = SocketAddr::from(([127, 0, 0, 1], 9));
        let config = EndpointConfig {
            listeners: vec![(Transport::Ws, local)],
            advertised: None,
            local_ip: local.ip(),
            local_ip6: None,
            digest: DigestPolicy::Md5,
            realm: "phone".into(),
            user_agent: "test".into(),
            sessions_max: 2,
            transactions_max: 20,
            registrations_max: 1,
        };
        let mut end = Endpoint::new(config, Rng::from_number(connection));
        let flow = Flow { transport: Transport::Ws, local, remote: server, connection: Some(ConnectionId(connection)) };
        let mut registrar = end.target_of(&format!("sip:{server};transport=ws")).context("a target")?;
        registrar.flow = flow;
        let (socket, began, rtp) = (connect(port).await?, Instant::now(), UdpSocket::bind("127.0.0.1:0").await?);
        let aor = "sip:1001@acme".into();
        let request = RegisterRequest { registrar, aor, user: "1001".into(), secret: SECRET.into(), expires_s: 600 };
        end.register(Timestamp::from_micros(1), request);
        let mut phone = Self { end, socket, flow, rtp, began, heard: Vec::new() };
        phone.until(|event| matches!(event, Event::RegisterResult { result: Ok(_), .. }).then_some(())).await?;
        Ok(phone)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_000_000 + self.began.elapsed().as_micros() as u64)
    }

    /// Speaks SIP until an event that `wanted` takes; an error after 20 s, or where the websocket closes.
    async fn until<T>(&mut self, mut wanted: impl FnMut(&Event) -> Option<T>) -> Result<T> {
        let until = Instant::now() + Duration::from_secs(20);
        let mut buffer = [0u8; 2_000];
        while Instant::now() < until {
            while let Some(transmit) = self.end.poll_transmit() {
                let text = String::from_utf8(transmit.bytes.to_vec())?;
                self.socket.send(Message::text(text)).await?;
            }
            while let Some(event) = self.end.poll_event() {
                if let Some(found) = wanted(&event) {
                    return Ok(found);
                }
            }
            tokio::select! {
                message = self.socket.next() => match message.context("the websocket closed")?? {
                    Message::Text(text) => {
                        let packet = Packet { flow: self.flow, bytes: Bytes::from(text) };
                        let now = self.now();
                        self.end.handle_packet(now, packet);
                    }
                    other => bail!("{other:?}"),
                },
                got = self.rtp.recv(&mut buffer) => {
                    let packet = &buffer[..got?];
                    ensure!(packet.len() > 12, "{} bytes of RTP", packet.len());
                    let linear = cti_media::Law::Pcma.linear();
                    self.heard.extend(packet[12..].iter().map(|byte| linear[usize::from(*byte)]));
                }
                () = tokio::time::sleep(Duration::from_millis(50)) => {
                    let now = self.now();
                    self.end.handle_deadline(now);
                }
            }
        }
        bail!("what was waited for did not come")
    }

    /// Waits for a call; whether it offers what a page has.
    async fn invited(&mut self) -> Result<(SessionId, bool)> {
        self.until(|event| match event {
            Event::Invite { session, invite } => {
                Some((*session, invite.offer.as_deref().is_some_and(cti_media::sdp::is_browsers)))
            }
            _ => None,
        })
        .await
    }

    /// Waits for a call and answers it.
    async fn answer(&mut self) -> Result<SessionId> {
        let mut session = self.invited().await?;
        if session.1 {
            // This is no page: what a page would be offered first is refused.
            let now = self.now();
            self.end.reject(now, session.0, 488);
            session = self.invited().await?;
        }
        let (session, is_pages) = session;
        ensure!(!is_pages, "a page's sound is offered again");
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n",
            self.rtp.local_addr()?.port()
        );
        let now = self.now();
        self.end.accept(now, session, sdp.into());
        self.until(|event| matches!(event, Event::Confirmed { .. }).then_some(())).await?;
        Ok(session)
    }
}

async fn connect(port: u16) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>> {
    let mut request = format!("ws://127.0.0.1:{port}/").into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", "sip".parse()?);
    let (socket, answer) = connect_async(request).await?;
    ensure!(answer.headers().get("sec-websocket-protocol").is_some_and(|name| name == "sip"), "{answer:?}");
    Ok(socket)
}

const AGENT: &str = "[[agent]]\nname = \"1001\"\nskills = { repair = 5 }\nqueues = [\"repair\"]\nphone = { kind = \"sip\", secret_file = \"secret\" }\nalways_ready = true\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_on_a_websocket_answers_and_is_found_again_after_a_crash() -> Result<()> {
    let _machine = machine().await;
    let ports = Ports::block(22);
    let mut server = Server::start(ports, &tenant(AGENT), &[("main.toml", MENU), ("secret", SECRET)]).await?;
    let dir = server.dir.path().to_owned();
    let mut phone = Phone::start(ports.ws, 1).await?;
    server.until("/api/v1/live", Duration::from_secs(10), |live| live["agents"][0]["state"] == "ready").await?;
    let caller = Caller {
        did: "4001001001",
        number: "13800138000",
        digit: None,
        hangup_ms: 8_000,
        calls: 1,
        rate: 1,
        tone: &tone(&dir, 440)?,
        tcp: false,
    };
    let mut sipp = Sipp::caller(&dir, "caller", ports.free + 20, ports.sip, &caller)?;
    let session = phone.answer().await?;
    let listening = Instant::now();
    while listening.elapsed() < Duration::from_secs(3) {
        // Nothing more is said by SIP: this ends by its time, and hears meanwhile.
        let _heard = timeout(Duration::from_millis(500), phone.until(|_| None::<()>)).await;
    }
    let heard = std::mem::take(&mut phone.heard);
    ensure!(heard.len() > 8_000, "{} samples of 3 s", heard.len());
    let pure = share(&heard[heard.len() / 2..], 440.0);
    ensure!(pure > 0.95, "the caller's tone is {pure} of what is heard");

    server.kill_and_start()?;
    server.wait_ready().await?;
    // As a browser does: connects again, registers, and has the same dialog; the caller's end reaches it there.
    let ended = {
        let Phone { end, began, rtp, .. } = phone;
        let mut again = Phone::start(ports.ws, 2).await?;
        let flow = again.flow;
        again = Phone { end, began, rtp, flow, ..again };
        again
            .until(|event| match event {
                Event::Ended { session, .. } => Some(*session),
                _ => None,
            })
            .await?
    };
    ensure!(ended == session, "{ended:?} ended, not {session:?}");
    tokio::task::block_in_place(|| sipp.finish(Duration::from_secs(40)))?;
    let call = the_call(&server, Duration::from_secs(3)).await?;
    ensure!(call["outcome"] == "answered" && call["agent"] == "1001", "{call:#}");
    server.until_idle().await?;
    Ok(())
}
