use std::path::Path;

use rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;

use super::*;
use crate::metrics::Metrics;
use crate::net::guard::Guard;
use crate::net::inbox::{Outlet, inbox};
use crate::net::tls::tests::files;

const OPTIONS: &[u8] = b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 0\r\n\r\n";

struct Bench {
    streams: Streams,
    outlet: Outlet,
    address: SocketAddr,
    _stops: tokio_util::sync::DropGuard,
}

fn bench() -> Bench {
    bench_of(Transport::Tcp, None)
}

fn bench_of(transport: Transport, tls: Option<Tls>) -> Bench {
    let (inbox, outlet) = inbox(Metrics::new().expect("names are valid"), Guard::default());
    let stop = CancellationToken::new();
    let streams = Streams::new(inbox, tls, stop.clone());
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bound");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(streams.clone().listen(transport, listener));
    Bench { streams, outlet, address, _stops: stop.drop_guard() }
}

impl Bench {
    async fn next_sip(&mut self) -> cti_sip::Packet {
        match timeout(Duration::from_secs(5), self.outlet.sip.recv()).await.expect("in time") {
            Some(Input::Sip(packet)) => packet,
            other => panic!("{other:?}"),
        }
    }

    async fn next_other(&mut self) -> Input {
        timeout(Duration::from_secs(5), self.outlet.other.recv()).await.expect("in time").expect("open")
    }
}

#[tokio::test]
async fn messages_come_in_whole_and_answers_go_back_on_the_same_connection() {
    let mut bench = bench();
    let mut peer = TcpStream::connect(bench.address).await.expect("connected");
    peer.write_all(&[OPTIONS, b"\r\n\r\n", &OPTIONS[..10]].concat()).await.expect("written");
    let packet = bench.next_sip().await;
    assert_eq!(packet.bytes, OPTIONS);
    peer.write_all(&OPTIONS[10..]).await.expect("written");
    assert_eq!(bench.next_sip().await.bytes, OPTIONS);
    bench.streams.send(packet.flow, Bytes::from_static(b"answer"));
    let mut got = [0u8; 8];
    peer.read_exact(&mut got).await.expect("an answer");
    assert_eq!(&got, b"\r\nanswer");
    drop(peer);
    assert!(matches!(bench.next_other().await, Input::SipConnectionClosed(id) if Some(id) == packet.flow.connection));
    assert_eq!(bench.streams.connections(), 0);
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_cut_and_another_goes_on() {
    let mut bench = bench();
    let mut deaf = TcpStream::connect(bench.address).await.expect("connected");
    deaf.write_all(OPTIONS).await.expect("written");
    let to_deaf = bench.next_sip().await.flow;
    let mut other = TcpStream::connect(bench.address).await.expect("connected");
    other.write_all(OPTIONS).await.expect("written");
    let to_other = bench.next_sip().await.flow;
    let large = Bytes::from(vec![b'x'; 60_000]);
    for _ in 0..1_000 {
        bench.streams.send(to_deaf, large.clone());
        tokio::task::yield_now().await;
        if bench.streams.connections() == 1 {
            break;
        }
    }
    assert!(matches!(bench.next_other().await, Input::SipConnectionClosed(id) if Some(id) == to_deaf.connection));
    bench.streams.send(to_other, Bytes::from_static(b"ok"));
    let mut got = [0u8; 2];
    other.read_exact(&mut got).await.expect("an answer");
    assert_eq!(&got, b"ok");
}

#[tokio::test]
async fn an_outbound_connection_is_opened_once_and_a_refused_one_is_told() {
    let mut bench = bench();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let remote = listener.local_addr().expect("an address");
    let flow = Flow { transport: Transport::Tcp, local: bench.address, remote, connection: None };
    bench.streams.send(flow, Bytes::from_static(b"one"));
    bench.streams.send(flow, Bytes::from_static(b"two"));
    let (mut peer, _) = listener.accept().await.expect("accepted");
    let mut got = [0u8; 6];
    peer.read_exact(&mut got).await.expect("both");
    assert_eq!(&got, b"onetwo");
    drop((peer, listener));
    assert!(matches!(bench.next_other().await, Input::SipConnectionClosed(_)));
    bench.streams.send(flow, Bytes::from_static(b"three"));
    assert!(matches!(bench.next_other().await, Input::SipTransportFailed(failed) if failed == flow));
}

#[tokio::test]
async fn bytes_that_are_no_sip_close_the_connection() {
    let mut bench = bench();
    let mut peer = TcpStream::connect(bench.address).await.expect("connected");
    peer.write_all(OPTIONS).await.expect("written");
    bench.next_sip().await;
    peer.write_all(b"INVITE sip:a@b SIP/2.0\r\nContent-Length: much\r\n\r\n").await.expect("written");
    assert!(matches!(bench.next_other().await, Input::SipConnectionClosed(_)));
}

#[tokio::test]
async fn a_connection_that_never_said_anything_is_not_told() {
    let mut bench = bench();
    drop(TcpStream::connect(bench.address).await.expect("connected"));
    let mut talks = TcpStream::connect(bench.address).await.expect("connected");
    talks.write_all(OPTIONS).await.expect("written");
    let flow = bench.next_sip().await.flow;
    drop(talks);
    assert!(matches!(bench.next_other().await, Input::SipConnectionClosed(id) if Some(id) == flow.connection));
}

fn tls(dir: &Path) -> Tls {
    Tls::new(files(dir)).expect("usable files")
}

/// Our own client's side of TLS.
async fn secured(tls: &Tls, address: SocketAddr) -> tokio_rustls::client::TlsStream<TcpStream> {
    let stream = TcpStream::connect(address).await.expect("connected");
    let name = ServerName::IpAddress(address.ip().into());
    tls.connector().expect("a root").connect(name, stream).await.expect("a handshake")
}

#[tokio::test]
async fn tls_is_a_stream_like_another() {
    let dir = tempfile::tempdir().expect("a directory");
    let tls = tls(dir.path());
    let mut bench = bench_of(Transport::Tls, Some(tls.clone()));
    let mut plain = TcpStream::connect(bench.address).await.expect("connected");
    plain.write_all(OPTIONS).await.expect("written");
    let mut peer = secured(&tls, bench.address).await;
    peer.write_all(&[OPTIONS, b"\r\n\r\n"].concat()).await.expect("written");
    let packet = bench.next_sip().await;
    assert_eq!((packet.flow.transport, &packet.bytes[..]), (Transport::Tls, OPTIONS));
    bench.streams.send(packet.flow, Bytes::from_static(b"answer"));
    let mut got = [0u8; 8];
    peer.read_exact(&mut got).await.expect("an answer");
    assert_eq!(&got, b"\r\nanswer");
    drop(peer);
    assert!(matches!(bench.next_other().await, Input::SipConnectionClosed(id) if Some(id) == packet.flow.connection));
}

#[tokio::test]
async fn we_connect_over_tls_to_whom_our_roots_certify_and_to_nobody_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let known = tls(dir.path());
    let mut server = bench_of(Transport::Tls, Some(known.clone()));
    let mut client = bench_of(Transport::Tls, Some(known));
    let flow = Flow { transport: Transport::Tls, local: client.address, remote: server.address, connection: None };
    client.streams.send(flow, Bytes::from_static(OPTIONS));
    let packet = server.next_sip().await;
    server.streams.send(packet.flow, Bytes::from_static(OPTIONS));
    assert_eq!(client.next_sip().await.bytes, OPTIONS);

    let other = tempfile::tempdir().expect("a directory");
    let mut stranger = files(other.path());
    std::fs::write(other.path().join("ca.pem"), include_str!("other_cert.pem")).expect("written");
    stranger.ca = Some(other.path().join("ca.pem"));
    let mut wary = bench_of(Transport::Tls, Some(Tls::new(stranger).expect("usable files")));
    wary.streams.send(flow, Bytes::from_static(OPTIONS));
    assert!(matches!(wary.next_other().await, Input::SipTransportFailed(failed) if failed == flow));
}

