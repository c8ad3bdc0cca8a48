use std::sync::Arc;

use cti_base::TenantId;
use cti_switch::live::Live;

use super::LiveWatch;

/// The tenant's published state, brought to this moment: it is published when something changes, and until the next change
/// only the waits grow. The state of a switch that has ended stays at its last moment, so that its age shows.
pub fn now(watch: &LiveWatch, tenant: &TenantId) -> Option<Live> {
    let published: Arc<Live> = watch.borrow().get(tenant).cloned()?;
    let runs = watch.has_changed().is_ok();
    Some(if runs { at(&published, crate::now_ms()) } else { (*published).clone() })
}

fn at(published: &Live, now_ms: u64) -> Live {
    let mut live = published.clone();
    let passed_ms = now_ms.saturating_sub(live.at_ms);
    live.at_ms += passed_ms;
    for queue in live.queues.iter_mut().filter(|queue| queue.waiting > 0) {
        queue.longest_wait_ms += passed_ms;
    }
    live
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cti_switch::live::QueueLive;
    use tokio::sync::watch;

    use super::*;

    fn queue(waiting: u32) -> QueueLive {
        QueueLive { waiting, longest_wait_ms: 100, ..QueueLive::named("repair".into()) }
    }

    #[test]
    fn waits_grow_between_changes() {
        let published = Live { at_ms: 1_000, queues: vec![queue(2), queue(0)], ..Live::default() };
        let live = at(&published, 3_500);
        assert_eq!((live.at_ms, live.queues[0].longest_wait_ms, live.queues[1].longest_wait_ms), (3_500, 2_600, 100));
        assert_eq!(at(&published, 500), published, "a clock that went back changes nothing");
    }

    #[test]
    fn the_last_state_of_an_ended_switch_keeps_its_age() {
        let published = Live { at_ms: 1_000, ..Live::default() };
        let all = Arc::new(BTreeMap::from([(TenantId::from("t"), Arc::new(published))]));
        let (sender, watch) = watch::channel(all);
        let at_ms = || now(&watch, &"t".into()).map(|live| live.at_ms);
        assert!(at_ms().is_some_and(|at_ms| at_ms > 1_000));
        drop(sender);
        assert_eq!(at_ms(), Some(1_000));
    }
}
