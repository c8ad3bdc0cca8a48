//! A bank of phones on one UDP port, told apart by the user of the address: they ring, and answer when they are told to.
//! What passes is noted as it is on the wire, repetitions left out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;

/// One message of the program's: its method, the phone's user, and the call's `X-Zongji-Call` where it is an INVITE.
#[derive(Clone, Debug)]
pub struct Heard {
    pub method: String,
    pub user: String,
    pub call: String,
}

#[derive(Default)]
struct Shared {
    heard: Vec<Heard>,
    /// Who answers: everybody, or this user.
    answers: Option<String>,
}

pub struct Bank {
    shared: Arc<Mutex<Shared>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A phone that rings or talks, by Call-ID.
struct Ringing {
    invite: String,
    from: SocketAddr,
    user: String,
    answered: Option<Instant>,
}

impl Bank {
    /// On `port` of 127.0.0.1; who has answered hangs up after `talk`.
    pub fn start(port: u16, talk: Duration) -> Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(Duration::from_millis(5)))?;
        let (shared, over) = (Arc::new(Mutex::new(Shared::default())), Arc::new(AtomicBool::new(false)));
        let (of, until) = (Arc::clone(&shared), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            let mut phones = BTreeMap::new();
            let mut known = BTreeSet::new();
            while !until.load(Ordering::Relaxed) {
                let mut bytes = [0; 65_536];
                if let Ok((len, from)) = socket.recv_from(&mut bytes) {
                    let text = String::from_utf8_lossy(&bytes[..len]).into_owned();
                    take(&socket, port, &text, from, &of, &mut phones, &mut known);
                }
                act(&socket, port, talk, &of, &mut phones);
            }
        });
        Ok(Self { shared, over, thread: Some(thread) })
    }

    /// From here on this phone answers, or every one where it is `*`.
    pub fn answer(&self, user: &str) {
        self.shared.lock().expect("the bank's notes").answers = Some(user.to_owned());
    }

    pub fn ring_only(&self) {
        self.shared.lock().expect("the bank's notes").answers = None;
    }

    pub fn heard(&self, method: &str) -> Vec<Heard> {
        let shared = self.shared.lock().expect("the bank's notes");
        shared.heard.iter().filter(|heard| heard.method == method).cloned().collect()
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn take(
    socket: &UdpSocket,
    port: u16,
    text: &str,
    from: SocketAddr,
    shared: &Mutex<Shared>,
    phones: &mut BTreeMap<String, Ringing>,
    known: &mut BTreeSet<(String, String)>,
) {
    let mut words = text.split(' ');
    let (method, uri) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if method.starts_with("SIP/") {
        return;
    }
    let (id, user) = (header(text, "Call-ID"), user_of(uri));
    let send = |text: String| {
        let _ = socket.send_to(text.as_bytes(), from);
    };
    if known.insert((method.to_owned(), id.clone())) {
        let call = header(text, "X-Zongji-Call");
        let heard = Heard { method: method.to_owned(), user: user.clone(), call };
        shared.lock().expect("the bank's notes").heard.push(heard);
        if method == "INVITE" {
            phones.insert(id.clone(), Ringing { invite: text.to_owned(), from, user, answered: None });
            send(answer(text, port, "180 Ringing", ""));
            return;
        }
    }
    match method {
        "CANCEL" => {
            send(answer(text, port, "200 OK", ""));
            if let Some(phone) = phones.get(&id).filter(|phone| phone.answered.is_none()) {
                send(answer(&phone.invite, port, "487 Request Terminated", ""));
                phones.remove(&id);
            }
        }
        "BYE" | "NOTIFY" => send(answer(text, port, "200 OK", "")),
        _ => {}
    }
}

/// Answers and hangs up what is due.
fn act(socket: &UdpSocket, port: u16, talk: Duration, shared: &Mutex<Shared>, phones: &mut BTreeMap<String, Ringing>) {
    let answers = shared.lock().expect("the bank's notes").answers.clone();
    let mut over = Vec::new();
    for (id, phone) in phones.iter_mut() {
        let is_told = answers.as_ref().is_some_and(|user| user == "*" || *user == phone.user);
        match phone.answered {
            None if is_told => {
                phone.answered = Some(Instant::now());
                let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                           m=audio 9 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n";
                let _ = socket.send_to(answer(&phone.invite, port, "200 OK", sdp).as_bytes(), phone.from);
            }
            Some(since) if since.elapsed() >= talk => {
                let _ = socket.send_to(bye(phone, port).as_bytes(), phone.from);
                over.push(id.clone());
            }
            Some(_) | None => {}
        }
    }
    over.into_iter().for_each(|id| drop(phones.remove(&id)));
}

fn header(text: &str, name: &str) -> String {
    let line =
        text.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{}:", name.to_ascii_lowercase())));
    line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

fn user_of(uri: &str) -> String {
    let user = uri.trim_start_matches("sip:").split('@').next();
    user.unwrap_or_default().to_owned()
}

fn answer(request: &str, port: u16, status: &str, sdp: &str) -> String {
    let vias = request.lines().filter(|line| line.starts_with("Via:")).map(|line| format!("{line}\r\n"));
    let (to, user) = (header(request, "To"), user_of(request.split(' ').nth(1).unwrap_or_default()));
    let to = if to.contains(";tag=") { to } else { format!("{to};tag=bank{}", header(request, "Call-ID").len()) };
    let kind = if sdp.is_empty() { String::new() } else { "Content-Type: application/sdp\r\n".to_owned() };
    format!(
        "SIP/2.0 {status}\r\n{}From: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <sip:{user}@127.0.0.1:{port}>\r\n{kind}Content-Length: {}\r\n\r\n{sdp}",
        vias.collect::<String>(),
        header(request, "From"),
        header(request, "Call-ID"),
        header(request, "CSeq"),
        sdp.len()
    )
}

/// The phone ends its talk: the sides of the INVITE the other way round.
fn bye(phone: &Ringing, port: u16) -> String {
    let contact = header(&phone.invite, "Contact");
    let target = contact.split(['<', '>']).nth(1).unwrap_or(&contact).to_owned();
    let id = header(&phone.invite, "Call-ID");
    format!(
        "BYE {target} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bKbye{id}\r\nMax-Forwards: 70\r\n\
         From: {};tag=bank{}\r\nTo: {}\r\nCall-ID: {id}\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n",
        header(&phone.invite, "To"),
        id.len(),
        header(&phone.invite, "From"),
    )
}
