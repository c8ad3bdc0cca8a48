//! Media, the pure parts: SDP offer and answer, RTP and RTCP, codecs, RFC 4733 digits, ports, and the commands and events
//! that pass between the switch and the media workers. No socket and no clock: the worker in `node` owns those.

mod command;
pub mod dtmf;
pub mod g711;
pub mod g722;
pub mod lanes;
pub mod leg;
pub mod mixer;
pub mod ports;
pub mod prompt;
pub mod quality;
pub mod rtcp;
pub mod rtp;
pub mod samples;
pub mod sdp;
pub mod srtp;
pub mod tone;
pub mod voice;
pub mod webrtc;

pub use command::{
    Audio, Browser, Codec, Direction, Gap, Hears, Law, LegMedia, LegStats, MediaCommand, MediaEvent, PlayId, PromptRef,
    Recorded, Side,
};
