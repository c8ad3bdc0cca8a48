use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use cti_base::{AgentName, CallId, QueueName, TenantId, Timestamp};
use cti_sip::{Endpoint, Target};

use crate::call::QueueEntry;
use crate::config::{AgentDecl, Phone, Role};
use crate::desk::{AgentState, AgentView, CallView, MediaHealth, NextState};
use crate::limits::{DESK_GRACE, FAILED_OFFERS_MAX, FAILED_OFFERS_WINDOW};
use serde::{Deserialize, Serialize};

/// What an agent is busy with. Never two things: this is the whole of "one agent, one offer".
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    Idle,
    Offer(CallId),
    Talk(CallId),
    /// Rung to join a call that is talked on.
    Join(CallId),
    Wrapup(Box<Wrapup>),
}

/// The time after a call.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Wrapup {
    pub view: CallView,
    pub queue: Option<QueueName>,
    pub started: Timestamp,
    /// `None`: until the agent finishes.
    pub until: Option<Timestamp>,
    pub extensions: u32,
    /// Talk and hold of the call, for the queue's handling time.
    pub talked: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Desk {
    /// No desk has shown itself yet.
    Never,
    Connected,
    Gone {
        since: Timestamp,
    },
}

/// How the agent's phone can be rung.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// At one address, always.
    Contact(Target),
    /// Where it registered; so many contacts.
    Registered(usize),
    /// In the browser, while that is connected.
    Browser { up: bool },
    /// In no way: the address is none that we have a transport for.
    Nowhere,
}

