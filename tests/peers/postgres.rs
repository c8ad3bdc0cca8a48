//! A PostgreSQL server in a folder of its own, gone when the process ends however it ends.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Where the tests' servers listen (loopback); the first free port is taken.
const PORTS: std::ops::RangeInclusive<u16> = 16_500..=16_599;
const START_WITHIN: Duration = Duration::from_secs(60);
const MISSING: &str = "PostgreSQL's server is not installed: `make test` installs it, or `apt-get install postgresql`";

pub struct Server {
    binaries: PathBuf,
    folder: PathBuf,
    port: u16,
    databases: AtomicU32,
    /// It lives as long as its standard input is open.
    watcher: Child,
}

impl Server {
    /// The URL of a database that nobody used before.
    pub fn fresh_database(&self) -> String {
        let name = format!("zongji_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let made = Command::new(self.binaries.join("psql"))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "zongji", "-d", "postgres", "-q", "-c"])
            .arg(format!("CREATE DATABASE {name}"))
            .output()
            .expect("psql runs");
        assert!(made.status.success(), "CREATE DATABASE: {}", String::from_utf8_lossy(&made.stderr));
        format!("postgres://zongji@127.0.0.1:{}/{name}", self.port)
    }

    /// Ends the server, its clients' connections with it. Its data stay.
    pub fn stop(&mut self) {
        self.tell("stop");
        let since = Instant::now();
        while ready(&self.binaries, self.port) {
            assert!(since.elapsed() < START_WITHIN, "PostgreSQL does not stop");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts it again after `stop`.
    pub fn start_again(&mut self) {
        self.tell("start");
        self.wait_ready();
    }

    fn tell(&mut self, word: &str) {
        let input = self.watcher.stdin.as_mut().expect("the watcher's input is held open");
        writeln!(input, "{word}").expect("the watcher listens");
    }

    fn wait_ready(&mut self) {
        let since = Instant::now();
        while !ready(&self.binaries, self.port) {
            let log = || {
                let started = fs::read_to_string(self.folder.join("server.log"));
                started.or_else(|_| fs::read_to_string(self.folder.join("initdb.log"))).unwrap_or_default()
            };
            let gone = self.watcher.try_wait().expect("the watcher can be asked");
            assert!(gone.is_none(), "PostgreSQL did not start: {}", log());
            assert!(since.elapsed() < START_WITHIN, "PostgreSQL is not ready in {START_WITHIN:?}: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

pub fn start() -> Server {
    let binaries = binaries();
    let port = PORTS
        .into_iter()
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap_or_else(|| panic!("no free port in {PORTS:?}"));
    let folder = std::env::temp_dir().join(format!("zongji-tests-{}-{port}", std::process::id()));
    fs::create_dir(&folder).expect("a folder for PostgreSQL");
    let user = owner(&folder);
    // The server outlives no one: a watcher stops it and removes its folder when the end of our pipe closes, which the
    // kernel sees to even where this process is killed.
    let script = r#"
        set -e
        "$1/initdb" -D "$2/data" -U zongji -A trust --no-sync -E UTF8 --locale=C.UTF-8 >"$2/initdb.log" 2>&1
        start() {
            "$1/postgres" -D "$2/data" -p "$3" -c listen_addresses=127.0.0.1 -c unix_socket_directories="$2" \
                -c fsync=off -c max_connections=200 >>"$2/server.log" 2>&1 </dev/null &
            server=$!
        }
        stop() {
            kill -INT $server
            wait $server || true
        }
        start "$@"
        while read -r word; do
            case $word in
            stop) stop ;;
            start) start "$@" ;;
            esac
        done
        stop
        rm -rf "$2"
    "#;
    let mut command = match user {
        Some(user) => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--", "setsid", "sh"]);
            command
        }
        None => {
            let mut command = Command::new("setsid");
            command.arg("sh");
            command
        }
    };
    let watcher = command
        .args(["-c", script, "zongji-tests"])
        .args([&binaries, &folder])
        .arg(port.to_string())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("setsid, setpriv and sh are there");
    let mut server = Server { binaries, folder, port, databases: AtomicU32::new(0), watcher };
    server.wait_ready();
    server
}

/// The newest version's programs.
fn binaries() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, path)| path.join("postgres").exists() && path.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| panic!("{MISSING}")).1
}

/// PostgreSQL refuses to run as root: gives the folder to a user who may, and names that user.
fn owner(folder: &Path) -> Option<String> {
    let id = |args: &[&str]| {
        let out = Command::new("id").args(args).output().ok().filter(|out| out.status.success())?;
        Some(String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    if id(&["-u"]).as_deref() != Some("0") {
        return None;
    }
    let user = ["postgres", "nobody"]
        .into_iter()
        .find(|user| id(&["-u", user]).is_some() && id(&["-gn", user]).as_deref() == Some(*user))
        .unwrap_or_else(|| panic!("{MISSING} (it brings the user `postgres`)"));
    let given = Command::new("chown").arg(format!("{user}:{user}")).arg(folder).status().expect("chown runs");
    assert!(given.success(), "the folder of PostgreSQL can not be given to {user}");
    Some(user.to_owned())
}

fn ready(binaries: &Path, port: u16) -> bool {
    Command::new(binaries.join("pg_isready"))
        .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
        .status()
        .is_ok_and(|status| status.success())
}
