use std::sync::atomic::Ordering;
use std::time::Duration;

use cti_switch::desk::{self, AgentState, AgentView, CallState, CallView, Nack, NackCode, OfferCreated, Standing};
use cti_switch::live::{AgentLive, Alarm, Live, QueueLive};
use cti_switch::{Input, Presence};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::server::{Client, Server, Socket, agent, agent_view, call, call_id, offer, offer_id, tenant};
use crate::hub::Observers;

fn hello() -> Value {
    json!({ "proto": 1, "build": "test" })
}

fn agent_live(state: AgentState) -> AgentLive {
    AgentLive {
        name: agent(),
        display: "王芳".into(),
        state,
        reason: None,
        since_ms: 1,
        call_id: None,
        connection: "none".into(),
        media: desk::MediaHealth::Ok,
        browser: false,
    }
}

fn standing(agent: AgentView, offer: Option<Box<OfferCreated>>, call: Option<Box<CallView>>) -> desk::Event {
    desk::Event::Standing(Box::new(Standing { agent, offer, call, draining: false }))
}

/// A desk whose arrival the switch was told of.
async fn desk(server: &mut Server, client: &Client) -> (Socket, Value, Option<Value>) {
    let desk = client.desk(hello()).await;
    assert!(matches!(server.input().await, Input::DeskPresence { presence: Presence::Connected, .. }));
    desk
}

#[tokio::test]
async fn who_may_not_have_a_desk_is_told_by_the_close_code() {
    let server = Server::start().await;
    assert_eq!(server.stranger().socket().await.closed().await, Some(4001));
    let client = server.client("acme", "agent").await;
    let other = client.socket_with(|headers| {
        headers.remove("sec-websocket-protocol");
    });
    assert_eq!(other.await.expect("the handshake").closed().await, Some(4010));
    let mut old = client.socket().await;
    old.send(json!({ "t": "hello", "d": { "proto": 2, "build": "new" } })).await;
    assert_eq!(old.closed().await, Some(4010));
    let mut mute = client.socket().await;
    mute.send(json!({ "id": "1", "t": "call.hold", "d": { "call_id": call_id(1) } })).await;
    assert_eq!(mute.closed().await, Some(4010), "hello comes first");
}

#[tokio::test]
async fn a_desk_gets_a_snapshot_then_events_and_after_a_loss_what_it_missed() {
    let mut server = Server::start().await;
    let client = server.client("acme", "agent").await;
    server.hub.deliver(&tenant(), &agent(), desk::Event::AgentState(agent_view(AgentState::Break, 1)));
    let (mut socket, welcome, snapshot) = desk(&mut server, &client).await;
    let snapshot = snapshot.expect("a snapshot");
    assert_eq!((&snapshot["seq"], &welcome["seq"], &welcome["control"]), (&json!(1), &json!(1), &json!(true)));
    assert_eq!(snapshot["agent"]["state"], "break");
    server.hub.deliver(&tenant(), &agent(), desk::Event::AgentState(agent_view(AgentState::Ready, 2)));
    let event = socket.receive().await;
    assert_eq!((&event["seq"], &event["t"], &event["d"]["state"]), (&json!(2), &json!("agent.state"), &json!("ready")));
    assert!(event["ts"].as_u64().is_some());

    drop(socket);
    assert!(matches!(server.input().await, Input::DeskPresence { presence: Presence::Disconnected, .. }));
    for number in 1..=3 {
        server.hub.deliver(&tenant(), &agent(), desk::Event::CallConnected(call(number, CallState::Talking, 1)));
    }
    server.hub.deliver(&tenant(), &"bob".into(), desk::Event::AgentState(agent_view(AgentState::Ready, 1)));
    let mut resume = hello();
    resume["resume"] = json!({ "epoch": welcome["epoch"], "seq": 2 });
    let (mut socket, again, none) = client.desk(resume.clone()).await;
    assert!(again["resumed"] == true && none.is_none());
    for seq in 3..=5 {
        assert_eq!(socket.receive().await["seq"], seq);
    }
    resume["resume"]["epoch"] = json!("another start");
    let (_, again, snapshot) = client.desk(resume).await;
    assert!(again["resumed"] == false && snapshot.expect("a snapshot")["calls"].as_array().map(Vec::len) == Some(3));
}

