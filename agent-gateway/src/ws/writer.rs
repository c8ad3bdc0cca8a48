use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::live::{self, Subscription};
use crate::hub::{Closer, Outgoing};
use crate::protocol::CloseCode;

/// How often the server pings (desktop.md 8).
const PING_EVERY: Duration = Duration::from_secs(10);
/// A close frame that can not be written within this is not written.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Closes a socket that may not join a desk.
pub async fn refuse(mut socket: WebSocket, code: CloseCode) {
    let _ = tokio::time::timeout(CLOSE_WITHIN, socket.send(close(code))).await;
}

/// Writes until the socket fails or is closed.
pub async fn run(
    mut sink: SplitSink<WebSocket, Message>,
    first: Vec<Utf8Bytes>,
    outgoing: mpsc::Receiver<Outgoing>,
    closer: Closer,
    source: live::Source,
) {
    let ended = tokio::select! {
        code = closer.closed() => code,
        () = write(&mut sink, first, outgoing, source) => {
            closer.end();
            closer.closed().await
        }
    };
    let last = ended.unwrap_or(CloseCode::GoingAway);
    let _ = tokio::time::timeout(CLOSE_WITHIN, sink.send(close(last))).await;
}

/// Returns when a write fails or the desk has let go of the socket.
async fn write(
    sink: &mut SplitSink<WebSocket, Message>,
    first: Vec<Utf8Bytes>,
    mut outgoing: mpsc::Receiver<Outgoing>,
    source: live::Source,
) {
    for frame in first {
        if sink.feed(Message::Text(frame)).await.is_err() {
            return;
        }
    }
    if sink.flush().await.is_err() {
        return;
    }
    let mut ping = tokio::time::interval(PING_EVERY);
    let mut tick = tokio::time::interval(live::SEND_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut subscription: Option<Subscription> = None;
    loop {
        let sent = tokio::select! {
            biased;
            next = outgoing.recv() => match next {
                None => return,
                Some(Outgoing::Frame(frame)) => sink.send(Message::Text(frame)).await,
                Some(Outgoing::Offer(frame, shown)) => {
                    let sent = sink.send(Message::Text(frame)).await;
                    if let (Ok(()), Some(shown)) = (&sent, &shown) {
                        shown.written();
                    }
                    sent
                }
                Some(Outgoing::Subscribe(filter)) => {
                    subscription = Some(Subscription::new(filter));
                    tick.reset_immediately();
                    Ok(())
                }
                Some(Outgoing::Unsubscribe) => {
                    subscription = None;
                    Ok(())
                }
            },
            _ = ping.tick() => sink.send(Message::Ping(Bytes::new())).await,
            _ = tick.tick(), if subscription.is_some() => {
                match subscription.as_mut().and_then(|subscription| subscription.next(&source)) {
                    Some(frame) => sink.send(Message::Text(frame)).await,
                    None => Ok(()),
                }
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

fn close(code: CloseCode) -> Message {
    Message::Close(Some(CloseFrame { code: code.code(), reason: Utf8Bytes::from_static(code.reason()) }))
}
