use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use cti_base::{AgentName, CallId, LegId, RecordingId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::srtp::SrtpKeys;
use crate::webrtc::WebRtc;

/// What a leg's voice is coded in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// G.711 mu-law, payload type 0 (RFC 3551).
    Pcmu,
    /// G.711 A-law, payload type 8 (RFC 3551).
    Pcma,
    /// G.722 at 64 kbit/s, payload type 9, whose RTP clock is 8,000 Hz by an old mistake (RFC 3551 4.5.2).
    G722,
    /// RFC 6716 by RFC 7587: a dynamic payload type, an RTP clock of 48,000 Hz.
    Opus,
}

/// The two laws of G.711, which every peer speaks: 8,000 samples a second, one byte a sample, each by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    Pcmu,
    Pcma,
}

impl Codec {
    /// The static payload type (RFC 3551 6), or the dynamic one that our offers name.
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
            Self::G722 => 9,
            Self::Opus => 111,
        }
    }

    /// Name, clock and channels as an rtpmap has them (RFC 3551 6, RFC 7587 7).
    pub const fn encoding(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU/8000",
            Self::Pcma => "PCMA/8000",
            Self::G722 => "G722/8000",
            Self::Opus => "opus/48000/2",
        }
    }

    /// How often the RTP clock ticks in 1/8000 s.
    pub const fn ticks(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 1,
            Self::Opus => 6,
        }
    }

    /// Which law it is; `None` for a codec with a memory ([`crate::voice::Voice`]).
    pub const fn law(self) -> Option<Law> {
        match self {
            Self::Pcmu => Some(Law::Pcmu),
            Self::Pcma => Some(Law::Pcma),
            Self::G722 | Self::Opus => None,
        }
    }

    /// Itself where it is a law, else A-law: for a peer that speaks the laws alone.
    pub const fn narrow(self) -> Self {
        match self {
            Self::Pcmu => Self::Pcmu,
            Self::Pcma | Self::G722 | Self::Opus => Self::Pcma,
        }
    }

    /// Whether packets of the one can be made packets of the other without decoding more than a table does.
    pub fn relays_to(self, other: Self) -> bool {
        self == other || (self.law().is_some() && other.law().is_some())
    }
}

/// Which way audio may flow, as seen from us (RFC 3264 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// What both allow.
    pub const fn narrow(self, other: Self) -> Self {
        match (self.sends() && other.sends(), self.receives() && other.receives()) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }
}

/// What offer and answer settled for one leg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegMedia {
    /// Where the peer said it listens; `None` where its port is 0. Symmetric RTP learns the true source from its packets.
    pub remote_rtp: Option<SocketAddr>,
    /// RTCP's address where it is not RTP's port + 1 (RFC 3605) or where it is muxed (RFC 5761).
    pub remote_rtcp: Option<SocketAddr>,
    pub codec: Codec,
    pub payload_type: u8,
    /// The payload type of telephone-event (RFC 4733), where the peer takes it.
    pub dtmf_payload_type: Option<u8>,
    pub direction: Direction,
    /// Where the stream is SRTP. Boxed, since most are not.
    #[serde(default)]
    pub srtp: Option<Box<SrtpKeys>>,
    /// How a browser that signals by SIP is reached; its `remote_rtp` is [`LegMedia::BROWSER`].
    #[serde(default)]
    pub webrtc: Option<Box<WebRtc>>,
}

impl LegMedia {
    /// Stands for a browser's address: its packets come by no socket of the leg's.
    pub const BROWSER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

    /// A browser's leg. Browsers speak both laws by their static numbers; keypresses come from the desk, not as packets.
    pub const fn browser(codec: Codec) -> Self {
        let codec = codec.narrow();
        Self {
            remote_rtp: Some(Self::BROWSER),
            remote_rtcp: None,
            codec,
            payload_type: codec.payload_type(),
            dtmf_payload_type: None,
            direction: Direction::SendRecv,
            srtp: None,
            webrtc: None,
        }
    }
}

