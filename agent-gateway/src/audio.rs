//! The browsers' audio as the gateway sees it: an offer goes to whoever holds the connections, the answer comes back.

use std::sync::Arc;
use std::time::Duration;

use cti_base::{AgentName, TenantId};
use cti_switch::desk::{Nack, NackCode};
use tokio::sync::oneshot;

use crate::hub::{Desk, Hub, Outgoing, SocketId, busy, encode, read_only};
use crate::protocol::{Event, GatewayEvent, MediaAnswer, MediaLost, ServerControl, TAB_LEN_MAX};

/// How long an answer may take: it is made from what is at hand, in milliseconds.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// The answer's SDP, or why there is none, for a person.
pub type AudioAnswer = oneshot::Receiver<Result<String, String>>;

/// What the node gives the gateway for audio in browsers.
#[derive(Clone)]
pub struct BrowserAudio {
    /// Connects an agent's page by its offer; the agent's page that was connected before is let go.
    pub offer: Arc<dyn Fn(TenantId, AgentName, String) -> AudioAnswer + Send + Sync>,
    /// Lets the agent's page go: nobody is signed in any more.
    pub close: Arc<dyn Fn(TenantId, AgentName) + Send + Sync>,
}

impl Default for BrowserAudio {
    /// Nobody talks by a browser.
    fn default() -> Self {
        let offer = |_, _, _| {
            let (answer, waits) = oneshot::channel();
            let _ = answer.send(Err("this server has no audio for browsers".to_owned()));
            waits
        };
        Self { offer: Arc::new(offer), close: Arc::new(|_, _| {}) }
    }
}

impl Hub {
    /// A tab's offer: the answer goes to that tab alone, which owns the agent's audio from then on.
    pub(crate) async fn media_offer(
        &self,
        desk: &Desk,
        socket: SocketId,
        sdp: String,
        tab: String,
    ) -> Result<(), Nack> {
        if tab.is_empty() || tab.len() > TAB_LEN_MAX {
            let message = format!("a tab's name has 1 to {TAB_LEN_MAX} bytes");
            return Err(Nack { code: NackCode::BadFrame, message, retryable: false });
        }
        {
            let state = desk.lock();
            if !state.has_control(socket) {
                return Err(read_only());
            }
            if !state.view.agent.as_ref().is_some_and(|agent| agent.browser) {
                let message = "this agent does not talk by the browser".to_owned();
                return Err(Nack { code: NackCode::WrongState, message, retryable: false });
            }
        }
        let answer = (self.audio().offer)(desk.tenant.clone(), desk.agent.clone(), sdp);
        let sdp = match tokio::time::timeout(ANSWER_WAIT, answer).await {
            Ok(Ok(Ok(sdp))) => sdp,
            Ok(Ok(Err(message))) => return Err(Nack { code: NackCode::BadFrame, message, retryable: false }),
            Ok(Err(_)) | Err(_) => return Err(busy("the server's audio does not answer: try again")),
        };
        let mut state = desk.lock();
        let lost = encode(&ServerControl::MediaLost(MediaLost { tab: tab.clone() }));
        if let Some(earlier) = state.media_socket.replace(socket).filter(|earlier| *earlier != socket) {
            state.send_to(earlier, Outgoing::Frame(lost));
        }
        state.send_to(socket, Outgoing::Frame(encode(&ServerControl::MediaAnswer(MediaAnswer { sdp }))));
        state.push(crate::now_ms(), Event::Gateway(GatewayEvent::MediaOwner { tab }), None);
        Ok(())
    }
}
