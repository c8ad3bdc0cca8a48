//! A release build of the program under measurement: its data, its tenant, its CPU time and its metrics.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub const SIP: u16 = 15_600;
const HTTP: u16 = 15_601;
const METRICS: u16 = 15_602;
/// What the kernel counts CPU time in: `getconf CLK_TCK` is 100 on every Linux that Debian ships.
const TICKS_PER_S: f64 = 100.0;
const WARM_UP: Duration = Duration::from_secs(2);

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A process that ends with its owner.
pub struct Ended(pub Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// CPU seconds, bytes given to `write`, calls of it, and bytes that went to the disk's queue (proc(5), `io`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    pub cpu_s: f64,
    pub written: f64,
    pub writes: f64,
    pub to_disk: f64,
}

impl std::ops::Sub for Spent {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            cpu_s: self.cpu_s - before.cpu_s,
            written: self.written - before.written,
            writes: self.writes - before.writes,
            to_disk: self.to_disk - before.to_disk,
        }
    }
}

/// The program with one queue `q` at DID 4001001001 and `agents` contact phones, and a folder that goes with it.
pub struct Server {
    process: Ended,
    dir: PathBuf,
}

impl Server {
    /// `uri(n)` is agent n's phone.
    pub fn start(agents: u16, record: bool, uri: impl Fn(u16) -> String) -> Result<Self> {
        Self::start_durable(agents, record, "process", uri)
    }

    /// With `[journal] durability`.
    pub fn start_durable(agents: u16, record: bool, durability: &str, uri: impl Fn(u16) -> String) -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("zongji-bench-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        let mut tenant = format!(
            "[tenant]\nid = \"bench\"\nname = \"Bench\"\n[[trunk]]\nname = \"t\"\nhosts = [\"127.0.0.1\"]\nmax_calls = 1000\n\
             [[number]]\ndid = \"4001001001\"\ntrunk = \"t\"\nroute = {{ queue = \"q\" }}\n[[queue]]\nname = \"q\"\nwrapup_s = 0\nrecord = {record}\n",
        );
        for n in 0..agents {
            tenant.push_str(&format!(
                "[[agent]]\nname = \"{n:03}\"\nqueues = [\"q\"]\nalways_ready = true\nphone = {{ kind = \"contact\", uri = \"{}\" }}\n",
                uri(n)
            ));
        }
        fs::write(dir.join("tenant.toml"), tenant)?;
        fs::write(
            dir.join("zongji.toml"),
            format!(
                "[node]\ndrain_s = 0\n[http]\nlisten = \"127.0.0.1:{HTTP}\"\n[sip]\nudp = [\"127.0.0.1:{SIP}\"]\ntcp = []\n[metrics]\nlisten = \"127.0.0.1:{METRICS}\"\n\
                 [journal]\ndurability = \"{durability}\"\n[database]\nurl = \"sqlite:{0}/zongji.db\"\n[recordings]\nstore = \"file:{0}/recordings\"\n",
                dir.join("data").display()
            ),
        )?;
        if !program(&dir, &["apply", "tenant.toml"])?.status()?.success() {
            return Err("zongji apply failed".into());
        }
        let process = Ended(program(&dir, &["serve"])?.spawn()?);
        std::thread::park_timeout(WARM_UP);
        Ok(Self { process, dir })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// User and system CPU seconds so far, all threads (proc(5), fields 14 and 15).
    pub fn cpu_s(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.0.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<f64>().ok()).ok_or("no CPU time in /proc");
        Ok((ticks(11)? + ticks(12)?) / TICKS_PER_S)
    }

    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// What the threads whose names begin with `name` have cost so far.
    pub fn threads(&self, name: &str) -> Result<Spent> {
        let mut spent = Spent::default();
        for task in fs::read_dir(format!("/proc/{}/task", self.pid()))? {
            let task = task?.path();
            let read = |file: &str| fs::read_to_string(task.join(file));
            if !read("comm")?.starts_with(name) {
                continue;
            }
            // proc(5): the first number of schedstat is time on the CPU in nanoseconds.
            let ran = read("schedstat")?.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok());
            spent.cpu_s += ran.ok_or("no CPU time in /proc")? / 1e9;
            for line in read("io")?.lines() {
                let value = |name: &str| line.strip_prefix(name).and_then(|value| value.trim().parse::<f64>().ok());
                spent.written += value("wchar:").unwrap_or(0.0);
                spent.writes += value("syscw:").unwrap_or(0.0);
                spent.to_disk += value("write_bytes:").unwrap_or(0.0);
            }
        }
        Ok(spent)
    }

    /// CPU seconds so far of all threads of one name.
    pub fn by_threads(&self) -> Result<BTreeMap<String, f64>> {
        let mut threads = BTreeMap::new();
        for task in fs::read_dir(format!("/proc/{}/task", self.pid()))? {
            let task = task?.path();
            // One that ends meanwhile has no files any more.
            let read = |file: &str| fs::read_to_string(task.join(file)).unwrap_or_default();
            let ns = read("schedstat").split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok());
            *threads.entry(read("comm").trim().to_owned()).or_insert(0.0) += ns.unwrap_or_default() / 1e9;
        }
        Ok(threads)
    }

    /// The sum of a metric's samples whose labels contain `labels`.
    pub fn metric(&self, name: &str, labels: &str) -> Result<f64> {
        let mut stream = TcpStream::connect(("127.0.0.1", METRICS))?;
        write!(stream, "GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let lines =
            text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
        Ok(lines
            .filter(|line| line.contains(labels))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The release build beside this one.
pub fn binary() -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("zongji");
    if path.exists() {
        Ok(path)
    } else {
        Err("build the program first: cargo build --release -p zongji (make bench does)".into())
    }
}

fn program(dir: &Path, args: &[&str]) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command
        .args(args)
        .arg("--config")
        .arg(dir.join("zongji.toml"))
        .arg("--data")
        .arg(dir.join("data"))
        .current_dir(dir);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}
