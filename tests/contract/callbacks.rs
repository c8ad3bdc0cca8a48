//! Callbacks: facts folded into rows.

use cti_base::{CallId, CallbackId, Pii, Rng};
use cti_switch::{Callback, CallbackSource, CallbackState, Fact, FactRecord};
use zongji_sql::callbacks::{self, CallbackFilter};
use zongji_sql::{Page, Store, projector};

use crate::{acme, at, both, other};

const JOURNAL: &str = "a";

fn callback(n: u64, number: &str) -> Callback {
    let mut rng = Rng::from_number(n);
    Callback {
        id: CallbackId::new(at(n), &mut rng),
        tenant: acme(),
        queue: "repair".into(),
        agent: None,
        number: Pii::new(number.to_owned()),
        customer_id: None,
        contact_id: None,
        source: CallbackSource::Keypad,
        state: CallbackState::Waiting,
        requested_ms: at(n).as_millis(),
        due_ms: at(n).as_millis(),
        place_ms: at(n).as_millis(),
        attempts: 0,
        last_cause: None,
        request_call: Some(CallId::new(at(n), &mut rng)),
        call_id: None,
    }
}

fn requested(callback: &Callback) -> Fact {
    Fact::CallbackRequested { callback: Box::new(callback.clone()) }
}

async fn apply(store: &Store, first: u64, facts: Vec<Fact>) {
    let records: Vec<FactRecord> =
        (first..).zip(facts).map(|(seq, fact)| FactRecord { seq, at: at(seq), fact }).collect();
    projector::apply(store, JOURNAL, &records).await.expect("applied");
}

async fn found(store: &Store, filter: CallbackFilter) -> Vec<CallbackId> {
    let listing = callbacks::list(store, &acme(), &filter, &Page::default()).await.expect("listed");
    listing.items.into_iter().map(|callback| callback.id).collect()
}

#[test]
fn a_callback_is_shown_as_its_last_fact_tells_it() {
    both(|store| async move {
        let first = callback(1, "+8613800138000");
        let second = Callback { customer_id: Some("c1".into()), ..callback(2, "+8613900139000") };
        apply(&store, 1, vec![requested(&first), requested(&second)]).await;
        let dialing = Callback {
            state: CallbackState::Dialing,
            attempts: 1,
            call_id: Some(CallId::new(at(5), &mut Rng::from_number(5))),
            ..first.clone()
        };
        apply(&store, 3, vec![Fact::CallbackAttempt { callback: Box::new(dialing.clone()) }]).await;
        let id = first.id.to_string();
        assert_eq!(callbacks::get(&store, &acme(), &id).await.expect("asked"), Some(dialing.clone()));
        assert_eq!(callbacks::get(&store, &other(), &id).await.expect("asked"), None);

        let filter = CallbackFilter::default;
        assert_eq!(found(&store, filter()).await, [second.id, first.id]);
        assert_eq!(found(&store, CallbackFilter { number: Some("138-0013".into()), ..filter() }).await, [first.id]);
        assert_eq!(found(&store, CallbackFilter { customer_id: Some("c1".into()), ..filter() }).await, [second.id]);
        let waiting = CallbackFilter { state: Some(CallbackState::Waiting), ..filter() };
        assert_eq!(found(&store, waiting.clone()).await, [second.id]);
        assert!(found(&store, CallbackFilter { queue: Some("sales".into()), ..filter() }).await.is_empty());

        let done = Callback { state: CallbackState::Done, last_cause: Some("answered".into()), ..dialing };
        apply(&store, 4, vec![Fact::CallbackEnded { callback: Box::new(done.clone()) }]).await;
        // A late fact of another journal does not bring it back to life.
        let late = vec![FactRecord { seq: 1, at: at(9), fact: requested(&first) }];
        projector::apply(&store, "b", &late).await.expect("applied");
        assert_eq!(callbacks::get(&store, &acme(), &id).await.expect("asked"), Some(done));

        let page = Page::limit(1);
        let first_page = callbacks::list(&store, &acme(), &filter(), &page).await.expect("listed");
        assert_eq!((first_page.items.len(), first_page.next.clone()), (1, Some(second.id.to_string())));
        let rest = Page { after: first_page.next, ..page };
        let rest = callbacks::list(&store, &acme(), &filter(), &rest).await.expect("listed");
        assert_eq!((rest.items.len(), rest.next), (1, None));

        projector::reset(&store).await.expect("forgotten");
        assert!(found(&store, filter()).await.is_empty());
    });
}
