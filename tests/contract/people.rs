//! Tenants, users, sessions, tokens, drafts, audit, idempotency keys.

use std::time::Duration;

use cti_base::{CallId, Rng};
use cti_switch::config::{Role, TenantDoc};
use serde_json::{Value, json};
use zongji_sql::drafts::{self, DraftKey};
use zongji_sql::idempotency::{self, Begun};
use zongji_sql::sessions::{self, TokenHash};
use zongji_sql::users::{self, UserPut};
use zongji_sql::{Change, Error, Page, audit, tenants, tokens};

use crate::{acme, at, both, other};

fn doc(queue: &str) -> TenantDoc {
    serde_json::from_value(json!({
        "tenant": { "id": "acme", "name": "Acme Diesel" },
        "trunk": [{ "name": "carrier-a", "hosts": ["127.0.0.1:5070"] }],
        "number": [{ "did": "4001001000", "trunk": "carrier-a", "route": { "queue": queue } }],
        "queue": [{ "name": queue }],
        "agent": [{ "name": "1001", "phone": { "kind": "contact", "uri": "sip:1001@127.0.0.1:6001" } }],
    }))
    .expect("a tenant's file")
}

fn person(name: &str) -> UserPut {
    UserPut { name: name.into(), display: Some("王芳".into()), ..UserPut::default() }
}

#[test]
fn a_tenant_applied_twice_keeps_its_version() {
    both(|store| async move {
        let first = tenants::apply(&store, &doc("repair"), &[person("1001")], at(0)).await.expect("applied");
        let again = tenants::apply(&store, &doc("repair"), &[person("1001")], at(9)).await.expect("applied");
        assert_eq!(first, again);
        let user = users::get(&store, &acme(), "1001").await.expect("asked").expect("is there");
        assert_eq!((user.version, user.display.as_str()), (1, "王芳"));

        let changed = tenants::apply(&store, &doc("sales"), &[person("1001")], at(10)).await.expect("applied");
        assert_eq!((changed.version, changed.created_ms), (2, at(0).as_millis()));
        assert_eq!(tenants::get(&store, &acme()).await.expect("asked").expect("is there").doc, Some(doc("sales")));
        assert_eq!(tenants::get(&store, &other()).await.expect("asked"), None);
        let system = tenants::ensure(&store, &tenants::SYSTEM.into(), "Installation", at(11)).await.expect("made");
        assert_eq!(tenants::ensure(&store, &system.id, "Another", at(12)).await.expect("found"), system);
        let all: Vec<String> =
            tenants::list(&store).await.expect("listed").into_iter().map(|t| t.id.to_string()).collect();
        assert_eq!(all, ["acme", "system"]);
    });
}

#[test]
fn a_user_keeps_what_a_declaration_does_not_name() {
    both(|store| async move {
        let with_secrets = UserPut {
            password_hash: Some("$argon2id$v=19$...".into()),
            sip_ha1: Some(("a".repeat(32), "b".repeat(64))),
            role: Role::Supervisor,
            ..person("1001")
        };
        users::put(&store, &acme(), &with_secrets, at(0)).await.expect("put");
        assert!(users::anyone(&store, &acme()).await.expect("asked"));
        assert!(!users::anyone(&store, &other()).await.expect("asked"));
        let role_only = UserPut { name: "1001".into(), role: Role::Qa, ..UserPut::default() };
        let user = users::put(&store, &acme(), &role_only, at(5)).await.expect("put");
        assert_eq!((user.role, user.display.as_str(), user.version), (Role::Qa, "王芳", 2));
        assert_eq!(user.sip_ha1_md5, Some("a".repeat(32)));
        assert!(!format!("{user:?}").contains("argon2id"), "a user must not print their hash");

        let disabled = users::set_disabled(&store, &acme(), "1001", true, at(6)).await.expect("set").expect("is there");
        assert!(disabled.disabled);
        assert!(!users::anyone(&store, &acme()).await.expect("asked"));
        let set = users::set_password(&store, &acme(), "1001", "$new", at(7)).await.expect("set").expect("is there");
        assert_eq!(set.password_hash.as_deref(), Some("$new"));
        assert!(users::set_password(&store, &other(), "1001", "$new", at(7)).await.expect("asked").is_none());
        let empty = users::put(&store, &acme(), &person(" "), at(8)).await.expect_err("no name");
        assert!(matches!(empty, Error::Invalid { field: "name", .. }), "{empty}");
    });
}

