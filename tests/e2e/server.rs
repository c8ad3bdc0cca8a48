//! A `zongji serve` of its own: data, ports and tenant of the test, ended with it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};

/// Held by the test that runs: servers, SIPp and browsers share two cores.
pub async fn machine() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::const_new(());
    MACHINE.lock().await
}

/// The program built by `cargo build`, beside the test's own binary.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its binary");
    let target = test.parent().and_then(Path::parent).expect("target/PROFILE/deps/test");
    let program = target.join("zongji");
    assert!(program.exists(), "{} is missing: run `cargo build -p zongji` first (make test does)", program.display());
    program
}

pub struct Server {
    child: Child,
    pub dir: tempfile::TempDir,
    pub ports: Ports,
    pub http: reqwest::Client,
    pub admin: String,
}

/// Twice as long as a question to a database that is away may take.
const RECORDS_BACK_MAX: Duration = Duration::from_secs(20);

#[derive(Clone, Copy)]
pub struct Ports {
    pub sip: u16,
    pub http: u16,
    pub metrics: u16,
    pub rtp: u16,
    /// So many RTP and RTCP ports from `rtp` up.
    pub rtp_len: u16,
    /// Where SIP listens.
    pub listen: &'static str,
    /// SIP over TLS, over websocket, and over websocket in TLS.
    pub tls: u16,
    pub ws: u16,
    pub wss: u16,
    /// Free for the test's own phones and callers: `free .. free + 80`.
    pub free: u16,
}

impl Ports {
    /// Block `n` of the range 17000-17999; RTP is 200 ports from 24000 up.
    pub fn block(n: u16) -> Self {
        let base = 17_000 + n * 100;
        Self {
            sip: base,
            http: base + 1,
            metrics: base + 2,
            rtp: 24_000 + n * 200,
            rtp_len: 200,
            listen: "127.0.0.1",
            tls: base + 3,
            ws: base + 4,
            wss: base + 5,
            free: base + 10,
        }
    }
}

/// What the server shows over TLS: self-signed, for 127.0.0.1.
pub const CERT: &str = include_str!("../../cti-core/node/src/net/tests/cert.pem");
const KEY: &str = include_str!("../../cti-core/node/src/net/tests/key.pem");

pub const PASSWORD: &str = "correct horse battery staple";

/// How long history may take to catch up with what happened, by an unoptimised build after a long outage too.
const HISTORY_TIME_MAX: Duration = Duration::from_secs(60);

impl Server {
    /// Starts on `ports` with the tenant file's text; `files` (path below the tenant's folder, text) lie beside it.
    pub async fn start(ports: Ports, tenant: &str, files: &[(&str, &str)]) -> Result<Self> {
        Self::start_on(ports, None, tenant, files).await
    }

