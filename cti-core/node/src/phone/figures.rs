use serde::Serialize;

use super::{CallNumber, Line};

/// Setup times that are kept for the percentiles.
const SETUPS_MAX: usize = 200_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Out,
    In,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was answered, and ended some time after.
    Answered,
    /// The caller gave up before the answer: the other side on an incoming call, we on an outgoing one.
    Cancelled,
    /// The status that refused it; on an incoming call, ours.
    Failed { code: u16 },
}

/// What one call came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CallReport {
    #[serde(skip)]
    pub call: CallNumber,
    pub line: Line,
    pub direction: Direction,
    /// The other side's number.
    pub peer: String,
    pub outcome: Outcome,
    /// From the INVITE to the answer.
    pub setup_ms: Option<f64>,
    pub talk_ms: u64,
    pub packets_in: u64,
    pub packets_out: u64,
    /// By sequence numbers.
    pub packets_lost: u64,
    /// Keys that the other side pressed.
    pub digits: String,
    /// Whether the other side hung up.
    pub ended_by_peer: bool,
}

/// What all calls came to.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub calls: u64,
    pub answered: u64,
    pub cancelled: u64,
    pub failed: u64,
    pub active: u64,
    /// Lines whose registration was accepted at least once.
    pub registered: u64,
    /// Registrations refused, each time.
    pub register_failed: u64,
    pub packets_in: u64,
    pub packets_out: u64,
    pub packets_lost: u64,
    /// Milliseconds, of the first `SETUPS_MAX` answered outgoing calls.
    setups: Vec<f32>,
}

/// The figures as `--json` prints them.
#[derive(Serialize)]
struct Printed {
    calls: u64,
    answered: u64,
    cancelled: u64,
    failed: u64,
    registered: u64,
    register_failed: u64,
    setup_ms_p50: Option<f32>,
    setup_ms_p99: Option<f32>,
    setup_ms_max: Option<f32>,
    packets_in: u64,
    packets_out: u64,
    packets_lost: u64,
}

impl Figures {
    pub(crate) fn add(&mut self, report: &CallReport) {
        match report.outcome {
            Outcome::Answered => self.answered += 1,
            Outcome::Cancelled => self.cancelled += 1,
            Outcome::Failed { .. } => self.failed += 1,
        }
        self.packets_in += report.packets_in;
        self.packets_out += report.packets_out;
        self.packets_lost += report.packets_lost;
        if let (Direction::Out, Some(setup)) = (report.direction, report.setup_ms)
            && self.setups.len() < SETUPS_MAX
        {
            self.setups.push(setup as f32);
        }
    }

    /// The setup time, in milliseconds, that `percent` of the answered outgoing calls did not exceed.
    pub fn setup_ms(&self, percent: f64) -> Option<f32> {
        let mut sorted = self.setups.clone();
        sorted.sort_by(f32::total_cmp);
        let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.printed()).unwrap_or_default()
    }

    pub fn to_text(&self) -> String {
        let p = self.printed();
        let ms = |time: Option<f32>| time.map_or("-".to_owned(), |ms| format!("{ms:.1}"));
        let mut text = format!(
            "calls {} answered {} cancelled {} failed {}\nsetup ms p50 {} p99 {} max {}\npackets in {} out {} lost {}",
            p.calls,
            p.answered,
            p.cancelled,
            p.failed,
            ms(p.setup_ms_p50),
            ms(p.setup_ms_p99),
            ms(p.setup_ms_max),
            p.packets_in,
            p.packets_out,
            p.packets_lost
        );
        if p.registered + p.register_failed > 0 {
            text += &format!("\nregistered {} failed {}", p.registered, p.register_failed);
        }
        text
    }

    fn printed(&self) -> Printed {
        Printed {
            calls: self.calls,
            answered: self.answered,
            cancelled: self.cancelled,
            failed: self.failed,
            registered: self.registered,
            register_failed: self.register_failed,
            setup_ms_p50: self.setup_ms(50.0),
            setup_ms_p99: self.setup_ms(99.0),
            setup_ms_max: self.setup_ms(100.0),
            packets_in: self.packets_in,
            packets_out: self.packets_out,
            packets_lost: self.packets_lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_calls_that_were_answered() {
        let mut figures = Figures::default();
        assert_eq!(figures.setup_ms(50.0), None);
        figures.setups = (1..=100).rev().map(|ms| ms as f32).collect();
        assert_eq!(figures.setup_ms(50.0), Some(50.0));
        assert_eq!(figures.setup_ms(99.0), Some(99.0));
        assert_eq!(figures.setup_ms(100.0), Some(100.0));
        assert!(figures.to_json().contains("\"setup_ms_p99\":99.0"));
    }
}