/// A prompt, by locale and name: `zh-CN/welcome`. The worker has them all in memory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PromptRef(pub Arc<str>);

/// One playback, named by the switch, so that a late `Played` of an earlier one is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PlayId(pub u64);

/// What a playback is made of, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Audio {
    Prompt(PromptRef),
    /// Silence of so many milliseconds.
    Silence(u32),
    /// A sine of so many milliseconds.
    Tone {
        hz: u16,
        ms: u16,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The left channel.
    Customer,
    /// The right channel.
    Agent,
}

/// Which browser is at a leg's end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Browser {
    /// The agent's desk, whenever it is connected.
    Desk { tenant: TenantId, agent: AgentName },
    /// A phone that signals by SIP: `Connect` says how it is reached.
    Phone,
}

/// Whom one leg hears.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hears {
    pub leg: LegId,
    pub from: Vec<LegId>,
}

/// What the switch asks of a media worker. All legs of one call are on one worker: it is chosen by `CallId`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum MediaCommand {
    /// Binds RTP on `rtp_port` (even) and RTCP on the next, of the worker's address. Packets are dropped until `Connect`.
    Open {
        leg: LegId,
        call: CallId,
        rtp_port: u16,
    },
    /// A leg without ports: a browser is its peer.
    OpenBrowser {
        leg: LegId,
        call: CallId,
        browser: Browser,
    },
    /// What offer/answer settled, at first or anew.
    Connect {
        leg: LegId,
        media: LegMedia,
    },
    /// Who hears whom: each leg named hears exactly these from here on, the others as before. Saying it again changes
    /// nothing. Two that hear each other and nobody else are relayed, digits too, where their codecs are the same or both
    /// G.711's; whoever else hears somebody hears the sum, at 8,000 Hz. A `Play` on a leg is heard by it instead, a closed leg by nobody.
    Room {
        hears: Vec<Hears>,
    },
    /// Plays to one leg; replaces what played before (whose `Played` does not come). `repeat` loops for ever.
    Play {
        leg: LegId,
        play: PlayId,
        audio: Vec<Audio>,
        repeat: bool,
    },
    Stop {
        leg: LegId,
    },
    /// Presses keys towards this leg's peer by RFC 4733, one after the other behind those that still wait; the leg hears
    /// nothing else meanwhile. Nothing where the peer takes no telephone-event.
    Press {
        leg: LegId,
        digits: String,
    },
    /// Drops what this leg's party says before it reaches the other (mute at the server). The recording keeps silence.
    Mute {
        leg: LegId,
        muted: bool,
    },
    /// Starts a new file, whose clock starts here. What goes into it is said by `RecordFrom`; silence until then.
    Record {
        recording: RecordingId,
        call: CallId,
        tenant: TenantId,
        started: Timestamp,
    },
    /// A side's audio is what exactly these legs say from here on, together; silence where there is none. Saying it again
    /// changes nothing.
    RecordFrom {
        recording: RecordingId,
        side: Side,
        legs: Vec<LegId>,
    },
    RecordStop {
        recording: RecordingId,
    },
    /// Goes on with a recording that an earlier process began: its file is repaired to its last whole frame, silence stands
    /// for the time up to now, and what `RecordFrom` says follows in the same file. `RecordingResumed` says where the gap is.
    ///
    /// Where nothing of the file is left the recording begins anew, and the gap begins at 0.
    Resume {
        recording: RecordingId,
        call: CallId,
        tenant: TenantId,
        /// When it began at first: the file's first sample.
        started: Timestamp,
    },
    /// Finishes a recording that an earlier process had stopped, or that nobody goes on with: its file is repaired to its
    /// last whole frame and sealed. `RecordingSealed` or `RecordingFailed` follows; asking for it twice answers twice.
    Seal {
        recording: RecordingId,
        call: CallId,
        tenant: TenantId,
        started: Timestamp,
    },
    /// `Quiet` is told when nobody has spoken on this leg for so many milliseconds from here on, once.
    Watch {
        leg: LegId,
        quiet_ms: u32,
    },
    /// Frees the leg and its ports. `Closed` follows.
    Close {
        leg: LegId,
    },
}