    /// The same on a database of its own; without one the records are in the data's folder.
    pub async fn start_on(ports: Ports, database: Option<&str>, tenant: &str, files: &[(&str, &str)]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let Ports { sip, http, metrics, rtp, rtp_len, listen, tls, ws, wss, .. } = ports;
        let data = dir.path().join("data");
        let embedded = format!("sqlite:{}/zongji.db", data.display());
        let database = database.unwrap_or(&embedded);
        std::fs::write(
            dir.path().join("zongji.toml"),
            format!(
                "[node]\ndrain_s = 0\n[http]\nlisten = \"127.0.0.1:{http}\"\n[sip]\nudp = [\"{listen}:{sip}\"]\ntcp = [\"{listen}:{sip}\"]\n\
                 tls = [\"{listen}:{tls}\"]\nws = [\"{listen}:{ws}\"]\nwss = [\"{listen}:{wss}\"]\n\
                 tls_cert = \"{cert}\"\ntls_key = \"{key}\"\n\
                 [media]\nrtp_ports = \"{rtp}-{}\"\nbrowser_port = 0\n[metrics]\nlisten = \"127.0.0.1:{metrics}\"\n\
                 [database]\nurl = \"{database}\"\n[recordings]\nstore = \"file:{}/recordings\"\n",
                rtp + rtp_len - 1,
                data.display(),
                cert = dir.path().join("cert.pem").display(),
                key = dir.path().join("key.pem").display(),
            ),
        )?;
        std::fs::write(dir.path().join("cert.pem"), CERT)?;
        std::fs::write(dir.path().join("key.pem"), KEY)?;
        std::fs::write(dir.path().join("tenant.toml"), tenant)?;
        std::fs::write(dir.path().join("password"), PASSWORD)?;
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
            std::fs::write(path, text)?;
        }
        run(dir.path(), &["apply", "tenant.toml"])?;
        let id = tenant_id(tenant)?;
        for (name, role) in [("admin", "admin"), ("qa", "qa")] {
            run(
                dir.path(),
                &["user", "add", "--tenant", &id, "--name", name, "--role", role, "--password-file", "password"],
            )?;
        }
        let child = serve(dir.path())?;
        let client = reqwest::Client::builder().cookie_store(true).timeout(Duration::from_secs(10)).build()?;
        let mut server = Self { child, dir, ports, http: client, admin: String::new() };
        server.wait_ready().await?;
        server.sign_in(&id, "admin").await?;
        Ok(server)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.ports.http)
    }

    /// Ends the program as a crash would, and starts it again at once, as a supervisor would. The instant of the start.
    pub fn kill_and_start(&mut self) -> Result<Instant> {
        self.child.kill()?;
        self.child.wait()?;
        let started = Instant::now();
        self.child = serve(self.dir.path())?;
        Ok(started)
    }

    pub async fn wait_ready(&mut self) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}: {}", self.log());
            }
            if let Ok(answer) = self.http.get(self.url("/readyz")).send().await
                && answer.status().is_success()
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("not ready after 30 s: {}", self.log())
    }

    /// Signs this client in; returns the cookie for a websocket of the same person.
    pub async fn sign_in(&mut self, tenant: &str, user: &str) -> Result<()> {
        self.admin = self.cookie(tenant, user).await?;
        Ok(())
    }

    /// A fresh session's cookie, `name=value`.
    pub async fn cookie(&self, tenant: &str, user: &str) -> Result<String> {
        let body = serde_json::json!({"tenant": tenant, "user": user, "password": PASSWORD});
        let answer = self.http.post(self.url("/api/v1/session")).json(&body).send().await?;
        ensure!(answer.status() == 204, "signing in as {user}: {}", answer.status());
        let cookie = answer.headers().get("set-cookie").context("no cookie")?.to_str()?;
        Ok(cookie.split(';').next().unwrap_or_default().to_owned())
    }

    /// Records that were away are asked again now and then, not at once: who reads them is told to try again.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let until = Instant::now() + RECORDS_BACK_MAX;
        loop {
            let answer = self.http.get(self.url(path)).header("cookie", &self.admin).send().await?;
            let (status, may_retry) = (answer.status(), answer.headers().contains_key("retry-after"));
            let text = answer.text().await?;
            if status == 503 && may_retry && Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(250)).await;
                continue;
            }
            ensure!(status.is_success(), "GET {path}: {status}: {text}");
            return Ok(serde_json::from_str(&text)?);
        }
    }

    pub async fn get_bytes(&self, path: &str) -> Result<Vec<u8>> {
        let answer = self.http.get(self.url(path)).header("cookie", &self.admin).send().await?;
        ensure!(answer.status().is_success(), "GET {path}: {}", answer.status());
        Ok(answer.bytes().await?.to_vec())
    }

    /// Asks `path` until `test` takes the answer or the time is up; an error then shows the last answer.
    pub async fn until(&self, path: &str, time: Duration, mut test: impl FnMut(&Value) -> bool) -> Result<Value> {
        let until = Instant::now() + time;
        loop {
            let value = self.get(path).await?;
            if test(&value) {
                return Ok(value);
            }
            if Instant::now() > until {
                bail!("{path} is still {value:#} after {time:?}; log: {}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Every row of history, once there are as many as there were calls or some seconds are over.
    pub async fn all_calls(&self, expected: usize) -> Result<Vec<Value>> {
        let until = Instant::now() + HISTORY_TIME_MAX;
        loop {
            let (mut rows, mut after) = (Vec::new(), String::new());
            loop {
                let page = self.get(&format!("/api/v1/calls?limit=1000{after}")).await?;
                rows.extend(page["items"].as_array().context("items")?.iter().cloned());
                match page["next"].as_str() {
                    Some(next) => after = format!("&after={next}"),
                    None => break,
                }
            }
            if rows.len() >= expected || Instant::now() > until {
                return Ok(rows);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// No call, nobody waiting, no agent with a call.
    pub async fn until_idle(&self) -> Result<Value> {
        self.until("/api/v1/live", Duration::from_secs(10), |live| {
            let none = |list: &str, test: &dyn Fn(&Value) -> bool| {
                live[list].as_array().is_some_and(|items| items.iter().all(test))
            };
            live["calls"].as_array().is_some_and(Vec::is_empty)
                && none("queues", &|queue| queue["waiting"] == 0)
                && none("agents", &|agent| agent["call_id"].is_null())
        })
        .await
    }

    pub async fn metrics(&self) -> Result<String> {
        Ok(reqwest::get(format!("http://127.0.0.1:{}/metrics", self.ports.metrics)).await?.text().await?)
    }

    /// The sum over the samples of one metric whose labels contain `labels`.
    pub async fn metric(&self, name: &str, labels: &str) -> Result<f64> {
        Ok(self
            .metrics()
            .await?
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(labels))
            .filter(|line| line[name.len()..].starts_with([' ', '{']))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Ends the program as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts the program that was killed; returns before it is ready.
    pub fn start_again(&mut self) -> Result<()> {
        self.child = serve(self.dir.path())?;
        Ok(())
    }

    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(self.path("serve.log")).unwrap_or_default();
        let tail = text.len().saturating_sub(4_000);
        text.get(tail..).unwrap_or(&text).to_owned()
    }

    pub fn run(&self, args: &[&str]) -> Result<String> {
        run(self.dir.path(), args)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command
        .args(args)
        .arg("--config")
        .arg(dir.join("zongji.toml"))
        .arg("--data")
        .arg(dir.join("data"))
        .current_dir(dir);
    command
}

/// The server's log goes on over its restarts.
fn serve(dir: &Path) -> Result<Child> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("serve.log"))?;
    Ok(command(dir, &["serve"]).stdout(Stdio::null()).stderr(log).spawn()?)
}

/// Runs a command of the program to its end; its output, or an error with it.
pub fn run(dir: &Path, args: &[&str]) -> Result<String> {
    let output = command(dir, args).output()?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "zongji {}: {}: {text}", args.join(" "), output.status);
    Ok(text)
}

fn tenant_id(tenant: &str) -> Result<String> {
    let line = tenant.lines().find(|line| line.starts_with("id = ")).context("the tenant has an id line")?;
    Ok(line.trim_start_matches("id = ").trim().trim_matches('"').to_owned())
}
