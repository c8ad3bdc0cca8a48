use cti_base::CallId;
use cti_switch::desk::{self, Nack, NackCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ts_rs::TS;

use super::{COMMAND_ID_LEN_MAX, LiveFilter, Topic};

/// Everything a client sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(untagged)]
pub enum ClientFrame {
    Hello { t: HelloTag, d: Hello },
    Command(CommandFrame),
}

/// `hello`, the first frame's `t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
pub enum HelloTag {
    #[serde(rename = "hello")]
    Hello,
}

/// The client's first frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Hello {
    /// 1; a client may also write the subprotocol's name, `"cc.v1"`.
    #[serde(deserialize_with = "proto")]
    pub proto: u32,
    /// The web application's build, for the log and for "update when idle".
    #[serde(default)]
    pub build: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub resume: Option<Resume>,
    /// False: come back as a read-only tab. A client that lost control says so, lest reconnecting take it back.
    #[serde(default = "control_by_default")]
    #[ts(as = "Option<bool>", optional)]
    pub control: bool,
}

/// A number, or the name of a subprotocol whose number we know; any other name is protocol 0, which is nobody's.
fn proto<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Proto {
        Number(u32),
        Name(String),
    }
    Ok(match Proto::deserialize(deserializer)? {
        Proto::Number(number) => number,
        Proto::Name(name) if name == super::SUBPROTOCOL => super::PROTO,
        Proto::Name(_) => 0,
    })
}

const fn control_by_default() -> bool {
    true
}

/// The last event applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Resume {
    pub epoch: String,
    #[ts(type = "number")]
    pub seq: u64,
}

/// A command: `ack` or `nack` with the same `id` follows. The same `id` within ten minutes has its effect once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
pub struct CommandFrame {
    pub id: String,
    /// The version the client saw: of the call for `call.*` and `wrapup.*`, of the agent for `agent.*`, the draft's `rev` for
    /// `draft.save` (0: none yet). Another one is refused with `conflict`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub expect_ver: Option<u32>,
    #[serde(flatten)]
    #[ts(flatten)]
    pub command: AnyCommand,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(untagged)]
pub enum AnyCommand {
    Desk(desk::Command),
    Gateway(GatewayCommand),
}

/// The commands that need no switch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "t", content = "d")]
pub enum GatewayCommand {
    /// Keeps what the agent typed, keyed by call and kind.
    #[serde(rename = "draft.save")]
    SaveDraft {
        call_id: CallId,
        kind: String,
        #[ts(type = "Record<string, unknown>")]
        fields: Map<String, Value>,
    },
    /// The page's `RTCPeerConnection` offers one audio stream, with all candidates it needs: none, since the server is
    /// ICE-lite. `media.answer` follows. Only the tab that controls may; the agent's earlier connection ends.
    #[serde(rename = "media.offer")]
    MediaOffer {
        sdp: String,
        /// The tab's own name for itself.
        tab: String,
    },
    /// "Take control here": this tab controls, the others become read-only.
    #[serde(rename = "session.take_control")]
    TakeControl {},
    #[serde(rename = "sub")]
    Sub {
        topic: Topic,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        filter: Option<LiveFilter>,
    },
    #[serde(rename = "unsub")]
    Unsub { topic: Topic },
}

/// A frame that parsed.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientMessage {
    Hello(Hello),
    Desk { id: String, expect_ver: Option<u32>, command: desk::Command },
    Gateway { id: String, expect_ver: Option<u32>, command: GatewayCommand },
}

/// A frame that did not parse: `nack`, with the command's id where one could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameError {
    pub id: Option<String>,
    pub nack: Nack,
}

/// The switch's commands by name: `cti_switch::desk::Command`.
const DESK: [&str; 18] = [
    "agent.set_state",
    "offer.accept",
    "offer.reject",
    "call.hangup",
    "call.hold",
    "call.retrieve",
    "call.mute",
    "call.unmute",
    "call.dtmf",
    "call.transfer",
    "call.consult",
    "call.swap",
    "call.complete",
    "call.cancel_consult",
    "call.conference",
    "call.supervise",
    "wrapup.extend",
    "wrapup.finish",
];
const GATEWAY: [&str; 5] = ["draft.save", "media.offer", "session.take_control", "sub", "unsub"];
/// In the protocol, but this server does not carry them out: `not_supported`.
const NOT_SUPPORTED: [&str; 3] = ["call.dial", "recording.pause", "recording.resume"];