impl MediaCommand {
    /// Both hear each other and nobody else.
    pub fn join(a: LegId, b: LegId) -> Self {
        Self::Room { hears: vec![Hears { leg: a, from: vec![b] }, Hears { leg: b, from: vec![a] }] }
    }

    /// None of these hears anybody.
    pub fn part(legs: &[LegId]) -> Self {
        Self::Room { hears: legs.iter().map(|leg| Hears { leg: *leg, from: Vec::new() }).collect() }
    }

    /// What goes into a recording: the customer's side and the agent's.
    pub fn record_from(recording: RecordingId, customer: Vec<LegId>, agent: Vec<LegId>) -> [Self; 2] {
        [(Side::Customer, customer), (Side::Agent, agent)].map(|(side, legs)| Self::RecordFrom {
            recording,
            side,
            legs,
        })
    }
}

/// What a leg's packets came to, for the call's quality record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegStats {
    pub packets_in: u64,
    pub packets_out: u64,
    /// By sequence numbers (RFC 3550 A.3).
    pub lost_in: u64,
    /// Interarrival jitter in RTP timestamp units of 1/8000 s (RFC 3550 6.4.1).
    pub jitter: u32,
    /// Packets from an address that was neither offered nor learnt.
    pub strangers: u64,
    /// Of our packets, as the peer's reports count them (RFC 3550 6.4.1); none where it sends no reports.
    #[serde(default)]
    pub lost_out: Option<u32>,
    /// Of our stream at the peer, in timestamp units.
    #[serde(default)]
    pub jitter_out: Option<u32>,
    /// There and back, by the peer's last report.
    #[serde(default)]
    pub round_trip_us: Option<u32>,
}

/// A finished recording file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Path below the store's root.
    pub path: String,
    pub duration_ms: u64,
    pub channels: u16,
    pub bytes: u64,
    /// SHA-256 of the whole file in lower-case hex.
    pub sha256: String,
    /// Why the file ends before the recording should have, and what to do about it; `None` for a whole one.
    #[serde(default)]
    pub incomplete: Option<String>,
}

/// A stretch of a recording that nobody heard: the file holds silence there. Milliseconds since the recording's start.
///
/// The switch keeps a recording's gaps, not the recorder: a later restart must not forget those of an earlier one. They
/// leave it with the fact that the recording has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub from_ms: u64,
    pub to_ms: u64,
}

/// Rare news from a worker or the recorder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum MediaEvent {
    /// The ports could not be bound: the leg can not live.
    OpenFailed {
        leg: LegId,
        reason: String,
    },
    /// One whole keypress (RFC 4733), however often its packets came: `0-9 * # A-D`.
    Digit {
        leg: LegId,
        digit: char,
    },
    /// A playback ran to its end.
    Played {
        leg: LegId,
        play: PlayId,
    },
    /// Nothing came from the peer for `rtp_timeout` while it should be sending.
    Silent {
        leg: LegId,
    },
    /// The page at the end of a phone's leg is gone for good.
    Gone {
        leg: LegId,
    },
    /// A leg that was to be watched has been without a voice for so long.
    Quiet {
        leg: LegId,
    },
    Closed {
        leg: LegId,
        stats: LegStats,
    },
    /// A recording of an earlier process goes on.
    RecordingResumed {
        recording: RecordingId,
        gap: Gap,
    },
    RecordingSealed {
        recording: RecordingId,
        file: Recorded,
    },
    RecordingFailed {
        recording: RecordingId,
        reason: String,
    },
}
