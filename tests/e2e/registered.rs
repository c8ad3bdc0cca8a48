//! baresip, registered by digest, as the agent's phone.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::answered::{MENU, check_recording, tenant, the_call};
use crate::server::{Ports, Server, machine};
use crate::sipp::{Caller, Sipp};
use crate::sound::tone;

const SECRET: &str = "s3cret-of-1001";

pub struct Baresip(pub Child);

impl Baresip {
    /// Registers as 1001 at `server`, answers by itself and sends 1 kHz.
    fn start(dir: &Path, port: u16, server: u16, transport: &str) -> Result<Self> {
        let account = format!(
            "<sip:1001@127.0.0.1:{server};transport={transport}>;auth_user=1001;auth_pass={SECRET};answermode=auto;regint=60"
        );
        Self::start_as(dir, port, &account, 1_000, &[])
    }

    /// As this account, sending a tone; `more` are further arguments.
    pub fn start_as(dir: &Path, port: u16, account: &str, hz: u32, more: &[&str]) -> Result<Self> {
        let home = dir.join("baresip");
        std::fs::create_dir_all(&home)?;
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 8_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut wav = hound::WavWriter::create(home.join("tone.wav"), spec)?;
        for n in 0..8_000 * 60 {
            wav.write_sample(
                ((f64::from(n) * f64::from(hz) * std::f64::consts::TAU / 8_000.0).sin() * 8_000.0) as i16,
            )?;
        }
        wav.finalize()?;
        let modules = "/usr/lib/baresip/modules";
        std::fs::write(
            home.join("config"),
            format!(
                "poll_method epoll\nsip_listen 127.0.0.1:{port}\nmodule_path {modules}\nmodule g711.so\nmodule g722.so\nmodule opus.so\nmodule aufile.so\nmodule srtp.so\nmodule sndfile.so\nmodule_app account.so\nmodule_app menu.so\n\
                 audio_source aufile,{home}/tone.wav\nsnd_path {home}\n\
                 ausrc_srate 8000\nauplay_srate 8000\nausrc_channels 1\nauplay_channels 1\nrtp_ports {}-{}\nsip_cafile {home}/../cert.pem\n",
                port + 2_000,
                port + 2_010,
                home = home.display(),
            ),
        )?;
        std::fs::write(home.join("accounts"), format!("{account}\n"))?;
        std::fs::write(home.join("contacts"), "")?;
        let log = std::fs::File::create(dir.join("baresip.log"))?;
        let child = Command::new("baresip")
            .args(["-f", &home.to_string_lossy()])
            .args(more)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self(child))
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A caller goes through the menu by RFC 4733 digit 2 and is answered by baresip.
async fn a_registered_phone_answers(block: u16, transport: &str) -> Result<()> {
    let ports = Ports::block(block);
    let agent = "[[agent]]\nname = \"1001\"\nskills = { repair = 5 }\nqueues = [\"repair\"]\nphone = { kind = \"sip\", secret_file = \"secret\" }\nalways_ready = true\n";
    let server = Server::start(ports, &tenant(agent), &[("main.toml", MENU), ("secret", SECRET)]).await?;
    let dir = server.dir.path();
    let registrar = if transport == "tls" { ports.tls } else { ports.sip };
    let _phone = Baresip::start(dir, ports.free, registrar, transport)?;
    server.until("/api/v1/live", Duration::from_secs(10), |live| live["agents"][0]["state"] == "ready").await?;
    let caller = Caller {
        did: "4001001000",
        number: "13800138000",
        digit: Some(('2', 1_500)),
        hangup_ms: 12_000,
        calls: 1,
        rate: 1,
        tone: &tone(dir, 440)?,
        tcp: transport == "tcp",
    };
    let mut sipp = Sipp::caller(dir, "caller", ports.free + 20, ports.sip, &caller)?;
    tokio::task::block_in_place(|| sipp.finish(Duration::from_secs(40)))?;
    let call = the_call(&server, Duration::from_secs(1)).await?;
    ensure!(call["outcome"] == "answered" && call["agent"] == "1001" && call["queue"] == "repair", "{call:#}");
    ensure!(call["ivr_path"].as_array().is_some_and(|path| path.len() >= 2), "its way through the menu: {call:#}");
    check_recording(&server, &call).await?;
    server.until_idle().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn baresip_registers_by_digest_and_answers() -> Result<()> {
    let _machine = machine().await;
    a_registered_phone_answers(2, "udp").await
}

#[tokio::test(flavor = "multi_thread")]
async fn baresip_over_tcp() -> Result<()> {
    let _machine = machine().await;
    a_registered_phone_answers(3, "tcp").await
}

#[tokio::test(flavor = "multi_thread")]
async fn baresip_over_tls() -> Result<()> {
    let _machine = machine().await;
    a_registered_phone_answers(21, "tls").await
}
