//! The program: makes the calls or waits for them, and prints what they came to.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::args::{Args, Load, Work};
use super::{CallReport, Figures, Outcome, Phone, PhoneError, PhoneEvent};

/// Events that wait to be printed and counted; the phone's thread waits where there are more.
const EVENTS_MAX: usize = 65_536;
/// The call was wrong.
const WRONG: u8 = 2;

/// Exit code 0: every call was answered and every registration accepted; 1: some were not; 2: the arguments make no sense.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let work = match args.work() {
        Ok(work) => work,
        Err(error) => {
            eprintln!("zongji phone: {error:#}");
            return Ok(ExitCode::from(WRONG));
        }
    };
    let json = work.json;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let figures = runtime.block_on(drive(work))?;
    println!("{}", if json { figures.to_json() } else { figures.to_text() });
    let bad = figures.failed + figures.cancelled + figures.register_failed;
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn drive(work: Work) -> anyhow::Result<Figures> {
    let Work { config, calls, take, json } = work;
    let lines = config.lines.len();
    let (sender, mut events) = mpsc::channel(EVENTS_MAX);
    let phone = Phone::start(config, move |event| {
        // Nobody listens any more once the program ends.
        let _ = sender.blocking_send(event);
    })?;
    let listening = phone.addresses().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if calls.is_none() {
        eprintln!("listening on {listening}");
    }
    let mut schedule = calls.map(|load| Schedule { load, made: 0, active: 0, next: Instant::now(), lines });
    let mut ended = 0;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    loop {
        let due = schedule.as_ref().and_then(Schedule::due);
        let idle = Instant::now() + Duration::from_secs(3_600);
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            () = sleep_until(due.unwrap_or(idle)), if due.is_some() => {
                if let Some(schedule) = &mut schedule {
                    schedule.dial(&phone)?;
                }
            }
            event = events.recv() => {
                let Some(event) = event else { break };
                print(&event, json);
                if let PhoneEvent::Ended { .. } = event {
                    ended += 1;
                    if let Some(schedule) = &mut schedule {
                        schedule.active -= 1;
                    }
                }
            }
        }
        let all_made = schedule.as_ref().is_some_and(|s| s.made == s.load.calls && s.active == 0);
        if all_made || take.is_some_and(|calls| ended >= calls) {
            break;
        }
    }
    // The thread's last events must not wait for a reader that is gone.
    let printer = tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            print(&event, json);
        }
    });
    let figures = tokio::task::spawn_blocking(move || phone.stop()).await?;
    printer.await?;
    Ok(figures)
}

/// Which call is next and when.
struct Schedule {
    load: Load,
    made: u64,
    active: usize,
    next: Instant,
    lines: usize,
}

impl Schedule {
    fn due(&self) -> Option<Instant> {
        (self.made < self.load.calls && self.active < self.load.concurrent).then_some(self.next)
    }

    fn dial(&mut self, phone: &Phone) -> anyhow::Result<()> {
        let mut plan = self.load.plan.clone();
        plan.line = (self.made % self.lines as u64) as usize;
        match phone.dial(plan) {
            Ok(_) => {
                self.made += 1;
                self.active += 1;
                // Calls that the limit held back are not made up for in a burst.
                self.next = (self.next + self.load.every).max(Instant::now() - self.load.every);
                Ok(())
            }
            // It is tried again at the next turn.
            Err(PhoneError::Full) => {
                self.next = Instant::now() + self.load.every;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn print(event: &PhoneEvent, json: bool) {
    let line = match event {
        PhoneEvent::Ended { report, .. } if json => serde_json::to_string(report).unwrap_or_default(),
        PhoneEvent::Ended { report, .. } => sentence(report),
        PhoneEvent::Registered { line, result: Err(status) } => format!("line {line}: registration refused: {status}"),
        PhoneEvent::Registered { line, result: Ok(0) } if !json => format!("line {line}: registration ended"),
        PhoneEvent::Registered { line, result: Ok(seconds) } if !json => {
            format!("line {line}: registered for {seconds} s")
        }
        PhoneEvent::Incoming { line, from, .. } if !json => format!("line {line}: call from {from}"),
        PhoneEvent::Digit { digit, .. } if !json => format!("key {digit}"),
        PhoneEvent::Registered { .. }
        | PhoneEvent::Incoming { .. }
        | PhoneEvent::Digit { .. }
        | PhoneEvent::Ringing { .. }
        | PhoneEvent::Answered { .. } => return,
    };
    // A closed standard error stops no call.
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn sentence(report: &CallReport) -> String {
    let peer = &report.peer;
    match report.outcome {
        Outcome::Answered => format!(
            "line {}: call with {peer} over after {:.1} s, setup {:.1} ms, packets in {} out {} lost {}",
            report.line,
            report.talk_ms as f64 / 1_000.0,
            report.setup_ms.unwrap_or_default(),
            report.packets_in,
            report.packets_out,
            report.packets_lost
        ),
        Outcome::Cancelled => format!("line {}: call with {peer} given up", report.line),
        Outcome::Failed { code } => format!("line {}: call with {peer} failed: {code}", report.line),
    }
}