#[tokio::test]
async fn a_websocket_carries_one_message_in_each_of_its_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let tls = tls(dir.path());
    for transport in [Transport::Ws, Transport::Wss] {
        let mut bench = bench_of(transport, Some(tls.clone()));
        let mut request = format!("ws://{}", bench.address).into_client_request().expect("a request");
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, "sip".parse().expect("a value"));
        if transport == Transport::Ws {
            let stream = TcpStream::connect(bench.address).await.expect("connected");
            let (peer, _) = tokio_tungstenite::client_async(request, stream).await.expect("a websocket");
            talk(&mut bench, transport, peer).await;
        } else {
            let stream = secured(&tls, bench.address).await;
            let (peer, _) = tokio_tungstenite::client_async(request, stream).await.expect("a websocket");
            talk(&mut bench, transport, peer).await;
        }
    }
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    bench: &mut Bench,
    transport: Transport,
    mut peer: WebSocketStream<S>,
) {
    // Without Content-Length: the websocket's message is as long as it is (RFC 7118 5).
    let text = "OPTIONS sip:a@b SIP/2.0\r\n\r\nbody";
    peer.send(Message::text("\r\n\r\n")).await.expect("written");
    assert_eq!(peer.next().await.expect("open").expect("an answer"), Message::text("\r\n"));
    peer.send(Message::text(text)).await.expect("written");
    let packet = bench.next_sip().await;
    assert_eq!((packet.flow.transport, &packet.bytes[..]), (transport, text.as_bytes()));
    bench.streams.send(packet.flow, Bytes::from_static(b"answer"));
    assert_eq!(peer.next().await.expect("open").expect("an answer"), Message::text("answer"));
    peer.send(Message::binary(vec![b'x'; cti_sip::wire::limits::MESSAGE_LEN_MAX + 1])).await.expect("written");
    assert!(matches!(bench.next_other().await, Input::SipConnectionClosed(id) if Some(id) == packet.flow.connection));
}

#[tokio::test]
async fn a_websocket_that_does_not_speak_sip_is_refused() {
    let bench = bench_of(Transport::Ws, None);
    let error = tokio_tungstenite::connect_async(format!("ws://{}", bench.address)).await.expect_err("refused");
    assert!(error.to_string().contains("400"), "{error}");
}