#[test]
fn users_page_by_name() {
    both(|store| async move {
        for n in 0..5 {
            users::put(&store, &acme(), &person(&format!("10{n:02}")), at(n)).await.expect("put");
        }
        let mut page = Page::limit(2);
        let mut names = Vec::new();
        loop {
            let listing = users::list(&store, &acme(), &page).await.expect("listed");
            names.extend(listing.items.into_iter().map(|u| u.name));
            let Some(next) = listing.next else { break };
            page.after = Some(next);
        }
        assert_eq!(names, ["1000", "1001", "1002", "1003", "1004"]);
        for limit in [0, 1_001] {
            let refused = users::list(&store, &acme(), &Page::limit(limit)).await.expect_err("a wrong limit");
            assert!(matches!(refused, Error::Invalid { field: "limit", .. }), "{refused}");
        }
    });
}

#[test]
fn a_session_lives_until_it_ends() {
    both(|store| async move {
        let hour = Duration::from_secs(3_600);
        let token = TokenHash::of("secret-1");
        sessions::create(&store, &acme(), "1001", &token, hour, at(0)).await.expect("made");
        let session = sessions::get(&store, &token, at(1)).await.expect("asked").expect("lives");
        assert_eq!((session.tenant, session.user.as_str()), (acme(), "1001"));
        assert!(sessions::get(&store, &TokenHash::of("secret-2"), at(1)).await.expect("asked").is_none());
        let end = at(3_600_000);
        assert!(sessions::get(&store, &token, end).await.expect("asked").is_none());
        sessions::touch(&store, &acme(), &token, hour, at(1_000)).await.expect("touched");
        assert!(sessions::get(&store, &token, end).await.expect("asked").is_some());
        assert_eq!(sessions::sweep(&store, end).await.expect("swept"), 0);
        assert!(sessions::end(&store, &token).await.expect("ended"));
        assert!(!sessions::end(&store, &token).await.expect("asked"));

        for n in 0..3 {
            let token = TokenHash::of(&format!("t{n}"));
            sessions::create(&store, &acme(), "1001", &token, hour, at(0)).await.expect("made");
        }
        assert_eq!(sessions::end_all_of(&store, &other(), "1001").await.expect("asked"), 0);
        assert_eq!(sessions::sweep(&store, end).await.expect("swept"), 3);
    });
}

#[test]
fn a_token_of_the_same_name_replaces_the_first() {
    both(|store| async move {
        let (first, second) = (TokenHash::of("one"), TokenHash::of("two"));
        tokens::put(&store, &acme(), "erp", "sync", &first, at(0)).await.expect("put");
        tokens::put(&store, &acme(), "erp", "sync", &second, at(1)).await.expect("put");
        assert!(tokens::get(&store, &first).await.expect("asked").is_none());
        assert_eq!(tokens::get(&store, &second).await.expect("asked").expect("lives").user, "erp");
        assert_eq!(tokens::list(&store, &acme(), "erp").await.expect("listed").len(), 1);
        assert!(!tokens::remove(&store, &other(), "erp", "sync").await.expect("asked"));
        assert!(tokens::remove(&store, &acme(), "erp", "sync").await.expect("removed"));
    });
}

