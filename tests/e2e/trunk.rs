//! A trunk that registers: another server is the carrier, whose calls for the account come to this one.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::answered::contact_agent;
use crate::server::{Ports, Server, machine, program};

const SECRET: &str = "the carrier's word";

/// The carrier: a queue whose only agent is the account.
fn carrier() -> String {
    "[tenant]\nid = \"carrier\"\nname = \"Carrier\"\n[[trunk]]\nname = \"world\"\nhosts = [\"127.0.0.1\"]\n\
     [[number]]\ndid = \"4001001001\"\ntrunk = \"world\"\nroute = { queue = \"repair\" }\n[[queue]]\nname = \"repair\"\n\
     [[agent]]\nname = \"1001\"\nqueues = [\"repair\"]\nalways_ready = true\nphone = { kind = \"sip\", secret_file = \"secret\" }\n"
        .to_owned()
}

fn customer(carrier_sip: u16, phone: u16) -> String {
    format!(
        "[tenant]\nid = \"acme\"\nname = \"Acme Diesel\"\n[[trunk]]\nname = \"carrier\"\nhosts = [\"127.0.0.1:{carrier_sip}\"]\n\
         register = {{ registrar = \"sip:127.0.0.1:{carrier_sip}\", user = \"1001\", secret_file = \"secret\", expires_s = 60 }}\n\
         [[number]]\ndid = \"1001\"\ntrunk = \"carrier\"\nroute = {{ queue = \"repair\" }}\n[[queue]]\nname = \"repair\"\n{}",
        contact_agent("2001", phone, "")
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carriers_calls_come_to_who_has_registered_before_and_after_a_crash() -> Result<()> {
    let _machine = machine().await;
    let (theirs, ours) = (Ports::block(28), Ports::block(29));
    let files = [("secret", SECRET)];
    let there = Server::start(theirs, &carrier(), &files).await?;
    let mut here = Server::start(ours, &customer(theirs.sip, ours.free), &files).await?;
    let registered = |live: &Value| live["trunks"][0]["registration"]["registered"] == true;
    here.until("/api/v1/live", Duration::from_secs(5), registered).await?;
    let trunks = here.get("/api/v1/trunks").await?;
    ensure!(!trunks.to_string().contains(SECRET), "the secret is shown: {trunks}");
    here.kill_and_start()?;
    here.wait_ready().await?;
    here.until("/api/v1/live", Duration::from_secs(5), registered).await?;
    let run = |args: &[String]| {
        Command::new(program()).arg("phone").args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    };
    let mut phone = run(&["--listen".into(), format!("127.0.0.1:{}", ours.free), "--tone".into(), "1000".into()])?;
    let uri = format!("sip:4001001001@127.0.0.1:{}", theirs.sip);
    let mut caller = run(&["--call".into(), uri, "--from".into(), "13800138000".into()])?;
    let talks = |live: &Value| live["calls"][0]["state"] == "talking";
    let here_talks = here.until("/api/v1/live", Duration::from_secs(10), talks).await;
    let there_talks = there.until("/api/v1/live", Duration::from_secs(5), talks).await;
    for phone in [&mut phone, &mut caller] {
        let _ = phone.kill();
        let _ = phone.wait();
    }
    here_talks.and(there_talks)?;
    Ok(())
}
