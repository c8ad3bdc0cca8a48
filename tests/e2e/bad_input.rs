//! Bad input gets its answer at the place where it came in, and nothing else happens.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::answered::{MENU, contact_agent, tenant};
use crate::server::{Ports, Server, machine};

fn invite(sip: u16, port: u16, did: &str, sdp: &str) -> String {
    format!(
        "INVITE sip:{did}@127.0.0.1:{sip} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{did}{}\r\nFrom: <sip:13800138000@127.0.0.1>;tag=a\r\n\
         To: <sip:{did}@127.0.0.1>\r\nCall-ID: {did}-{}@test\r\nCSeq: 1 INVITE\r\nContact: <sip:x@127.0.0.1:{port}>\r\nMax-Forwards: 70\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len(),
        sdp.len(),
        sdp.len()
    )
}

/// The first final answer's status line to `request`.
fn final_answer(socket: &UdpSocket, sip: u16, request: &str) -> Result<String> {
    socket.send_to(request.as_bytes(), ("127.0.0.1", sip))?;
    let mut buffer = [0; 65_536];
    loop {
        let (len, _) = socket.recv_from(&mut buffer)?;
        let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
        let line = text.lines().next().unwrap_or_default().to_owned();
        if !line.starts_with("SIP/2.0 1") {
            return Ok(line);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_sip_gets_its_status_and_nothing_else() -> Result<()> {
    let _machine = machine().await;
    let ports = Ports::block(7);
    let server = Server::start(ports, &tenant(&contact_agent("1001", ports.free, "")), &[("main.toml", MENU)]).await?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(3)))?;
    let port = socket.local_addr()?.port();
    let sdp = |codec: &str| {
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP {codec}\r\n"
        )
    };
    let unknown = final_answer(&socket, ports.sip, &invite(ports.sip, port, "99999999", &sdp("8")))?;
    ensure!(unknown.starts_with("SIP/2.0 404"), "an unknown DID: {unknown}");
    let codec = final_answer(&socket, ports.sip, &invite(ports.sip, port, "4001001001", &sdp("18")))?;
    ensure!(codec.starts_with("SIP/2.0 488"), "no common codec: {codec}");
    let before = server.metric("zongji_sip_rejected_total", "malformed").await?;
    socket.send_to(b"HELLO\x00\xff\xfe garbage\r\n\r\n", ("127.0.0.1", ports.sip))?;
    socket.send_to(b"INVITE sip:4001001001@x SIP/2.0\r\nVia nonsense", ("127.0.0.1", ports.sip))?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    ensure!(
        server.metric("zongji_sip_rejected_total", "malformed").await? >= before + 2.0,
        "malformed datagrams are counted"
    );
    let live = server.until_idle().await?;
    ensure!(live["agents"][0]["state"] == "ready", "{live:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_files_are_refused_with_their_place_and_change_nothing() -> Result<()> {
    let _machine = machine().await;
    let ports = Ports::block(8);
    let server = Server::start(ports, &tenant(&contact_agent("1001", ports.free, "")), &[("main.toml", MENU)]).await?;
    let good = std::fs::read_to_string(server.path("tenant.toml"))?;
    let refused = |name: &str, text: &str, expect: &str| -> Result<()> {
        std::fs::write(server.path(name), text)?;
        for command in ["check", "apply"] {
            if command == "apply" && name.ends_with("ivr.toml") {
                continue;
            }
            let error = server.run(&[command, name]).err().map(|error| error.to_string()).unwrap_or_default();
            ensure!(error.contains(expect), "{command} {name}: expected {expect:?} in {error:?}");
        }
        Ok(())
    };
    refused("typo.toml", &good.replace("wrapup_s", "wrapup_z"), "wrapup_s")?;
    let line = good.lines().position(|line| line.starts_with("wrapup_s")).unwrap_or_default() + 1;
    refused("typo.toml", &good.replace("wrapup_s", "wrapup_z"), &format!("typo.toml:{line}:"))?;
    refused("dangling.toml", &good.replace("queue = \"repair\" }", "queue = \"repari\" }"), "repari")?;
    refused("broken-ivr.toml", "[script]\nname = \"x\"\nstart = \"nowhere\"\n", "nowhere")?;
    let again = server.run(&["apply", "tenant.toml"])?;
    ensure!(again.contains("no changes"), "{again}");
    Ok(())
}
