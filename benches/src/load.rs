//! The whole program under load: SIPp rings in, SIPp phones answer, the program's CPU time comes from the kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const AGENTS: u16 = 100;
const RATE: u32 = 50;
const SECONDS: u32 = 20;
const SIP: u16 = 15_600;
const HTTP: u16 = 15_601;
const METRICS: u16 = 15_602;
const PHONES: u16 = 15_610;
const CALLERS: u16 = 15_620;
/// What the kernel counts in: `getconf CLK_TCK` is 100 on every Linux that Debian ships.
const TICKS_PER_S: f64 = 100.0;

/// `load`: 50 calls/s for 20 s through a menu-less DID, a queue and 100 contact phones, one second of talk.
pub fn queue_calls() -> Result<(), String> {
    let dir = std::env::temp_dir().join(format!("zongji-bench-{}", std::process::id()));
    fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
    let result = run(&dir);
    let _ = fs::remove_dir_all(&dir);
    result
}

fn run(dir: &Path) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut tenant = String::from(
        "[tenant]\nid = \"bench\"\nname = \"Bench\"\n[[trunk]]\nname = \"t\"\nhosts = [\"127.0.0.1\"]\nmax_calls = 1000\n\
         [[number]]\ndid = \"4001001001\"\ntrunk = \"t\"\nroute = { queue = \"q\" }\n[[queue]]\nname = \"q\"\nwrapup_s = 0\n",
    );
    for n in 0..AGENTS {
        tenant.push_str(&format!(
            "[[agent]]\nname = \"{n:03}\"\nqueues = [\"q\"]\nalways_ready = true\nphone = {{ kind = \"contact\", uri = \"sip:{n:03}@127.0.0.1:{PHONES}\" }}\n"
        ));
    }
    fs::write(dir.join("tenant.toml"), tenant).map_err(text)?;
    let data = dir.join("data");
    fs::write(
        dir.join("zongji.toml"),
        format!(
            "[node]\ndrain_s = 0\n[http]\nlisten = \"127.0.0.1:{HTTP}\"\n[sip]\nudp = [\"127.0.0.1:{SIP}\"]\ntcp = []\n[metrics]\nlisten = \"127.0.0.1:{METRICS}\"\n\
             [database]\nurl = \"sqlite:{0}/zongji.db\"\n[recordings]\nstore = \"file:{0}/recordings\"\n",
            data.display()
        ),
    )
    .map_err(text)?;
    let zongji = program()?;
    let command = |args: &[&str]| {
        let mut command = Command::new(&zongji);
        command.args(args).arg("--config").arg(dir.join("zongji.toml")).arg("--data").arg(&data).current_dir(dir);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    if !command(&["apply", "tenant.toml"]).status().map_err(text)?.success() {
        return Err("zongji apply failed".into());
    }
    let server = Ended(command(&["serve"]).spawn().map_err(text)?);
    let scenario = |name: &str, text: &str| {
        // Signalling alone: the relay has its own case.
        let plain: String = text.lines().filter(|line| !line.contains("rtp_stream")).map(|line| format!("{line}\n")).collect();
        let path = dir.join(name);
        fs::write(&path, plain.replace("DIGIT", "").replace("RING", "0")).map(|()| path).map_err(|error| error.to_string())
    };
    let phone = scenario("phone.xml", include_str!("../../tests/e2e/sipp/phone.xml"))?;
    let caller = scenario("caller.xml", include_str!("../../tests/e2e/sipp/caller.xml"))?;
    let _phones = Ended(sipp(dir, &phone, PHONES).spawn().map_err(text)?);
    std::thread::park_timeout(Duration::from_secs(2));
    let calls = RATE * SECONDS;
    let before = cpu_s(server.0.id())?;
    let started = Instant::now();
    let status = sipp(dir, &caller, CALLERS)
        .arg(format!("127.0.0.1:{SIP}"))
        .args(["-s", "4001001001", "-key", "caller", "13800138000", "-d", "1000"])
        .args(["-m", &calls.to_string(), "-r", &RATE.to_string(), "-timeout", "60"])
        .status()
        .map_err(text)?;
    let took = started.elapsed();
    std::thread::park_timeout(Duration::from_secs(3));
    let spent = cpu_s(server.0.id())? - before;
    let answered = metric("zongji_calls_total", "outcome=\"answered\"")?;
    println!(
        "load      {calls} calls at {RATE}/s over {AGENTS} phones: {answered} answered, sipp {}; {:.2} ms CPU a call in the whole process ({:.1} s in {:.1} s)",
        if status.success() { "0 failed".into() } else { format!("ended with {status}") },
        spent * 1_000.0 / f64::from(calls),
        spent,
        took.as_secs_f64()
    );
    for name in ["zongji_setup_seconds", "zongji_pop_seconds"] {
        if let Ok(count) = metric(&format!("{name}_count"), "") {
            println!("          {name}: {count} observed, {} within 10 ms", metric(&format!("{name}_bucket"), "le=\"0.01\"")?);
        }
    }
    if !status.success() || answered < f64::from(calls) {
        return Err(format!("{answered} of {calls} calls were answered"));
    }
    Ok(())
}

fn sipp(dir: &Path, scenario: &Path, port: u16) -> Command {
    let mut command = Command::new("sipp");
    command.arg("-sf").arg(scenario).args(["-i", "127.0.0.1", "-p", &port.to_string(), "-nostdin"]);
    command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The release build beside this one.
fn program() -> Result<PathBuf, String> {
    let path = std::env::current_exe().map_err(|error| error.to_string())?.with_file_name("zongji");
    path.exists().then_some(path).ok_or_else(|| "build the program first: cargo build --release -p zongji (make bench does)".into())
}

/// User and system CPU seconds of a process, all threads (proc(5), fields 14 and 15).
fn cpu_s(pid: u32) -> Result<f64, String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|error| error.to_string())?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<f64>().ok()).ok_or("no CPU time in /proc");
    Ok((ticks(11)? + ticks(12)?) / TICKS_PER_S)
}

/// The sum of a metric's samples whose labels contain `labels`.
fn metric(name: &str, labels: &str) -> Result<f64, String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", METRICS)).map_err(|error| error.to_string())?;
    write!(stream, "GET /metrics HTTP/1.0\r\n\r\n").map_err(|error| error.to_string())?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(|error| error.to_string())?;
    let lines = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
    Ok(lines.filter(|line| line.contains(labels)).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

/// A process that ends with its bench.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
