//! The demo's callers: at a calm rate, from numbers that are often a customer's, with patience of their own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use cti_sip::Transport;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{any_port, dice, records, speech};
use crate::phone::{Answer, CallPlan, CallScript, LineConfig, Phone, PhoneConfig, PhoneEvent, Sound, Span};

/// How long a call lasts on the average, which with the number of callers gives the rate.
const CALL_MEAN: Duration = Duration::from_secs(45);
/// Calls never come closer together than this.
const GAP_MIN: Duration = Duration::from_millis(200);
/// Of 100 callers: those who ring the number without a menu, and those who ring the dealers'.
const STRAIGHT_PERCENT: u64 = 12;
const DEALER_PERCENT: u64 = 25;
/// Of 100 callers: those who give up soon, and those whom the records do not know.
const IMPATIENT_PERCENT: u64 = 12;
const STRANGER_PERCENT: u64 = 25;
/// Of 100 dealers: those who press a key while they wait.
const TIRED_PERCENT: u64 = 30;
/// What is pressed in the menu, as often as it stands here.
const DIGITS: [&str; 10] = ["1", "1", "2", "2", "2", "2", "3", "4", "0", "92"];

/// The callers while they call. Dropped, they hang up.
pub struct Calling {
    _phone: Option<Arc<Phone>>,
    _stop: DropGuard,
}

/// Begins calling `sip`, with at most `callers` calls at once; none for 0.
pub fn start(sip: SocketAddr, callers: usize) -> anyhow::Result<Calling> {
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    if callers == 0 {
        return Ok(Calling { _phone: None, _stop: guard });
    }
    let line = LineConfig {
        listen: any_port(sip.ip()),
        transport: Transport::Udp,
        user: "carrier".into(),
        register: None,
        answer: Answer::Reject(486),
        script: CallScript::default(),
        incoming_max: 0,
    };
    let active = Arc::new(AtomicUsize::new(0));
    let ended = active.clone();
    let events = move |event: PhoneEvent| {
        if let PhoneEvent::Ended { .. } = event {
            ended.fetch_sub(1, Ordering::Relaxed);
        }
    };
    let phone = Arc::new(Phone::start(PhoneConfig { lines: vec![line] }, events).context("the callers' phone")?);
    let voices = [
        speech("zh-CN", &["all_busy", "queue_welcome"])?,
        speech("zh-CN", &["recording_notice", "enter_number"])?,
        speech("en", &["recording_notice", "enter_number"])?,
    ];
    // The phone is the guard's alone: dropped, it hangs up at once.
    let weak = Arc::downgrade(&phone);
    tokio::spawn(async move {
        while !stop.is_cancelled() {
            let Some(phone) = weak.upgrade() else { return };
            if active.load(Ordering::Relaxed) < callers {
                active.fetch_add(1, Ordering::Relaxed);
                if let Err(error) = phone.dial(plan(sip, &voices)) {
                    active.fetch_sub(1, Ordering::Relaxed);
                    tracing::warn!(%error, "a simulated caller could not call");
                }
            }
            drop(phone);
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(gap(callers)) => {}
            }
        }
    });
    Ok(Calling { _phone: Some(phone), _stop: guard })
}

/// From half to one and a half of what keeps `callers` busy.
fn gap(callers: usize) -> Duration {
    let mean_ms = CALL_MEAN.as_millis() as u64 / callers.max(1) as u64;
    Duration::from_millis(mean_ms / 2 + dice(mean_ms + 1)).max(GAP_MIN)
}

fn plan(sip: SocketAddr, voices: &[Sound; 3]) -> CallPlan {
    let kind = dice(100);
    let (did, digits) = if kind < STRAIGHT_PERCENT {
        ("4001001001", None)
    } else if kind < STRAIGHT_PERCENT + DEALER_PERCENT {
        // Some would rather be called back, or leave a message.
        let key = (dice(100) < TIRED_PERCENT).then(|| if dice(2) == 0 { "1" } else { "2" });
        ("4001001002", key.map(|key| (Duration::from_millis(8_000 + dice(8_000)), key.to_owned())))
    } else {
        let pause = Duration::from_millis(2_000 + dice(5_000));
        ("4001001000", Some((pause, DIGITS[dice(DIGITS.len() as u64) as usize].to_owned())))
    };
    let from = if dice(100) < STRANGER_PERCENT {
        format!("1709{:07}", dice(10_000_000))
    } else {
        records::phone(dice(records::CUSTOMERS as u64) as usize)
    };
    let stay = if dice(100) < IMPATIENT_PERCENT {
        Span::between(Duration::from_secs(4), Duration::from_secs(9))
    } else {
        Span::between(Duration::from_secs(25), Duration::from_secs(70))
    };
    CallPlan {
        line: 0,
        to: format!("sip:{did}@{sip}"),
        from: Some(from),
        credentials: None,
        ring_max: Some(Duration::from_secs(60)),
        script: CallScript {
            sound: voices[dice(voices.len() as u64) as usize].clone(),
            digits,
            hangup_after: Some(stay),
            save: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_between_calls_keeps_the_wanted_number_busy() {
        for callers in [1usize, 4, 20] {
            let mean = CALL_MEAN / callers as u32;
            for _ in 0..100 {
                let gap = gap(callers);
                assert!(
                    gap >= mean / 2 - Duration::from_millis(1) && gap <= mean * 3 / 2 + Duration::from_millis(1),
                    "{gap:?}"
                );
            }
        }
        assert!(gap(500) >= GAP_MIN);
    }

    #[test]
    fn callers_press_what_the_menu_knows() {
        let sip = SocketAddr::from(([127, 0, 0, 1], 5060));
        let voices = [Sound::Silence, Sound::Silence, Sound::Silence];
        for _ in 0..200 {
            let plan = plan(sip, &voices);
            let digits = plan.script.digits.map(|(_, digits)| digits).unwrap_or_default();
            assert!(digits.bytes().all(|digit| b"012349".contains(&digit)), "{digits}");
            match &plan.to {
                to if to.contains("4001001000") => assert!(!digits.is_empty()),
                to if to.contains("4001001002") => assert!(["", "1", "2"].contains(&digits.as_str()), "{digits}"),
                _ => assert!(digits.is_empty()),
            }
        }
    }
}
