//! The `cc.v1` websocket's frames. Payloads of calls, offers and agents are `cti_switch::desk`'s own types; what stands here is
//! the envelope and what needs no switch: drafts, control of the desk, topics.
//!
//! Every server frame is one of three, told apart by a key: an event has `seq`, a topic frame has `topic`, the rest have only `t` and `d`.

mod client;
mod close;
mod server;
mod topic;

pub use client::{ClientFrame, ClientMessage, CommandFrame, FrameError, GatewayCommand, Hello, Resume, parse};
pub use close::CloseCode;
pub use server::{
    Ack, Control, ControlReason, Event, EventFrame, GatewayEvent, MediaAnswer, MediaLost, NackFrame, ServerControl,
    Snapshot, Welcome,
};
pub use topic::{LiveDelta, LiveFilter, Topic, TopicFrame};
pub use zongji_sql::drafts::Draft;

/// The websocket subprotocol: a handshake that does not offer it is closed with 4010.
pub const SUBPROTOCOL: &str = "cc.v1";
/// `hello.proto`.
pub const PROTO: u32 = 1;
/// A client's frame may be this long.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// A tab's name may be this long.
pub const TAB_LEN_MAX: usize = 64;
/// A client's command id may be this long.
pub const COMMAND_ID_LEN_MAX: usize = 64;
