//! A trunk that registers: at the first of its hosts that answers, anew in time, and again after a restart.

use cti_sip::Account;

use super::*;
use crate::live::RegistrationLive;

const SECOND_HOST: &str = "192.0.2.11:5060";

fn registering(user: &str) -> Value {
    let mut file = file(1);
    file["trunk"][0]["hosts"] = json!(["192.0.2.10:5060", SECOND_HOST]);
    file["trunk"][0]["register"] = json!({
        "registrar": "sip:carrier.example", "user": user, "secret_file": "secret", "secret": "carrier secret",
        "expires_s": 100,
    });
    file
}

/// HA1 of `4001:phone:carrier secret`.
fn account() -> Account {
    Account {
        tenant: "carrier".into(),
        user: "4001".into(),
        ha1_md5: "992c88088b01d627b8c8f95850011f69".into(),
        ha1_sha256: "d739bf82f5b79ce4e8bd70c253f77a2bc5ba6dcd094eb294ddfd0710ba1e9a13".into(),
        qualified_ha1_md5: "none".into(),
        qualified_ha1_sha256: "none".into(),
    }
}

fn registrars(world: &mut World, file: &Value) -> [SocketAddr; 2] {
    let both = ["192.0.2.10:5060", SECOND_HOST].map(|host| world.add_phone(host, Plan::Ring));
    for host in both {
        world.phone(host).keep_account(account());
    }
    world.declare(tenant_from(&file.to_string()));
    both
}

fn registration(world: &World) -> RegistrationLive {
    world.live(ACME).trunks[0].registration.clone().expect("it registers")
}

#[test]
fn a_trunk_is_registered_and_renewed_and_taken_back() {
    let mut world = World::new(1, Settings { snapshot_every: 3, ..Settings::default() });
    let [first, second] = registrars(&mut world, &registering("4001"));
    assert!(!registration(&world).registered);
    world.run_for(S);
    let live = registration(&world);
    assert_eq!((live.registered, live.host.as_deref(), live.code), (true, Some("sip:192.0.2.10:5060"), None));
    let since = live.since_ms;
    // Ten times as long as one lasts.
    world.run_for(S * 1_000);
    assert_eq!((world.phone(first).kept(), world.phone(second).kept()), (1, 0));
    assert_eq!(registration(&world).since_ms, since, "it was never lost");
    world.crash(S * 5);
    world.run_for(S * 200);
    assert_eq!((world.phone(first).kept(), registration(&world).registered), (1, true), "kept over a restart");
    world.declare(tenant_from(&file(1).to_string()));
    world.run_for(S);
    assert_eq!((world.phone(first).kept(), world.live(ACME).trunks[0].registration.clone()), (0, None));
}

#[test]
fn where_a_host_is_gone_the_next_one_is_asked() {
    let mut world = World::new(2, Settings::default());
    let [first, second] = registrars(&mut world, &registering("4001"));
    world.run_for(S);
    assert_eq!(world.phone(first).kept(), 1);
    let one = world.phones.remove(&first).expect("a registrar");
    // Renewed after 80 s; 32 s later it is certain that nobody is there.
    world.run_for(S * 115);
    let live = registration(&world);
    assert_eq!((live.registered, live.host.as_deref()), (true, Some("sip:192.0.2.11:5060")));
    assert_eq!(world.phone(second).kept(), 1);
    // Both are gone, and one comes back.
    world.phones.remove(&second);
    world.run_for(S * 300);
    let live = registration(&world);
    assert_eq!((live.registered, live.code), (false, Some(408)));
    assert!(world.live(ACME).alarms.iter().any(|alarm| alarm.code == "trunk_not_registered"));
    world.phones.insert(first, one);
    world.run_for(S * 200);
    assert!(registration(&world).registered);
}

#[test]
fn who_refuses_is_asked_ever_more_rarely() {
    let mut world = World::new(3, Settings::default());
    let [first, second] = registrars(&mut world, &registering("4002"));
    let mut tries = 0;
    for _ in 0..600 {
        let before = world.sent.remove(&first);
        world.run_for(S);
        tries += usize::from(before.is_some());
    }
    let live = registration(&world);
    assert!(!live.registered && matches!(live.code, Some(401 | 403)), "{live:?}");
    assert!((6..=14).contains(&tries), "{tries} tries in ten minutes");
    assert!(!world.sent.contains_key(&second), "another of its hosts would refuse too");
}

#[test]
fn an_account_s_name_and_registrar_are_checked() {
    let errors = |registrar: &str, expires_s: u32| {
        let mut file = registering("4001");
        file["trunk"][0]["register"]["registrar"] = json!(registrar);
        file["trunk"][0]["register"]["expires_s"] = json!(expires_s);
        let doc = serde_json::from_value(file).expect("a document");
        crate::config::Tenant::compile(doc, Default::default(), None).err().map(|errors| errors[0].path.clone())
    };
    assert_eq!(errors("sip:carrier.example", 600), None);
    assert_eq!(errors("sip:192.0.2.1:5070;transport=tcp", 600), None);
    assert_eq!(errors("carrier.example", 600).as_deref(), Some("trunk[carrier-a].register.registrar"));
    assert_eq!(errors("sip:a@carrier.example", 600).as_deref(), Some("trunk[carrier-a].register.registrar"));
    assert_eq!(errors("sip:carrier.example", 5).as_deref(), Some("trunk[carrier-a].register.expires_s"));
}
