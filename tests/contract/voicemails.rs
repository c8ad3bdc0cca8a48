//! Messages: a fact brings them, people take, give back and finish them.

use cti_base::{CallId, Pii, RecordingId, Rng};
use cti_switch::{Fact, FactRecord, VoicemailRecord};
use zongji_sql::voicemails::{self, VoicemailFilter, VoicemailPatch, VoicemailState};
use zongji_sql::{Change, Page, Store, projector};

use crate::{acme, at, both, other};

fn message(n: u64, number: &str, queue: &str) -> VoicemailRecord {
    let mut rng = Rng::from_number(n);
    VoicemailRecord {
        call: CallId::new(at(n), &mut rng),
        tenant: acme(),
        queue: queue.into(),
        recording: RecordingId::new(at(n), &mut rng),
        number: Pii::new(number.to_owned()),
        customer_id: Some("c1".into()),
        received_ms: at(n).as_millis(),
        from_ms: 0,
        length_ms: 5_000,
    }
}

async fn apply(store: &Store, journal: &str, messages: &[&VoicemailRecord]) {
    let fact = |message: &VoicemailRecord| Fact::VoicemailLeft { voicemail: Box::new(message.clone()) };
    let records: Vec<FactRecord> =
        (1..).zip(messages).map(|(seq, message)| FactRecord { seq, at: at(seq), fact: fact(message) }).collect();
    projector::apply(store, journal, &records).await.expect("applied");
}

async fn found(store: &Store, filter: VoicemailFilter) -> Vec<String> {
    let listing = voicemails::list(store, &acme(), &filter, &Page::default()).await.expect("listed");
    listing.items.into_iter().map(|message| message.id).collect()
}

#[test]
fn a_message_is_taken_once_finished_and_never_lost() {
    both(|store| async move {
        let (first, second) = (message(1, "+8613800138000", "repair"), message(2, "+8613900139000", "sales"));
        let (one, two) = (first.call.to_string(), second.call.to_string());
        apply(&store, "a", &[&first, &second]).await;
        let filter = VoicemailFilter::default;
        assert_eq!(found(&store, filter()).await, [two.clone(), one.clone()]);
        assert_eq!(
            found(&store, VoicemailFilter { number: Some("138-0013".into()), ..filter() }).await,
            std::slice::from_ref(&one)
        );
        assert_eq!(found(&store, VoicemailFilter { queue: Some("sales".into()), ..filter() }).await, [two]);
        assert_eq!(voicemails::get(&store, &other(), &one).await.expect("asked"), None);

        let patch =
            |version, state, note: Option<&str>| VoicemailPatch { version, state, note: note.map(str::to_owned) };
        let change = async |actor: &str, patch: VoicemailPatch| {
            voicemails::update(&store, &acme(), &one, actor, &patch, at(9)).await.expect("asked")
        };
        let Change::Done(taken) = change("1001", patch(1, VoicemailState::Taken, None)).await else { panic!("taken") };
        assert_eq!(
            (taken.agent.as_deref(), taken.version, taken.changed_ms),
            (Some("1001"), 2, Some(at(9).as_millis()))
        );
        // Who saw it waiting comes too late.
        let Change::Conflict(now) = change("1002", patch(1, VoicemailState::Taken, None)).await else { panic!("late") };
        assert_eq!(now, taken);
        let Change::Done(done) = change("1001", patch(2, VoicemailState::Done, Some("called back"))).await else {
            panic!("done")
        };
        assert_eq!((done.state, done.note.as_deref()), (VoicemailState::Done, Some("called back")));
        let waiting = VoicemailFilter { state: Some(VoicemailState::Waiting), ..filter() };
        assert_eq!(found(&store, waiting).await.len(), 1);

        // History made anew leaves what people have done.
        projector::reset(&store).await.expect("forgotten");
        apply(&store, "a", &[&first, &second]).await;
        assert_eq!(voicemails::get(&store, &acme(), &one).await.expect("asked"), Some(done));
        let missing =
            voicemails::update(&store, &other(), &one, "x", &patch(3, VoicemailState::Taken, None), at(9)).await;
        assert_eq!(missing.expect("asked"), Change::Missing);
    });
}