impl Reach {
    /// `browser_up`: whether the agent's browser is connected.
    pub(crate) fn of(endpoint: &Endpoint, tenant: &TenantId, decl: &AgentDecl, browser_up: bool) -> Self {
        match &decl.phone {
            Phone::Contact { uri } => endpoint.target_of(uri).map_or(Self::Nowhere, Self::Contact),
            Phone::Sip { .. } => Self::Registered(endpoint.contacts_of(tenant.as_str(), decl.name.as_str()).len()),
            Phone::Webrtc {} => Self::Browser { up: browser_up },
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Agent {
    /// The tenant's document has it: it is written down there.
    #[serde(skip, default = "undeclared")]
    pub decl: AgentDecl,
    pub state: AgentState,
    pub reason: Option<String>,
    pub since: Timestamp,
    pub next: Option<NextState>,
    pub task: Task,
    /// Since the last call ended or the agent went ready: the longest idle is offered first.
    pub idle_since: Timestamp,
    pub desk: Desk,
    /// Worked out again on restoring, from the declaration and the registrations.
    #[serde(skip, default = "nowhere")]
    pub reach: Reach,
    /// Whether the agent's browser has its audio connected; whatever the phone is by the file.
    #[serde(default)]
    pub browser_up: bool,
    /// Unanswered offers in a row.
    pub missed: u32,
    /// Failed offers within the window, oldest first.
    pub failed: VecDeque<Timestamp>,
    /// Whether the phone has shown that it can not be made to answer.
    pub answers_by_hand: bool,
    /// No longer declared: gone as soon as free.
    pub removed: bool,
    pub ver: u32,
    /// The queue that the call in hand, or its wrap-up, is counted for.
    #[serde(default)]
    pub served: Option<QueueEntry>,
}

/// Stands in while an agent is read back.
fn undeclared() -> AgentDecl {
    AgentDecl {
        name: AgentName::from(""),
        display: None,
        password_file: None,
        role: Role::Agent,
        skills: BTreeMap::new(),
        queues: Vec::new(),
        phone: Phone::Webrtc {},
        always_ready: false,
        weight: 1.0,
        rank: None,
    }
}

const fn nowhere() -> Reach {
    Reach::Nowhere
}

impl Agent {
    pub(crate) fn new(now: Timestamp, decl: AgentDecl, reach: Reach) -> Self {
        Self {
            decl,
            state: AgentState::Offline,
            reason: None,
            since: now,
            next: None,
            task: Task::Idle,
            idle_since: now,
            desk: Desk::Never,
            reach,
            browser_up: false,
            missed: 0,
            failed: VecDeque::new(),
            answers_by_hand: false,
            removed: false,
            ver: 0,
            served: None,
        }
    }

    pub(crate) fn add_failed(&mut self, now: Timestamp) {
        if self.failed.len() == FAILED_OFFERS_MAX {
            self.failed.pop_front();
        }
        self.failed.push_back(now);
    }

    /// Whether this agent may be offered calls at all.
    pub(crate) fn is_offerable(&self, now: Timestamp) -> bool {
        self.state == AgentState::Ready
            && matches!(self.task, Task::Idle)
            && !self.removed
            && self.is_reachable()
            && self.is_present(now)
            && self.blocked_until(now).is_none()
    }

    pub(crate) fn is_reachable(&self) -> bool {
        match &self.reach {
            Reach::Contact(_) => true,
            Reach::Registered(contacts) => *contacts > 0,
            Reach::Browser { up } => *up,
            Reach::Nowhere => false,
        }
    }

    /// An agent needs a desk, or one lost only just now, unless the file says that it needs none.
    pub(crate) fn is_present(&self, now: Timestamp) -> bool {
        self.decl.always_ready
            || match self.desk {
                Desk::Connected => true,
                Desk::Gone { since } => now.since(since) < DESK_GRACE,
                Desk::Never => false,
            }
    }

    /// While too many offers have failed: until when.
    pub(crate) fn blocked_until(&self, now: Timestamp) -> Option<Timestamp> {
        let oldest = *self.failed.front()?;
        let until = oldest + FAILED_OFFERS_WINDOW;
        (self.failed.len() >= FAILED_OFFERS_MAX && until > now).then_some(until)
    }

    pub(crate) fn call(&self) -> Option<CallId> {
        match &self.task {
            Task::Idle => None,
            Task::Offer(call) | Task::Talk(call) | Task::Join(call) => Some(*call),
            Task::Wrapup(wrapup) => Some(wrapup.view.call_id),
        }
    }

    pub(crate) fn display(&self) -> String {
        self.decl.display.clone().unwrap_or_else(|| self.decl.name.to_string())
    }

    pub(crate) fn view(&self) -> AgentView {
        AgentView {
            name: self.decl.name.clone(),
            display: self.display(),
            state: self.state,
            reason: self.reason.clone(),
            since_ms: self.since.as_millis(),
            next: self.next.clone(),
            browser: self.is_browser(),
            media: self.media(),
            ver: self.ver,
        }
    }

    /// As `live` shows it: `desk`, `phone` or `none`.
    pub(crate) fn connection(&self) -> &'static str {
        match (self.desk, self.is_reachable()) {
            (Desk::Connected, _) => "desk",
            (Desk::Gone { .. } | Desk::Never, true) if !self.is_browser() => "phone",
            (Desk::Gone { .. } | Desk::Never, _) => "none",
        }
    }

    pub(crate) fn media(&self) -> MediaHealth {
        match (self.is_reachable(), self.is_browser() && self.desk == Desk::Connected) {
            (true, _) => MediaHealth::Ok,
            (false, true) => MediaHealth::Unhealthy,
            (false, false) => MediaHealth::None,
        }
    }

    pub(crate) fn is_browser(&self) -> bool {
        matches!(self.decl.phone, Phone::Webrtc {})
    }

    pub(crate) fn is_sip(&self) -> bool {
        matches!(self.decl.phone, Phone::Sip { .. })
    }
}

#[cfg(test)]
mod tests {
    use cti_sip::{Flow, Transport};

    use super::*;
    use crate::testing::agent_decl;

    fn at(s: u64) -> Timestamp {
        Timestamp::from_millis(s * 1000)
    }

    fn reachable() -> Reach {
        let address = std::net::SocketAddr::from(([192, 0, 2, 1], 6001));
        let flow = Flow { transport: Transport::Udp, local: address, remote: address, connection: None };
        Reach::Contact(Target { uri: "sip:1001@192.0.2.1:6001".into(), flow })
    }

    fn ready_agent() -> Agent {
        let mut agent = Agent::new(at(0), agent_decl("1001"), reachable());
        agent.state = AgentState::Ready;
        agent.desk = Desk::Connected;
        agent
    }

    #[test]
    fn who_may_be_offered_a_call() {
        let check = |what: &str, expect: bool, change: fn(&mut Agent)| {
            let mut agent = ready_agent();
            change(&mut agent);
            assert_eq!(agent.is_offerable(at(100)), expect, "{what}");
        };
        check("ready at a desk", true, |_| {});
        check("on a break", false, |agent| agent.state = AgentState::Break);
        check("reserved", false, |agent| {
            agent.task = Task::Offer(CallId::new(at(1), &mut cti_base::Rng::from_number(1)))
        });
        check("removed", false, |agent| agent.removed = true);
        check("no phone", false, |agent| agent.reach = Reach::Nowhere);
        check("not registered", false, |agent| agent.reach = Reach::Registered(0));
        check("registered", true, |agent| agent.reach = Reach::Registered(1));
        check("a browser without audio", false, |agent| agent.reach = Reach::Browser { up: false });
        check("a browser", true, |agent| agent.reach = Reach::Browser { up: true });
        check("never at a desk", false, |agent| agent.desk = Desk::Never);
        check("desk lost just now", true, |agent| agent.desk = Desk::Gone { since: at(76) });
        check("desk lost for 25 s", false, |agent| agent.desk = Desk::Gone { since: at(75) });
        check("needs no desk", true, |agent| {
            agent.desk = Desk::Never;
            agent.decl.always_ready = true;
        });
        check("three failed offers in a minute", true, |agent| (0..3).for_each(|s| agent.add_failed(at(90 + s))));
        check("four failed offers in a minute", false, |agent| (0..4).for_each(|s| agent.add_failed(at(90 + s))));
        check("four failed offers, the first long ago", true, |agent| {
            agent.add_failed(at(40));
            (0..3).for_each(|s| agent.add_failed(at(90 + s)));
        });
    }
}
