//! `zongji demo`: a sample tenant, alive with simulated callers and phone agents over real SIP.

mod callers;
mod people;
mod phones;
mod records;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use cti_base::{Country, TenantId};
use cti_media::prompt::{Prompt, linear_from_wav};
use ivr_scripts::shipped;

use crate::admin::{Package, Request};
use crate::config::{Setup, TenantFile};
use crate::phone::Sound;
use crate::serve::{Server, Signals};
use crate::{clock, data};
#[cfg(test)]
use people::PARTNER;
use people::{BROWSER, HUMAN, SignIns};

/// Simulated callers at once, as `--callers` takes them.
pub const CALLERS_DEFAULT: usize = 4;
pub const CALLERS_MAX: usize = 500;

const TENANT: &str = include_str!("tenant.toml");

/// Runs until a signal.
pub fn run(mut setup: Setup, callers: usize) -> anyhow::Result<()> {
    crate::logging::start(setup.config.log.format);
    keep_to_this_machine(&mut setup);
    crate::runtime()?.block_on(async {
        let signals = Signals::new()?;
        let server = Server::start(setup.clone(), true).await?;
        server.store.until_ready().await;
        let sip = server.sip.first().copied().context("[sip] udp is empty: the demo's calls come over UDP")?;
        let sign_ins = SignIns::load_or_make(&setup.data)?;
        let phones = phones::find_or_start(&setup.data, sip, callers).await?;
        let package = tenant_package(&setup.data, &phones.uris, &sign_ins)?;
        server.ask(Request::Apply { packages: vec![package] }).await.map_err(|error| anyhow!(error))?;
        people::add_office(&server, &sign_ins).await?;
        let (tenant, china) = (TenantId::from("demo"), Country::parse("CN").context("CN is a country")?);
        records::fill(&server.store, &tenant, china, clock::now()).await.context("the sample records")?;
        print_welcome(&server, &sign_ins, sip, callers, &setup.data);
        server.run_until_signal(signals, move || phones.end()).await
    })
}

/// The phones of a demo, as its server starts them.
pub fn run_phones(setup: &Setup, sip: SocketAddr, callers: usize) -> anyhow::Result<()> {
    crate::logging::start(setup.config.log.format);
    crate::runtime()?.block_on(phones::run(&setup.data, sip, callers))
}

/// The demo's trunk is this machine: unless told otherwise, SIP listens here only.
fn keep_to_this_machine(setup: &mut Setup) {
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 5060));
    let here = SocketAddr::from(([127, 0, 0, 1], 5060));
    for listen in setup.config.sip.udp.iter_mut().chain(&mut setup.config.sip.tcp) {
        if *listen == everywhere {
            *listen = here;
        }
    }
}

/// Writes the tenant's file with each agent's phone where it listens, its menu and its password beside it, and reads them as
/// `zongji apply` does: what the demo runs on can be looked at, changed and applied.
fn tenant_package(data: &Path, uris: &BTreeMap<String, String>, sign_ins: &SignIns) -> anyhow::Result<Package> {
    let folder = folder_in(data);
    data::prepare(&folder)?;
    let mut text = TENANT.to_owned();
    for (name, uri) in uris {
        text = text.replace(&format!("{{{name}}}"), uri);
        if let Some((_, address)) = uri.split_once('@') {
            text = text.replace(&format!("{{@{name}}}"), address);
        }
    }
    let menu = shipped::script("main").context("the program has no menu `main`")?;
    data::write_private(&folder.join("main.toml"), menu.as_bytes())?;
    for (agent, password) in sign_ins.agents() {
        data::write_private(&folder.join(format!("password-{agent}")), password.as_bytes())?;
    }
    let file = folder.join("tenant.toml");
    data::write_private(&file, text.as_bytes())?;
    Ok(Package::from(TenantFile::load(&file)?))
}

fn folder_in(data: &Path) -> PathBuf {
    data.join("demo")
}

fn print_welcome(server: &Server, sign_ins: &SignIns, sip: SocketAddr, callers: usize, data: &Path) {
    let scheme = format!("http://{}", server.http);
    println!();
    println!("远航柴油机售后中心 (tenant `demo`)");
    println!("  desktop   {scheme}");
    println!("  metrics   http://{}/metrics", server.metrics_listen);
    println!("  SIP       {sip} (UDP and TCP): ring 4001001000, or 4001001001 straight to a queue");
    println!("  callers   {callers} at a time; agents 1101-1106 answer by themselves, {HUMAN} and {BROWSER} are yours");
    println!(
        "  tenant    {} (change it and run `zongji apply`; written anew at each start)",
        folder_in(data).join("tenant.toml").display()
    );
    println!("  sign-ins  (also in {})", people::file_in(data).display());
    for person in sign_ins.people() {
        println!("    tenant demo  user {:<6} password {}  {}", person.user, person.password, person.what);
    }
    println!();
}

/// Spoken audio of the prompts that ship with the program, one after another.
fn speech(locale: &str, names: &[&str]) -> anyhow::Result<Sound> {
    /// A pause of half a second between sentences.
    const PAUSE_SAMPLES: usize = 4_000;
    let mut samples = Vec::new();
    for name in names {
        let wav = shipped::prompt(locale, name).with_context(|| format!("there is no prompt {locale}/{name}"))?;
        samples.extend(linear_from_wav(wav).with_context(|| format!("prompt {locale}/{name}"))?);
        samples.extend([0; PAUSE_SAMPLES]);
    }
    Ok(Sound::Samples(Arc::new(Prompt::from_linear(&samples))))
}

/// A number below `bound`, for what need not be the same twice.
fn dice(bound: u64) -> u64 {
    let mut bytes = [0u8; 8];
    match data::random(&mut bytes) {
        Ok(()) if bound > 0 => u64::from_le_bytes(bytes) % bound,
        Ok(()) | Err(_) => 0,
    }
}

/// A free port of this address.
fn any_port(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_tenant_is_right_with_its_menu_and_every_agent_has_a_phone() {
        let dir = tempfile::tempdir().expect("a directory");
        let sign_ins = SignIns::load_or_make(dir.path()).expect("made");
        let uri = |name: &str| (name.to_owned(), format!("sip:{name}@127.0.0.1:6001"));
        let uris: BTreeMap<String, String> = people::simulated().chain([HUMAN, PARTNER]).map(uri).collect();
        tenant_package(dir.path(), &uris, &sign_ins).expect("a right tenant");
        let text = std::fs::read_to_string(dir.path().join("demo/tenant.toml")).expect("written");
        assert_eq!(text.matches("[[agent]]").count(), uris.len(), "the partner is none, and one talks by the browser");
        assert_eq!(text.matches("@127.0.0.1:6001").count(), uris.len() - 1, "{text}");
        assert!(text.contains("hosts = [\"127.0.0.1:6001\"]"), "the partner is reached by a trunk");
    }

    #[test]
    fn speech_is_made_of_the_shipped_prompts() {
        assert!(matches!(speech("zh-CN", &["welcome"]), Ok(Sound::Samples(_))));
        assert!(speech("zh-CN", &["no_such"]).is_err());
    }
}
