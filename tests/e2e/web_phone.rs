//! A SIP phone in a page of Chromium (JsSIP), by websocket: it calls, is rung as an agent's phone, and outlives a crash.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::answered::{MENU, tenant};
use crate::browser::{AGENT_HZ, Phone, microphone, walk, web, without_tone};
use crate::server::{PASSWORD, Ports, Server, machine, program};
use crate::sound::{mono, share};

const SECRET: &str = "s3cret-of-1001";
/// What the colleague says, whom the page calls.
const COLLEAGUE_HZ: u32 = 700;

#[tokio::test(flavor = "multi_thread")]
async fn a_page_with_a_sip_phone_by_websocket_in_tls_calls_is_rung_holds_and_outlives_a_crash() -> Result<()> {
    let _machine = machine().await;
    let ports = Ports::block(28);
    let agents = format!(
        "[[agent]]\nname = \"1001\"\nskills = {{ repair = 5 }}\nqueues = [\"repair\"]\nphone = {{ kind = \"sip\", secret_file = \"secret\" }}\nalways_ready = true\n\
         [[agent]]\nname = \"1002\"\nqueues = [\"general\"]\nphone = {{ kind = \"contact\", uri = \"sip:1002@127.0.0.1:{}\" }}\nalways_ready = true\n",
        ports.free
    );
    let mut server = Server::start(ports, &tenant(&agents), &[("main.toml", MENU), ("secret", SECRET)]).await?;
    let capture = server.path("microphone.wav");
    microphone(&capture)?;
    let by_colleague = server.path("colleague.wav");
    let listen = format!("127.0.0.1:{}", ports.free);
    let colleague = Command::new(program())
        .args(["phone", "--listen", &listen, "--tone", &COLLEAGUE_HZ.to_string(), "--save"])
        .arg(&by_colleague)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let _colleague = Phone(colleague);
    let env = [
        ("ZONGJI_TENANT", "acme".to_owned()),
        ("ZONGJI_USER", "1001".to_owned()),
        ("ZONGJI_PASSWORD", PASSWORD.to_owned()),
        ("ZONGJI_SOCKET", format!("wss://127.0.0.1:{}", ports.wss)),
        ("ZONGJI_SECRET", SECRET.to_owned()),
        ("ZONGJI_CAPTURE", capture.display().to_string()),
    ];
    let by_caller = server.path("caller.wav");
    let mut caller = None;
    let asked = |line: &str| match line {
        "ring" => Some(Phone::call(ports.free + 30, ports.sip, "4001001001", &by_caller).map(|phone| {
            caller = Some(phone);
        })),
        "kill" => Some(server.kill()),
        "start" => Some(server.start_again()),
        _ => None,
    };
    let web = web()?;
    let walked = tokio::task::block_in_place(|| walk(&web, "phone.mjs", &env, asked));
    walked.with_context(|| server.log())?;
    let ended = caller.context("nobody called")?.0.wait()?;
    ensure!(ended.success(), "the caller ended with {ended}");

    let heard = mono(&std::fs::read(&by_colleague)?)?;
    let pure = share(&heard[heard.len() / 2..], f64::from(AGENT_HZ));
    ensure!(pure > 0.9, "the page's tone is {pure} of what the colleague heard");
    let heard = mono(&std::fs::read(&by_caller)?)?;
    let gaps = without_tone(&heard, f64::from(AGENT_HZ));
    println!("what the caller heard: {} s, without the page for {gaps:?} ms", heard.len() / 8_000);
    // The hold, and the crash until the page has found the server again.
    ensure!(
        !gaps.is_empty() && gaps.len() <= 3 && gaps.iter().all(|gap| *gap <= 8_000),
        "the page was not heard for {gaps:?} ms"
    );
    server.until_idle().await?;
    Ok(())
}
