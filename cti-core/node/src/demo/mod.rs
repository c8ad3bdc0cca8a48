//! `zongji demo`: a sample tenant, alive with simulated callers and phone agents over real SIP.

mod callers;
mod people;
mod records;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use cti_base::{Country, TenantId};
use cti_media::prompt::{Prompt, linear_from_wav};
use cti_switch::config::{Phone as PhoneKind, TenantDoc};
use ivr_scripts::shipped;

use crate::admin::{Package, Request};
use crate::config::Setup;
use crate::phone::Sound;
use crate::serve::Server;
use crate::{clock, data};
use people::{HUMAN, SignIns};

/// Simulated callers at once, as `--callers` takes them.
pub const CALLERS_DEFAULT: usize = 4;
pub const CALLERS_MAX: usize = 500;

const TENANT: &str = include_str!("tenant.toml");

/// Runs until a signal.
pub fn run(mut setup: Setup, callers: usize) -> anyhow::Result<()> {
    crate::logging::start(setup.config.log.format);
    keep_to_this_machine(&mut setup);
    crate::runtime()?.block_on(async {
        let server = Server::start(setup.clone(), true).await?;
        let sip = server.sip.first().copied().context("[sip] udp is empty: the demo's calls come over UDP")?;
        let sign_ins = SignIns::load_or_make(&setup.data)?;
        let agents = people::agent_phones(sip.ip())?;
        let package = Package::new(tenant_doc(&agents.uris)?, sign_ins.agents());
        server.ask(Request::Apply { packages: vec![package] }).await.map_err(|error| anyhow!(error))?;
        people::add_office(&server, &sign_ins).await?;
        let (tenant, china) = (TenantId::from("demo"), Country::parse("CN").context("CN is a country")?);
        records::fill(&server.store, &tenant, china, clock::now()).await.context("the sample records")?;
        print_welcome(&server, &sign_ins, sip, callers, &setup.data);
        let calling = callers::start(sip, callers)?;
        server
            .run_until_signal(move || {
                drop(calling);
                drop(agents);
            })
            .await
    })
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

/// The tenant's file with each agent's phone where it listens, and the menu that ships with the program.
fn tenant_doc(uris: &BTreeMap<String, String>) -> anyhow::Result<TenantDoc> {
    let mut doc: TenantDoc = toml::from_str(TENANT).context("the sample tenant")?;
    for ivr in &mut doc.ivr {
        ivr.source = shipped::script(&ivr.name).map(str::to_owned);
    }
    for agent in &mut doc.agent {
        let uri = uris.get(agent.name.as_str()).with_context(|| format!("agent {} has no phone", agent.name))?;
        agent.phone = PhoneKind::Contact { uri: uri.clone() };
    }
    Ok(doc)
}

fn print_welcome(server: &Server, sign_ins: &SignIns, sip: SocketAddr, callers: usize, data: &Path) {
    let scheme = format!("http://{}", server.http);
    println!();
    println!("远航柴油机售后中心 (tenant `demo`)");
    println!("  desktop   {scheme}");
    println!("  metrics   http://{}/metrics", server.metrics_listen);
    println!("  SIP       {sip} (UDP and TCP): ring 4001001000, or 4001001001 straight to a queue");
    println!("  callers   {callers} at a time; agents 1101-1106 answer by themselves, {HUMAN} is yours");
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
    use cti_switch::config::Tenant;

    #[test]
    fn the_sample_tenant_is_right_with_its_menu() {
        let agents: Vec<String> = people::simulated().map(str::to_owned).chain([HUMAN.to_owned()]).collect();
        let uris = agents.iter().map(|name| (name.clone(), format!("sip:{name}@127.0.0.1:6001"))).collect();
        let doc = tenant_doc(&uris).expect("a tenant");
        assert_eq!(doc.agent.len(), agents.len(), "each agent has a phone and each phone an agent");
        let prompts = shipped::prompt_names();
        let tenant = Tenant::compile(doc, BTreeMap::new(), Some(&prompts));
        tenant.expect("a right tenant");
    }

    #[test]
    fn speech_is_made_of_the_shipped_prompts() {
        assert!(matches!(speech("zh-CN", &["welcome"]), Ok(Sound::Samples(_))));
        assert!(speech("zh-CN", &["no_such"]).is_err());
    }
}
