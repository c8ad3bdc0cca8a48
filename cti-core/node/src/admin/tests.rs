//! Applying a file, again, changed, and with an agent gone.

use std::path::PathBuf;

use super::*;

const FILE: &str = r#"
tenant = { id = "acme", name = "Acme" }
[[trunk]]
name = "t"
hosts = ["127.0.0.1"]
[[queue]]
name = "repair"
[[number]]
did = "4001"
trunk = "t"
route = { queue = "repair" }
[[agent]]
name = "1001"
password_file = "pw"
queues = ["repair"]
phone = { kind = "sip", secret_file = "pw" }
[[agent]]
name = "1002"
phone = { kind = "contact", uri = "sip:1002@127.0.0.1:6002" }
"#;

struct Installation {
    dir: tempfile::TempDir,
    store: Store,
}

impl Installation {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::connect(&format!("sqlite:{}", dir.path().join("z.db").display())).await.expect("a database");
        std::fs::write(dir.path().join("pw"), "first").expect("written");
        Self { dir, store }
    }

    fn package(&self, text: &str) -> Package {
        let file: PathBuf = self.dir.path().join("t.toml");
        std::fs::write(&file, text).expect("written");
        Package::from(TenantFile::load(&file).expect("a right file"))
    }

    async fn apply(&self, text: &str) -> (Vec<String>, usize) {
        let request = Request::Apply { packages: vec![self.package(text)] };
        let done = carry_out(&self.store, request).await.expect("applied");
        let Answer::Applied { tenants } = done.answer else { panic!("{:?}", done.answer) };
        (tenants[0].changes.iter().map(ToString::to_string).collect(), done.declared.len())
    }

    async fn user(&self, name: &str) -> User {
        users::get(&self.store, &"acme".into(), name).await.expect("asked").expect("there")
    }
}

#[tokio::test]
async fn the_same_file_twice_changes_nothing() {
    let installation = Installation::new().await;
    let (changes, declared) = installation.apply(FILE).await;
    assert_eq!(
        changes,
        ["+ tenant acme", "+ trunk t", "+ number 4001 on t", "+ queue repair", "+ agent 1001", "+ agent 1002"]
    );
    assert_eq!(declared, 1);
    assert_eq!(installation.apply(FILE).await, (Vec::new(), 0));
    let stored = stored_tenants(&installation.store).await.expect("compiled");
    assert_eq!(stored[0].digests.values().collect::<Vec<_>>(), [&crate::config::ha1("1001", "first")]);
}

#[tokio::test]
async fn a_new_password_and_an_agent_who_left_are_seen() {
    let installation = Installation::new().await;
    installation.apply(FILE).await;
    std::fs::write(installation.dir.path().join("pw"), "second").expect("written");
    assert_eq!(installation.apply(FILE).await.0, ["~ agent 1001: password, secret"]);
    assert!(verify_password("second", &installation.user("1001").await.password_hash.expect("a password")));

    let (without, _) = FILE.rsplit_once("[[agent]]").expect("two agents");
    assert_eq!(installation.apply(without).await.0, ["- agent 1002"]);
    assert!(installation.user("1002").await.disabled);
    assert_eq!(installation.apply(FILE).await.0, ["+ agent 1002"]);
    assert!(!installation.user("1002").await.disabled);
}

#[tokio::test]
async fn one_wrong_tenant_keeps_all_from_being_applied() {
    let installation = Installation::new().await;
    let right = installation.package(FILE);
    let mut wrong = right.clone();
    wrong.doc.tenant.id = "other".into();
    wrong.doc.number[0].trunk = "none".into();
    let error = carry_out(&installation.store, Request::Apply { packages: vec![right, wrong] }).await.err();
    assert!(error.as_deref().is_some_and(|error| error.contains("there is no trunk `none`")), "{error:?}");
    assert!(tenants::list(&installation.store).await.expect("listed").is_empty());
}

#[tokio::test]
async fn people_are_added_once_and_only_to_a_tenant_that_is_there() {
    let installation = Installation::new().await;
    let add = |tenant: &str| Request::UserAdd {
        tenant: tenant.into(),
        name: "qa1".into(),
        display: None,
        role: Role::Qa,
        password: "secret".into(),
    };
    let refused = carry_out(&installation.store, add("acme")).await.err().expect("no tenant");
    assert!(refused.contains("there is no tenant acme"), "{refused}");
    installation.apply(FILE).await;
    assert!(carry_out(&installation.store, add("acme")).await.is_ok());
    let refused = carry_out(&installation.store, add("acme")).await.err().expect("twice");
    assert!(refused.contains("exists already"), "{refused}");
    let token = Request::UserToken { tenant: "acme".into(), name: "qa1".into(), label: "cli".into() };
    let Answer::Token { token } = carry_out(&installation.store, token).await.expect("made").answer else { panic!() };
    let found = tokens::get(&installation.store, &TokenHash::of(&token)).await.expect("asked").expect("known");
    assert_eq!((found.user.as_str(), found.tenant.as_str()), ("qa1", "acme"));
}

#[tokio::test]
async fn the_first_administrator_is_made_once() {
    let installation = Installation::new().await;
    let (name, password) = first_administrator(&installation.store).await.expect("made").expect("the first");
    let system = TenantId::from(tenants::SYSTEM);
    let user = users::get(&installation.store, &system, &name).await.expect("asked").expect("there");
    assert!(verify_password(&password, &user.password_hash.expect("a password")));
    assert_eq!(first_administrator(&installation.store).await.expect("asked"), None);
}
