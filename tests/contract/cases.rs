//! Cases and their log.

use serde_json::json;
use zongji_sql::cases::{self, CaseEventKind, CaseFilter, CaseKind, CaseNew, CasePatch, CaseStatus};
use zongji_sql::{Change, Error, Page, Store};

use crate::{acme, at, both, other};

async fn made(store: &Store, kind: CaseKind, title: &str, ms: u64) -> cases::Case {
    cases::create(store, &acme(), "1001", &CaseNew::new(kind, title), at(ms)).await.expect("made")
}

#[test]
fn cases_of_all_kinds_are_numbered_within_their_tenant() {
    both(|store| async move {
        for (n, kind) in (1..).zip(CaseKind::ALL) {
            let case = made(&store, kind, "冒黑烟", n).await;
            assert_eq!((case.number, case.kind, case.status), (n, kind, CaseStatus::Open));
        }
        let elsewhere = cases::create(&store, &other(), "2001", &CaseNew::new(CaseKind::Rescue, "x"), at(9)).await;
        assert_eq!(elsewhere.expect("made").number, 1);
        let words: Vec<_> = CaseKind::ALL.iter().map(|k| serde_json::to_value(k).expect("a word")).collect();
        assert_eq!(json!(words), json!(["inquiry", "complaint", "repair", "follow_up", "rescue"]));
    });
}

#[test]
fn a_change_is_logged_with_old_and_new() {
    both(|store| async move {
        let case = made(&store, CaseKind::Repair, "No power", 0).await;
        let patch: CasePatch = serde_json::from_value(json!({
            "version": 1, "status": "in_progress", "place": "G2 K1024", "title": "No power", "fields": { "km": 120000 }
        }))
        .expect("a patch");
        let Change::Done(changed) =
            cases::update(&store, &acme(), &case.id, "1002", &patch, at(1)).await.expect("updated")
        else {
            panic!("version 1 is the newest")
        };
        assert_eq!((changed.version, changed.status), (2, CaseStatus::InProgress));
        assert_eq!(changed.fields["km"], 120_000);
        let stale = cases::update(&store, &acme(), &case.id, "1002", &patch, at(2)).await.expect("asked");
        assert_eq!(stale, Change::Conflict(changed.clone()));
        let same = CasePatch { version: 2, ..CasePatch::default() };
        let unchanged = cases::update(&store, &acme(), &case.id, "1002", &same, at(3)).await.expect("asked");
        assert_eq!(unchanged, Change::Done(changed));

        cases::add_note(&store, &acme(), &case.id, "1001", "回电无人接", at(4))
            .await
            .expect("noted")
            .expect("is there");
        assert!(cases::add_note(&store, &other(), &case.id, "x", "y", at(5)).await.expect("asked").is_none());
        let log = cases::events(&store, &acme(), &case.id, &Page::default()).await.expect("read").items;
        let kinds: Vec<CaseEventKind> = log.iter().map(|e| e.kind).collect();
        assert_eq!(kinds, [CaseEventKind::Note, CaseEventKind::Changed, CaseEventKind::Created]);
        let changes = &log[1].changes;
        assert_eq!(changes.keys().collect::<Vec<_>>(), ["fields", "place", "status"]);
        assert_eq!(changes["status"], (json!("open"), json!("in_progress")));
        assert_eq!(changes["place"], (json!(null), json!("G2 K1024")));
        assert_eq!(log[0].text.as_deref(), Some("回电无人接"));
        assert!(cases::events(&store, &other(), &case.id, &Page::default()).await.expect("read").items.is_empty());
        assert_eq!(cases::update(&store, &other(), &case.id, "x", &same, at(6)).await.expect("asked"), Change::Missing);
    });
}

#[test]
fn cases_are_filtered_by_everything_that_is_asked() {
    both(|store| async move {
        let mut ids = Vec::new();
        for n in 0..6u64 {
            let new = CaseNew {
                customer_id: Some(format!("c{}", n % 2)),
                call_id: (n == 3).then(|| "call-3".into()),
                agent: Some(format!("100{}", n % 3)),
                status: if n < 2 { CaseStatus::Closed } else { CaseStatus::Open },
                ..CaseNew::new(if n == 5 { CaseKind::Rescue } else { CaseKind::Inquiry }, &format!("Title {n}"))
            };
            ids.push(cases::create(&store, &acme(), "1001", &new, at(n)).await.expect("made").id);
        }
        let check = async |filter: CaseFilter, expect: &[usize]| {
            let found = cases::list(&store, &acme(), &filter, &Page::default()).await.expect("listed").items;
            let found: Vec<&str> = found.iter().map(|c| c.id.as_str()).collect();
            let expect: Vec<&str> = expect.iter().map(|n| ids[*n].as_str()).collect();
            assert_eq!(found, expect, "{filter:?}");
            let elsewhere = cases::list(&store, &other(), &filter, &Page::default()).await.expect("listed");
            assert!(elsewhere.items.is_empty());
        };
        let filter = CaseFilter::default;
        check(filter(), &[5, 4, 3, 2, 1, 0]).await;
        check(CaseFilter { customer_id: Some("c1".into()), ..filter() }, &[5, 3, 1]).await;
        check(CaseFilter { call_id: Some("call-3".into()), ..filter() }, &[3]).await;
        check(CaseFilter { customer_id: Some("c0".into()), call_id: Some("call-3".into()), ..filter() }, &[]).await;
        check(CaseFilter { kind: Some(CaseKind::Rescue), ..filter() }, &[5]).await;
        check(CaseFilter { status: Some(CaseStatus::Closed), ..filter() }, &[1, 0]).await;
        check(CaseFilter { agent: Some("1002".into()), ..filter() }, &[5, 2]).await;
        check(CaseFilter { q: Some("title 4".into()), ..filter() }, &[4]).await;
        check(CaseFilter { q: Some("#4".into()), ..filter() }, &[3]).await;
        check(CaseFilter { customer_id: Some("c1".into()), status: Some(CaseStatus::Open), ..filter() }, &[5, 3]).await;

        let first = cases::list(&store, &acme(), &filter(), &Page::limit(4)).await.expect("listed");
        let page = Page { after: first.next, limit: Some(4) };
        let rest = cases::list(&store, &acme(), &filter(), &page).await.expect("listed");
        assert_eq!((rest.items.len(), rest.items[0].id.as_str(), rest.next), (2, ids[1].as_str(), None));
    });
}

#[test]
fn a_case_with_a_fault_is_refused_by_field() {
    both(|store| async move {
        let check = async |new: CaseNew, expect: &'static str| {
            let refused = cases::create(&store, &acme(), "1001", &new, at(0)).await.expect_err(expect);
            assert!(matches!(refused, Error::Invalid { field, .. } if field == expect), "{refused}");
        };
        let good = || CaseNew::new(CaseKind::Inquiry, "ok");
        check(CaseNew { title: "  ".into(), ..good() }, "title").await;
        check(CaseNew { description: Some("x".repeat(20_001)), ..good() }, "description").await;
        let mut long = good();
        long.fields.insert("a".into(), json!("x".repeat(zongji_sql::JSON_LEN_MAX)));
        check(long, "fields").await;
        let mut nul = good();
        nul.fields.insert("a".into(), json!("\0"));
        check(nul, "fields").await;
        let next = made(&store, CaseKind::Inquiry, "ok", 1).await;
        assert_eq!(next.number, 1, "a refused case takes no number");
    });
}