#[tokio::test]
async fn the_first_snapshot_after_a_start_holds_what_went_on_while_nobody_was_here() {
    let mut server = Server::start().await;
    server.publish("acme", Live { agents: vec![agent_live(AgentState::Talking)], ..Live::default() });
    let client = server.client("acme", "agent").await;
    let hub = server.hub.clone();
    let (connected, told) = tokio::join!(client.desk(hello()), async {
        let told = server.input().await;
        // The switch takes its time; nobody is shown half of it.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (agent_view, call) = (agent_view(AgentState::Talking, 7), call(1, CallState::Talking, 3));
        hub.deliver(&tenant(), &agent(), standing(agent_view, None, Some(call)));
        told
    });
    assert!(matches!(told, Input::DeskPresence { presence: Presence::Connected, .. }), "{told:?}");
    let (mut socket, welcome, snapshot) = connected;
    let snapshot = snapshot.expect("a snapshot");
    assert_eq!((&snapshot["agent"]["state"], &snapshot["agent"]["ver"]), (&json!("talking"), &json!(7)));
    assert_eq!(snapshot["calls"][0]["call_id"], json!(call_id(1).to_string()));
    assert_eq!(snapshot["seq"], welcome["seq"]);

    // A desk that knows all is told nothing; one that shows what is over is told that.
    hub.deliver(
        &tenant(),
        &agent(),
        standing(agent_view(AgentState::Talking, 7), None, Some(call(1, CallState::Talking, 3))),
    );
    hub.deliver(&tenant(), &agent(), standing(agent_view(AgentState::Ready, 8), Some(offer(2)), None));
    let mut names = Vec::new();
    for _ in 0..3 {
        names.push(socket.receive().await["t"].clone());
    }
    assert_eq!(names, ["wrapup.ended", "agent.state", "offer.created"]);
    hub.deliver(&tenant(), &agent(), standing(agent_view(AgentState::Ready, 8), None, None));
    assert_eq!(socket.receive().await["t"], "offer.withdrawn");
}