#[test]
fn a_draft_saved_over_an_older_revision_shows_both() {
    both(|store| async move {
        let call = CallId::new(at(0), &mut Rng::from_number(1));
        let key = DraftKey { user: "1001", call: &call, kind: "repair" };
        let fields = |text: &str| {
            let Value::Object(map) = json!({ "title": text, "n": 1 }) else { panic!("an object") };
            map
        };
        let Change::Done(first) =
            drafts::save(&store, &acme(), key, &fields("a"), Some(0), at(1)).await.expect("saved")
        else {
            panic!("nobody else wrote")
        };
        assert_eq!((first.rev, first.fields["title"].as_str()), (1, Some("a")));
        let Change::Done(second) =
            drafts::save(&store, &acme(), key, &fields("b"), Some(1), at(2)).await.expect("saved")
        else {
            panic!("nobody else wrote")
        };
        assert_eq!(second.rev, 2);
        let Change::Conflict(theirs) =
            drafts::save(&store, &acme(), key, &fields("c"), Some(1), at(3)).await.expect("asked")
        else {
            panic!("revision 1 is old")
        };
        assert_eq!(theirs, second);
        let Change::Done(forced) = drafts::save(&store, &acme(), key, &fields("d"), None, at(4)).await.expect("saved")
        else {
            panic!("without a revision it overwrites")
        };
        assert_eq!(forced.rev, 3);
        assert_eq!(drafts::of_user(&store, &acme(), "1001").await.expect("listed"), [forced]);
        assert!(drafts::of_user(&store, &other(), "1001").await.expect("listed").is_empty());
        assert!(drafts::of_user(&store, &acme(), "1002").await.expect("listed").is_empty());
        assert!(!drafts::remove(&store, &acme(), "1002", &call, None).await.expect("asked"));
        assert!(drafts::remove(&store, &acme(), "1001", &call, Some("repair")).await.expect("removed"));
        assert!(drafts::get(&store, &acme(), "1001", &call, "repair").await.expect("asked").is_none());

        let huge = fields(&"x".repeat(zongji_sql::JSON_LEN_MAX));
        let refused = drafts::save(&store, &acme(), key, &huge, None, at(5)).await.expect_err("too long");
        assert!(matches!(refused, Error::Invalid { field: "fields", .. }), "{refused}");
    });
}

#[test]
fn audit_is_read_newest_first_by_its_own_tenant() {
    both(|store| async move {
        for n in 0..3u64 {
            audit::add(&store, &acme(), "1001", "customer.update", &format!("customer/{n}"), &json!({ "n": n }), at(n))
                .await
                .expect("written");
        }
        let listing = audit::list(&store, &acme(), &Page::limit(2)).await.expect("listed");
        let objects: Vec<&str> = listing.items.iter().map(|e| e.object.as_str()).collect();
        assert_eq!(objects, ["customer/2", "customer/1"]);
        assert_eq!(listing.items[0].detail, json!({ "n": 2 }));
        let rest = audit::list(&store, &acme(), &Page { after: listing.next, limit: None }).await.expect("listed");
        assert_eq!((rest.items.len(), rest.next), (1, None));
        assert!(audit::list(&store, &other(), &Page::default()).await.expect("listed").items.is_empty());
    });
}

#[test]
fn a_request_sent_again_gets_the_first_answer() {
    both(|store| async move {
        let begin = async |fingerprint: &str, now| {
            idempotency::begin(&store, &acme(), "1001", "k-1", fingerprint, now).await.expect("asked")
        };
        assert_eq!(begin("f", at(0)).await, Begun::Fresh);
        assert_eq!(begin("f", at(1)).await, Begun::Running);
        idempotency::finish(&store, &acme(), "1001", "k-1", 201, "{\"id\":1}", at(2)).await.expect("kept");
        assert_eq!(begin("f", at(3)).await, Begun::Done { status: 201, body: "{\"id\":1}".into() });
        assert_eq!(begin("g", at(3)).await, Begun::OtherRequest);
        let elsewhere = idempotency::begin(&store, &other(), "1001", "k-1", "f", at(3)).await.expect("asked");
        assert_eq!(elsewhere, Begun::Fresh);
        idempotency::abandon(&store, &other(), "1001", "k-1").await.expect("freed");
        let elsewhere = idempotency::begin(&store, &other(), "1001", "k-1", "f", at(4)).await.expect("asked");
        assert_eq!(elsewhere, Begun::Fresh);

        let day = 24 * 3_600_000;
        assert_eq!(begin("f", at(2 + day)).await, Begun::Fresh, "after a day the key is free");
        assert_eq!(idempotency::sweep(&store, at(day * 3)).await.expect("swept"), 2);
    });
}

#[test]
fn a_request_that_never_finished_may_begin_again() {
    both(|store| async move {
        let begin = async |now| idempotency::begin(&store, &acme(), "u", "k", "f", now).await.expect("asked");
        assert_eq!(begin(at(0)).await, Begun::Fresh);
        assert_eq!(begin(at(59_999)).await, Begun::Running);
        assert_eq!(begin(at(60_000)).await, Begun::Fresh);
    });
}
