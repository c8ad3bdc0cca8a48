use std::sync::atomic::{AtomicU64, Ordering};

/// What all workers did since they started. Read at any time from any thread.
#[derive(Debug, Default)]
pub struct MediaCounters {
    packets_in: AtomicU64,
    packets_out: AtomicU64,
    lost: AtomicU64,
    strangers: AtomicU64,
    malformed: AtomicU64,
    ticks_late: AtomicU64,
    commands_lost: AtomicU64,
    legs: AtomicU64,
}

/// One worker's counts since it last added them to the shared ones: one atomic a wake-up, not a packet.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub packets_in: u64,
    pub packets_out: u64,
    pub lost: u64,
    pub strangers: u64,
    pub malformed: u64,
    pub ticks_late: u64,
}

impl MediaCounters {
    /// RTP packets of the legs' peers: `zongji_rtp_packets_total{dir="in"}`.
    pub fn packets_in(&self) -> u64 {
        self.packets_in.load(Ordering::Relaxed)
    }

    /// `zongji_rtp_packets_total{dir="out"}`.
    pub fn packets_out(&self) -> u64 {
        self.packets_out.load(Ordering::Relaxed)
    }

    /// Packets that the socket did not take: `zongji_rtp_lost_total`.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Datagrams from an address that is not the leg's peer.
    pub fn strangers(&self) -> u64 {
        self.strangers.load(Ordering::Relaxed)
    }

    /// Datagrams on an RTP or RTCP port that are neither.
    pub fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }

    /// 20 ms steps of the playing clock that were left out because the thread did not run.
    pub fn ticks_late(&self) -> u64 {
        self.ticks_late.load(Ordering::Relaxed)
    }

    /// Commands that a full worker did not take.
    pub fn commands_lost(&self) -> u64 {
        self.commands_lost.load(Ordering::Relaxed)
    }

    /// Open legs.
    pub fn legs(&self) -> u64 {
        self.legs.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, tally: &mut Tally) {
        let Tally { packets_in, packets_out, lost, strangers, malformed, ticks_late } = std::mem::take(tally);
        for (counter, count) in [
            (&self.packets_in, packets_in),
            (&self.packets_out, packets_out),
            (&self.lost, lost),
            (&self.strangers, strangers),
            (&self.malformed, malformed),
            (&self.ticks_late, ticks_late),
        ] {
            if count != 0 {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn command_lost(&self) {
        self.commands_lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leg_opened(&self) {
        self.legs.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leg_closed(&self) {
        self.legs.fetch_sub(1, Ordering::Relaxed);
    }
}