#[tokio::test]
async fn a_switch_that_does_not_say_how_things_stand_keeps_no_desk_waiting() {
    let mut server = Server::start().await;
    server.publish("acme", Live { agents: vec![agent_live(AgentState::Break)], ..Live::default() });
    let client = server.client("acme", "agent").await;
    let began = std::time::Instant::now();
    let (_, _, snapshot) = desk(&mut server, &client).await;
    assert!((1..5).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert_eq!(snapshot.expect("a snapshot")["agent"]["state"], "break", "what is published is shown meanwhile");
}

#[tokio::test]
async fn an_offer_is_shown_when_it_is_written_and_at_once_without_a_desk() {
    let mut server = Server::start().await;
    server.hub.offer(&tenant(), &agent(), offer(1));
    assert!(matches!(server.input().await, Input::OfferShown { offer } if offer == offer_id(1)));
    assert_eq!(server.pops.load(Ordering::SeqCst), 0, "nothing was written");

    let client = server.client("acme", "agent").await;
    let (mut socket, _, snapshot) = desk(&mut server, &client).await;
    assert_eq!(snapshot.expect("a snapshot")["offers"][0]["offer_id"], json!(offer_id(1).to_string()));
    server.hub.offer(&tenant(), &agent(), offer(2));
    assert!(matches!(server.input().await, Input::OfferShown { offer } if offer == offer_id(2)));
    let frame = socket.receive().await;
    assert_eq!((&frame["t"], &frame["d"]["pop"]["number"]), (&json!("offer.created"), &json!("+8613800138000")));
    assert_eq!(server.pops.load(Ordering::SeqCst), 1);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(server.inbox.try_recv().is_err(), "it is said once");
}

#[tokio::test]
async fn a_command_reaches_the_switch_once_and_its_answer_the_desk() {
    let mut server = Server::start().await;
    let client = server.client("acme", "agent").await;
    server.hub.deliver(&tenant(), &agent(), desk::Event::CallConnected(call(1, CallState::Talking, 4)));
    let (mut socket, _, _) = desk(&mut server, &client).await;
    let hold = json!({ "id": "c1", "t": "call.hold", "d": { "call_id": call_id(1) }, "expect_ver": 4 });
    socket.send(hold.clone()).await;
    socket.send(hold.clone()).await;
    // What stands behind both in the same socket is answered only after both were read.
    socket.send_text("{").await;
    assert_eq!(socket.receive().await["d"]["code"], "bad_frame");
    let Input::Desk { tenant: t, agent: a, id, command } = server.input().await else { panic!("no command") };
    assert_eq!((t, a, command), (tenant(), agent(), desk::Command::Hold { call_id: call_id(1) }));
    server.hub.reply(id, Ok(()));
    assert_eq!(socket.receive().await, json!({ "t": "ack", "d": { "id": "c1", "seq": 1 } }));
    socket.send(hold).await;
    assert_eq!(socket.receive().await["t"], "ack", "the answer comes again, the effect does not");
    assert!(server.inbox.try_recv().is_err());

    let stale = json!({ "id": "c2", "t": "call.hangup", "d": { "call_id": call_id(1) }, "expect_ver": 3 });
    socket.send(stale).await;
    assert_eq!(socket.receive().await["d"]["code"], "conflict");
    socket.send(json!({ "id": "c3", "t": "agent.set_state", "d": { "state": "ready" } })).await;
    let Input::Desk { id, .. } = server.input().await else { panic!("no command") };
    let nack = Nack { code: NackCode::WrongState, message: "not now".into(), retryable: false };
    server.hub.reply(id, Err(nack));
    let nack = socket.receive().await;
    assert_eq!(
        (&nack["t"], &nack["d"]["id"], &nack["d"]["code"]),
        (&json!("nack"), &json!("c3"), &json!("wrong_state"))
    );
}

#[tokio::test]
async fn a_frame_that_makes_no_sense_is_refused_counted_and_changes_nothing() {
    let mut server = Server::start().await;
    let client = server.client("acme", "agent").await;
    let (mut socket, _, _) = desk(&mut server, &client).await;
    let long = format!(r#"{{"id":"x","t":"call.hold","d":{{"call_id":"{}"}}}}"#, "x".repeat(70_000));
    let cases = [
        ("{", "bad_frame"),
        (r#"{"id":"x","t":"call.hold","d":{"call_id":"7"}}"#, "bad_frame"),
        (r#"{"id":"x","t":"call.fly","d":{}}"#, "unknown_command"),
        (r#"{"id":"x","t":"call.dial","d":{}}"#, "not_supported"),
        (r#"{"id":"x","t":"call.transfer","d":{}}"#, "bad_frame"),
        (r#"{"t":"hello","d":{"proto":1}}"#, "bad_frame"),
        (long.as_str(), "bad_frame"),
    ];
    for (text, code) in cases {
        socket.send_text(text).await;
        let nack = socket.receive().await;
        assert_eq!((&nack["t"], &nack["d"]["code"]), (&json!("nack"), &json!(code)), "{nack}");
    }
    assert_eq!(server.refused.load(Ordering::SeqCst), cases.len());
    assert!(server.inbox.try_recv().is_err());
    socket.send(json!({ "id": "y", "t": "sub", "d": { "topic": "live" } })).await;
    assert_eq!(socket.receive().await["t"], "ack", "the desk goes on");
}

#[tokio::test]
async fn of_two_tabs_exactly_one_controls() {
    let mut server = Server::start().await;
    let client = server.client("acme", "agent").await;
    let (mut first, _, _) = desk(&mut server, &client).await;
    let (mut second, welcome, _) = client.desk(hello()).await;
    assert_eq!(welcome["control"], true);
    let lost = first.receive().await;
    assert_eq!((&lost["t"], &lost["d"]["control"]), (&json!("control"), &json!(false)));
    let ready = |id: &str| json!({ "id": id, "t": "agent.set_state", "d": { "state": "ready" } });
    first.send(ready("a")).await;
    assert_eq!(first.receive().await["d"]["code"], "forbidden");

    first.send(json!({ "id": "b", "t": "session.take_control", "d": {} })).await;
    assert_eq!(first.receive().await["d"]["control"], true);
    assert_eq!(first.receive().await["t"], "ack");
    assert_eq!(second.receive().await["d"]["control"], false);
    first.send(ready("c")).await;
    let Input::Desk { id, .. } = server.input().await else { panic!("no command; presence did not change") };
    server.hub.reply(id, Ok(()));
    assert_eq!(first.receive().await["t"], "ack");
    server.hub.deliver(&tenant(), &agent(), desk::Event::AgentState(agent_view(AgentState::Ready, 1)));
    assert_eq!(second.receive().await["t"], "agent.state", "a read-only tab still sees");

    let mut modest = hello();
    modest["control"] = json!(false);
    let (third, welcome, _) = client.desk(modest).await;
    assert_eq!(welcome["control"], false);
    drop(first);
    assert!(matches!(server.input().await, Input::DeskPresence { presence: Presence::Disconnected, .. }));
    drop((second, third));
}

#[tokio::test]
async fn the_tab_that_controls_gets_an_answer_for_its_audio_and_the_one_before_is_told() {
    let mut server = Server::start().await;
    let client = server.client("acme", "agent").await;
    server.hub.deliver(&tenant(), &agent(), desk::Event::AgentState(agent_view(AgentState::Ready, 1)));
    let (mut first, _, snapshot) = desk(&mut server, &client).await;
    assert!(snapshot.expect("a snapshot")["media_owner"].is_null());
    let offer =
        |id: &str, sdp: &str, tab: &str| json!({ "id": id, "t": "media.offer", "d": { "sdp": sdp, "tab": tab } });
    first.send(offer("a", "v=0", "one")).await;
    assert_eq!(first.receive().await["d"]["code"], "wrong_state", "the agent has a phone");
    let talks_by_browser = AgentView { browser: true, ..agent_view(AgentState::Ready, 2) };
    server.hub.deliver(&tenant(), &agent(), desk::Event::AgentState(talks_by_browser));
    assert_eq!(first.receive().await["d"]["browser"], true);
    first.send(offer("b", "nonsense", "one")).await;
    assert_eq!(first.receive().await["d"]["message"], "it is no offer");
    first.send(offer("c", "v=0 one", "one")).await;
    let answer = first.receive().await;
    assert_eq!((&answer["t"], &answer["d"]["sdp"]), (&json!("media.answer"), &json!("v=0 one")));
    let owner = first.receive().await;
    assert_eq!((&owner["t"], &owner["d"]["tab"]), (&json!("media.owner"), &json!("one")));
    assert_eq!(first.receive().await["t"], "ack");

    let (mut second, _, snapshot) = client.desk(hello()).await;
    assert_eq!(snapshot.expect("a snapshot")["media_owner"], "one");
    assert_eq!(first.receive().await["t"], "control");
    first.send(offer("d", "v=0", "one")).await;
    assert_eq!(first.receive().await["d"]["code"], "forbidden");
    second.send(offer("e", "v=0 two", "two")).await;
    assert_eq!(second.receive().await["t"], "media.answer");
    let lost = first.receive().await;
    assert_eq!((&lost["t"], &lost["d"]["tab"]), (&json!("media.lost"), &json!("two")));
    assert_eq!(first.receive().await["t"], "media.owner");
}

#[tokio::test]
async fn a_desk_that_does_not_read_is_closed_and_resumes() {
    let mut server = Server::start().await;
    let client = server.client("acme", "agent").await;
    let (mut socket, welcome, _) = desk(&mut server, &client).await;
    let mut big = call(1, CallState::Talking, 1);
    big.pop.vars.insert("note".into(), "x".repeat(20_000));
    // A hundred megabytes, of which only what has a named limit is kept.
    let events = 5_000;
    for ver in 1..=events {
        big.ver = ver;
        server.hub.deliver(&tenant(), &agent(), desk::Event::CallConnected(big.clone()));
    }
    let kept = server.hub.desk(&tenant(), &agent()).lock().bytes_kept();
    assert!(kept <= 8 * 1024 * 1024, "{kept} bytes are kept for one desk");
    assert!(matches!(server.input().await, Input::DeskPresence { presence: Presence::Disconnected, .. }));
    // What the network still holds comes, in order; then the close frame where it could be written.
    let mut last = 0;
    let code = loop {
        match tokio::time::timeout(Duration::from_secs(10), futures_util::StreamExt::next(&mut socket.stream)).await {
            Ok(Some(Ok(tokio_tungstenite::tungstenite::Message::Text(text)))) => {
                let frame: Value = serde_json::from_str(&text).expect("JSON");
                assert_eq!(frame["seq"], json!(last + 1));
                last += 1;
            }
            Ok(Some(Ok(tokio_tungstenite::tungstenite::Message::Close(frame)))) => {
                break frame.map(|f| u16::from(f.code));
            }
            Ok(Some(Ok(_))) => {}
            Ok(Some(Err(_)) | None) => break None,
            Err(_) => panic!("neither frames nor an end"),
        }
    };
    assert!(code == Some(4008) || code.is_none(), "{code:?}");
    assert!(last < events, "it was cut off after {last}");
    // Too much was missed: the whole state comes instead.
    let mut resume = hello();
    resume["resume"] = json!({ "epoch": welcome["epoch"], "seq": last });
    let (mut socket, again, snapshot) = client.desk(resume.clone()).await;
    let snapshot = snapshot.expect("a snapshot");
    assert_eq!((&again["resumed"], &snapshot["seq"]), (&json!(false), &json!(events)));
    assert_eq!((&snapshot["calls"][0]["ver"], snapshot["calls"].as_array().map(Vec::len)), (&json!(events), Some(1)));
    // A little was missed: that little comes.
    for ver in events + 1..=events + 3 {
        big.ver = ver;
        server.hub.deliver(&tenant(), &agent(), desk::Event::CallConnected(big.clone()));
    }
    assert_eq!(socket.receive().await["seq"], json!(events + 1));
    drop(socket);
    resume["resume"]["seq"] = json!(events + 1);
    let (mut socket, again, _) = client.desk(resume).await;
    assert_eq!(again["resumed"], true);
    let missed = [socket.receive().await, socket.receive().await];
    assert_eq!(missed.map(|frame| frame["d"]["ver"].clone()), [json!(events + 2), json!(events + 3)]);
}

#[tokio::test]
async fn a_silent_desk_is_pinged_and_given_up_after_25_seconds() {
    let mut server = Server::start().await;
    let (silent, alive) = (server.client("acme", "agent").await, server.client("acme", "bob").await);
    let (_held_open, _, _) = desk(&mut server, &silent).await;
    let (mut reading, _, _) = desk(&mut server, &alive).await;
    let began = std::time::Instant::now();
    // A client that reads answers pings by itself; one that does not is silent.
    let read = tokio::spawn(async move {
        let mut pings = 0;
        while let Some(Ok(message)) = futures_util::StreamExt::next(&mut reading.stream).await {
            pings += usize::from(message.is_ping());
            if pings == 3 {
                break;
            }
        }
        (pings, reading)
    });
    let gone = tokio::time::timeout(Duration::from_secs(40), server.inbox.recv()).await.expect("in time");
    let Some(Input::DeskPresence { agent: who, presence: Presence::Disconnected, .. }) = gone else {
        panic!("{gone:?}")
    };
    assert_eq!(who, agent());
    let after_s = began.elapsed().as_secs_f64();
    assert!((24.0..30.0).contains(&after_s), "{after_s}");
    let (pings, _reading) = tokio::time::timeout(Duration::from_secs(15), read).await.expect("in time").expect("read");
    assert_eq!(pings, 3, "every ten seconds, the first at once");
}

#[tokio::test]
async fn what_is_typed_is_kept_and_a_conflict_shows_both() {
    let mut server = Server::start().await;
    let client = server.client("acme", "agent").await;
    let (mut socket, _, _) = desk(&mut server, &client).await;
    let save = |id: &str, text: &str, rev: u32| {
        json!({ "id": id, "t": "draft.save", "expect_ver": rev,
                "d": { "call_id": call_id(1), "kind": "inquiry", "fields": { "title": text } } })
    };
    socket.send(save("1", "a", 0)).await;
    let saved = socket.receive().await;
    assert_eq!(
        (&saved["t"], &saved["d"]["rev"], &saved["d"]["fields"]["title"]),
        (&json!("draft.saved"), &json!(1), &json!("a"))
    );
    assert_eq!(socket.receive().await["t"], "ack");
    socket.send(save("2", "b", 0)).await;
    assert_eq!(socket.receive().await["d"]["fields"]["title"], "a", "what the other one saved");
    assert_eq!(socket.receive().await["d"]["code"], "conflict");
    socket.send(save("3", "b", 1)).await;
    assert_eq!(socket.receive().await["d"]["rev"], 2);
    assert_eq!(socket.receive().await["t"], "ack");

    // A new start of the server has them from the records.
    let (_, drafts) = client.get("drafts").await;
    assert_eq!(drafts["items"][0]["fields"]["title"], "b");
    let (_, _, snapshot) = client.desk(hello()).await;
    assert_eq!(snapshot.expect("a snapshot")["drafts"][0]["rev"], 2);
    let case = json!({ "kind": "inquiry", "title": "b", "call_id": call_id(1) });
    assert_eq!(client.post("cases", case).await.0, StatusCode::CREATED);
    loop {
        let frame = socket.receive().await;
        if frame["t"] == "draft.cleared" {
            assert_eq!(frame["d"]["kind"], "inquiry");
            break;
        }
    }
    assert_eq!(client.get("drafts").await.1["items"], json!([]));
}

#[tokio::test]
async fn live_comes_whole_then_as_changes() {
    let mut server = Server::start().await;
    let queue = |waiting| QueueLive { waiting, ..QueueLive::named("repair".into()) };
    server.publish("acme", Live { at_ms: 1, queues: vec![queue(0)], ..Live::default() });
    let client = server.client("acme", "agent").await;
    let (mut socket, _, _) = desk(&mut server, &client).await;
    socket.send(json!({ "id": "s", "t": "sub", "d": { "topic": "live" } })).await;
    assert_eq!(socket.receive().await["t"], "ack");
    let first = socket.receive().await;
    assert_eq!((&first["topic"], &first["rev"], &first["d"]["full"]), (&json!("live"), &json!(1), &json!(true)));
    assert!(first.get("seq").is_none());
    for waiting in 1..=50 {
        server.publish("acme", Live { at_ms: 2, queues: vec![queue(waiting)], ..Live::default() });
    }
    let second = socket.receive().await;
    assert_eq!((&second["rev"], &second["d"]["queues"][0]["waiting"]), (&json!(2), &json!(50)), "latest wins");
    socket.send(json!({ "id": "u", "t": "unsub", "d": { "topic": "live" } })).await;
    while socket.receive().await["t"] != "ack" {}
    server.publish("acme", Live { at_ms: 3, queues: vec![queue(7)], ..Live::default() });
    let silent = tokio::time::timeout(Duration::from_millis(1_200), futures_util::StreamExt::next(&mut socket.stream));
    assert!(silent.await.is_err(), "nothing more comes");
}

#[tokio::test]
async fn alarms_are_for_those_who_can_do_something_about_them() {
    let server = Server::start().await;
    let alarm = |code: &str| Alarm { code: code.into(), message: "trouble".into(), since_ms: 5 };
    let alarms = vec![alarm("journal"), alarm("recording_failed")];
    server.publish("acme", Live { at_ms: 1, alarms, ..Live::default() });
    let codes = [("supervisor", 2), ("admin", 2), ("qa", 1), ("agent", 0)];
    for (user, count) in codes {
        let client = server.client("acme", user).await;
        let (mut socket, _, _) = client.desk(hello()).await;
        socket.send(json!({ "id": "s", "t": "sub", "d": { "topic": "live" } })).await;
        assert_eq!(socket.receive().await["t"], "ack");
        let first = socket.receive().await;
        let got = first["d"]["alarms"].as_array().expect("the first names all there are");
        assert_eq!(got.len(), count, "{user}: {got:?}");
        assert!(user != "qa" || got[0]["code"] == "recording_failed");
    }
}

#[tokio::test]
async fn signing_out_closes_the_desk_and_only_that_sign_ins() {
    let mut server = Server::start().await;
    let (one, two) = (server.client("acme", "agent").await, server.client("acme", "agent").await);
    let (mut first, _, _) = desk(&mut server, &one).await;
    let (mut second, _, _) = two.desk(hello()).await;
    assert_eq!(one.delete("session").await.0, StatusCode::NO_CONTENT);
    assert_eq!(first.closed().await, Some(4001));
    server.hub.deliver(&tenant(), &agent(), desk::Event::AgentState(agent_view(AgentState::Ready, 1)));
    assert_eq!(second.receive().await["t"], "agent.state");
    server.hub.close_all();
    assert_eq!(second.closed().await, Some(1001));
}

#[tokio::test]
async fn a_switch_that_is_gone_or_full_is_busy_and_the_command_may_come_again() {
    let mut server = Server::start().await;
    let client = server.client("acme", "agent").await;
    let (mut socket, _, _) = desk(&mut server, &client).await;
    server.inbox.close();
    for _ in 0..2 {
        socket.send(json!({ "id": "x", "t": "agent.set_state", "d": { "state": "ready" } })).await;
        let nack = socket.receive().await;
        assert_eq!((&nack["d"]["code"], &nack["d"]["retryable"]), (&json!("busy"), &json!(true)));
    }
    // Measuring is the node's affair: without it everything works.
    (Observers::default().pop)(Duration::ZERO);
}
