//! Declarations on the way, and datagrams that nobody should have sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cti_base::AgentName;
use cti_sip::{Flow, Packet, Transport};
use cti_switch::Input;

use cti_acd::Strategy;

use super::{Due, STRANGER, Tamper, World};
use crate::checks::Reach;
use crate::profile::{CallbackSettings, OrderSettings, QueueSettings, SWITCH, address};

impl World {
    pub(super) fn declare(&mut self, index: usize, without: Option<&AgentName>) -> Result<(), String> {
        let (mut settings, id) = (self.settings[index].clone(), self.profile.tenants[index].clone());
        let drawn = settings.clone();
        match self.tamper {
            Tamper::WrongChoice => settings.strategies = ["top_down"; 3],
            Tamper::IgnoredOrder => {
                let plain = |order: OrderSettings| OrderSettings {
                    sticky: order.sticky,
                    target_s: order.target_s,
                    weight: order.weight.min(1.0).ceil(),
                    ..OrderSettings::default()
                };
                settings.orders = settings.orders.map(plain);
            }
            Tamper::IgnoredPreference => {
                settings.orders = settings.orders.map(|order| OrderSettings { sticky: None, ..order });
            }
            Tamper::RingsOn => settings.ring_timeout_s += 3,
            Tamper::DialsOn => {
                settings.callbacks =
                    settings.callbacks.map(|c| CallbackSettings { dial_timeout_s: c.dial_timeout_s + 3, ..c });
            }
            _ => {}
        }
        let tenant = Arc::new(self.profile.tenant(index, &settings, without));
        let rings_all = tenant.doc.queue.iter().filter(|queue| queue.strategy == Strategy::RingAll);
        self.ledger.ring_all.extend(rings_all.map(|queue| (id.clone(), queue.name.clone())));
        let known = match self.tamper {
            Tamper::RelaxedEarly => QueueSettings { relax_s: settings.relax_s + 600, ..settings },
            Tamper::WrongChoice => QueueSettings { bottom_up: true, ..settings },
            Tamper::IgnoredOrder | Tamper::IgnoredPreference | Tamper::RingsOn | Tamper::DialsOn => drawn,
            _ => settings,
        };
        self.fairness.declare(self.now, id, Arc::new(self.profile.tenant(index, &known, without)));
        self.input(Input::Declare(tenant))
    }

    pub(super) fn redeclare(&mut self) -> Result<(), String> {
        let index = self.rng.below(self.profile.tenants.len() as u64) as usize;
        let mut settings = QueueSettings::drawn(&mut self.rng);
        settings.vip_stands = self.rng.below(3) > 0;
        self.removed_queues |= !settings.vip_stands;
        self.settings[index] = settings;
        let tenant = self.profile.tenants[index].clone();
        let mine: Vec<usize> =
            (0..self.profile.agents.len()).filter(|n| self.profile.agents[*n].tenant == tenant).collect();
        let gone = (self.rng.below(2) == 0).then(|| mine[self.rng.below(mine.len() as u64) as usize]);
        let before: Vec<bool> = mine.iter().map(|n| self.is_declared(&self.agent(*n))).collect();
        if let Some(n) = gone {
            let (agent, by_contact) = (self.agent(n), self.profile.agents[n].secret.is_none());
            self.fairness.reach.insert(agent, Reach { desk: None, phone: by_contact });
        }
        let without = gone.map(|n| self.profile.agents[n].name.clone());
        self.declare(index, without.as_ref())?;
        for (n, was_declared) in mine.into_iter().zip(before) {
            if !was_declared && gone != Some(n) {
                self.later(Duration::from_millis(500), Due::Register(n));
                if self.profile.agents[n].desk {
                    self.later(Duration::from_millis(700), Due::Desk(n, true));
                }
            }
        }
        Ok(())
    }

    pub(super) fn garbage(&mut self) -> Result<(), String> {
        let from = if self.rng.below(2) == 0 { address(STRANGER) } else { self.profile.carriers[0] };
        let invite = format!(
            "INVITE sip:4001001004@{SWITCH} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{:x}\r\nMax-Forwards: 70\r\n\
             From: <sip:+8613900000000@{from}>;tag=a\r\nTo: <sip:4001001004@{SWITCH}>\r\nCall-ID: {:x}\r\n\
             CSeq: 1 INVITE\r\nContact: <sip:x@{from}>\r\nContent-Length: 0\r\n\r\n",
            self.rng.next_u64(),
            self.rng.next_u64()
        );
        let bytes = match self.rng.below(6) {
            0 => {
                let mut bytes = vec![0; 1 + self.rng.below(900) as usize];
                self.rng.fill(&mut bytes);
                bytes
            }
            1 => invite.as_bytes()[..self.rng.below(invite.len() as u64) as usize].to_vec(),
            2 => {
                let mut bytes = invite.clone().into_bytes();
                for _ in 0..8 {
                    let at = self.rng.below(bytes.len() as u64) as usize;
                    bytes[at] = self.rng.below(256) as u8;
                }
                bytes
            }
            3 => invite.replace("INVITE", "OPTIONS").into_bytes(),
            4 => invite.replace("INVITE", "BYE").replace("To: <", "To: <sip:x>;tag=nobody\r\nX: <").into_bytes(),
            _ if from == address(STRANGER) => invite.into_bytes(),
            _ => b"\r\n\r\n".to_vec(),
        };
        let flow = Flow { transport: Transport::Udp, local: address(SWITCH), remote: from, connection: None };
        self.input(Input::Sip(Packet { flow, bytes: Bytes::from(bytes) }))
    }
}