/// Reads one text frame of a client.
pub fn parse(text: &str) -> Result<ClientMessage, FrameError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Raw {
        #[serde(default)]
        id: Option<String>,
        t: String,
        #[serde(default)]
        d: Option<Value>,
        #[serde(default)]
        expect_ver: Option<u32>,
    }
    let raw: Raw = serde_json::from_str(text).map_err(|e| {
        // A frame whose envelope is wrong may still be an object that tells which command it was.
        let id = serde_json::from_str::<Value>(text).ok().and_then(|v| v.get("id")?.as_str().map(String::from));
        bad(id.filter(|id| id.len() <= COMMAND_ID_LEN_MAX), format!("the frame does not parse: {e}; send {{id,t,d}}"))
    })?;
    let d = raw.d.unwrap_or_else(|| Value::Object(Map::new()));
    if raw.t == "hello" {
        let hello = serde_json::from_value(d).map_err(|e| bad(raw.id, format!("hello does not parse: {e}")))?;
        return Ok(ClientMessage::Hello(hello));
    }
    let Some(id) = raw.id else {
        return Err(bad(None, format!("`{}` has no id: every command needs one", clip(&raw.t))));
    };
    if id.is_empty() || id.len() > COMMAND_ID_LEN_MAX {
        return Err(bad(None, format!("a command's id has 1 to {COMMAND_ID_LEN_MAX} bytes")));
    }
    let name = raw.t.as_str();
    if NOT_SUPPORTED.contains(&name) {
        let message = format!("this server does not carry out `{}`", clip(name));
        return Err(refuse(Some(id), NackCode::NotSupported, message));
    }
    let expect_ver = raw.expect_ver;
    if DESK.contains(&name) {
        let command = payload(&id, name, d)?;
        Ok(ClientMessage::Desk { id, expect_ver, command })
    } else if GATEWAY.contains(&name) {
        let command = payload(&id, name, d)?;
        Ok(ClientMessage::Gateway { id, expect_ver, command })
    } else {
        let message = format!("there is no command `{}`", clip(name));
        Err(refuse(Some(id), NackCode::UnknownCommand, message))
    }
}

fn payload<T: serde::de::DeserializeOwned>(id: &str, t: &str, d: Value) -> Result<T, FrameError> {
    let mut tagged = Map::new();
    tagged.insert("t".into(), t.into());
    tagged.insert("d".into(), d);
    serde_json::from_value(Value::Object(tagged))
        .map_err(|e| bad(Some(id.to_owned()), format!("`d` of `{t}` does not parse: {e}")))
}

fn bad(id: Option<String>, message: String) -> FrameError {
    refuse(id, NackCode::BadFrame, message)
}

fn refuse(id: Option<String>, code: NackCode, message: String) -> FrameError {
    FrameError { id, nack: Nack { code, message, retryable: false } }
}

/// At most the first 40 characters of what a client sent, for an error text.
fn clip(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> (Option<String>, NackCode) {
        let error = parse(text).expect_err(text);
        (error.id, error.nack.code)
    }

    #[test]
    fn commands_parse_by_name() {
        let frame = r#"{"id":"a1","t":"agent.set_state","d":{"state":"ready"},"expect_ver":3}"#;
        let ClientMessage::Desk { id, expect_ver, command } = parse(frame).expect("parses") else {
            panic!("not the switch's")
        };
        assert_eq!((id.as_str(), expect_ver), ("a1", Some(3)));
        let expect = desk::Command::SetState { state: desk::WantedState::Ready, reason: None };
        assert_eq!(command, expect);
        let sub = parse(r#"{"id":"a2","t":"sub","d":{"topic":"live"}}"#).expect("parses");
        assert!(matches!(sub, ClientMessage::Gateway { command: GatewayCommand::Sub { .. }, .. }));
        assert!(parse(r#"{"id":"a3","t":"session.take_control"}"#).is_ok());
    }

    #[test]
    fn hello_controls_unless_it_says_no() {
        let control = |text| match parse(text).expect("parses") {
            ClientMessage::Hello(hello) => hello.control,
            other => panic!("{other:?}"),
        };
        assert!(control(r#"{"t":"hello","d":{"proto":1,"build":"x"}}"#));
        assert!(!control(r#"{"t":"hello","d":{"proto":1,"build":"x","control":false}}"#));
    }

    #[test]
    fn what_does_not_parse_is_refused_with_a_code() {
        assert_eq!(code("{"), (None, NackCode::BadFrame));
        assert_eq!(code("[]"), (None, NackCode::BadFrame));
        assert_eq!(code(r#"{"id":"x","t":1}"#), (Some("x".into()), NackCode::BadFrame));
        assert_eq!(code(r#"{"t":"call.hold","d":{}}"#), (None, NackCode::BadFrame));
        assert_eq!(code(r#"{"id":"x","t":"call.hold","d":{"call_id":"no"}}"#), (Some("x".into()), NackCode::BadFrame));
        assert_eq!(code(r#"{"id":"x","t":"call.fly","d":{}}"#), (Some("x".into()), NackCode::UnknownCommand));
        assert_eq!(code(r#"{"id":"x","t":"call.dial","d":{}}"#), (Some("x".into()), NackCode::NotSupported));
    }

    /// Each name in `DESK` is known to the switch's enum: with no payload it must fail for its payload, not for its name.
    #[test]
    fn the_list_of_the_switchs_commands_is_true() {
        for name in DESK {
            let error = serde_json::from_value::<desk::Command>(serde_json::json!({"t": name, "d": 0}));
            let text = error.expect_err(name).to_string();
            assert!(!text.contains("unknown variant"), "{name}: {text}");
        }
        let error = serde_json::from_value::<desk::Command>(serde_json::json!({"t": "x", "d": 0}));
        let text = error.expect_err("x is no command").to_string();
        assert_eq!(text.matches('`').count() / 2 - 1, DESK.len(), "a command of the switch is missing here: {text}");
    }
}
