//! Whose call it is: the trunk by the address it came from, the number by what was dialled.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use cti_base::{TenantId, did_key};
use cti_sip::{Flow, Transport};

use crate::config::{AnswerWhen, NumberDecl, Phone, Route, Tenant};

/// A trunk's address as declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TrunkHost {
    ip: IpAddr,
    /// `None` is any source port.
    port: Option<u16>,
}

impl TrunkHost {
    /// Where our requests go: port 5060 where none is declared (RFC 3261 19.1.2).
    pub(crate) fn outbound(self) -> SocketAddr {
        const SIP_PORT: u16 = 5060;
        SocketAddr::new(self.ip, self.port.unwrap_or(SIP_PORT))
    }

    /// `192.0.2.1`, `192.0.2.1:5060`, `2001:db8::1`, `[2001:db8::1]:5060`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return (addr.port() != 0).then_some(Self { ip: addr.ip(), port: Some(addr.port()) });
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        Some(Self { ip: bare.parse().ok()?, port: None })
    }
}

impl Tenant {
    /// Whom its file names by address: its trunks, and the phones that never register.
    pub fn named_addresses(&self) -> BTreeSet<IpAddr> {
        let hosts = self.doc.trunk.iter().flat_map(|trunk| &trunk.hosts);
        let trunks = hosts.filter_map(|host| TrunkHost::parse(host)).map(|host| host.ip);
        let phones = self.doc.agent.iter().filter_map(|agent| match &agent.phone {
            Phone::Contact { uri } => cti_sip::address_of(uri).map(|address| address.ip()),
            Phone::Sip { .. } | Phone::Webrtc {} => None,
        });
        trunks.chain(phones).map(|ip| ip.to_canonical()).collect()
    }
}

impl Tenant {
    /// What a phone of the tenant's own means by what it dialled: an agent, a queue, or one of the tenant's numbers.
    pub(crate) fn dialled_within(&self, dialled: &str) -> Option<NumberDecl> {
        let route = if self.doc.agent.iter().any(|agent| agent.name.as_str() == dialled) {
            Route::Agent(dialled.into())
        } else if self.doc.queue.iter().any(|queue| queue.name.as_str() == dialled) {
            Route::Queue(dialled.into())
        } else {
            let key = did_key(dialled, self.country);
            return self.doc.number.iter().find(|number| did_key(&number.did, self.country) == key).cloned();
        };
        Some(NumberDecl { did: dialled.to_owned(), trunk: String::new(), route, answer: AnswerWhen::Entry })
    }
}

/// Every tenant's trunks by address. Two tenants may share a carrier's address: the number dialled decides.
#[derive(Debug, Default)]
pub(crate) struct TrunkTable {
    by_host: BTreeMap<TrunkHost, Vec<(TenantId, String)>>,
}

/// What a call from a known trunk dialled.
#[derive(Debug, PartialEq)]
pub(crate) enum Dialled<'a> {
    /// No trunk has this address.
    Stranger,
    /// A trunk's call for a number that none of its tenants has.
    UnknownNumber,
    Number {
        tenant: &'a TenantId,
        trunk: &'a str,
        number: &'a NumberDecl,
    },
}

impl TrunkTable {
    pub(crate) fn new<'a>(tenants: impl Iterator<Item = &'a Tenant>) -> Self {
        let mut by_host: BTreeMap<TrunkHost, Vec<(TenantId, String)>> = BTreeMap::new();
        for tenant in tenants {
            for trunk in &tenant.doc.trunk {
                for host in trunk.hosts.iter().filter_map(|host| TrunkHost::parse(host)) {
                    by_host.entry(host).or_default().push((tenant.doc.tenant.id.clone(), trunk.name.clone()));
                }
            }
        }
        Self { by_host }
    }

    /// A trunk declared with a port comes before one without. On a stream the peer's source port says nothing.
    pub(crate) fn find<'a>(
        &'a self,
        flow: &Flow,
        dialled: &str,
        tenant_of: impl Fn(&TenantId) -> Option<&'a Tenant>,
    ) -> Dialled<'a> {
        let mut known = false;
        for (tenant_id, trunk) in self.candidates(flow) {
            known = true;
            let Some(tenant) = tenant_of(tenant_id) else { continue };
            let key = (trunk.clone(), did_key(dialled, tenant.country));
            if let Some(number) = tenant.dids.get(&key).and_then(|index| tenant.doc.number.get(*index)) {
                return Dialled::Number { tenant: tenant_id, trunk, number };
            }
        }
        if known { Dialled::UnknownNumber } else { Dialled::Stranger }
    }

    fn candidates(&self, flow: &Flow) -> impl Iterator<Item = &(TenantId, String)> {
        let ip = flow.remote.ip().to_canonical();
        let any_port = self.by_host.get(&TrunkHost { ip, port: None });
        let stream = flow.transport != Transport::Udp;
        let first = TrunkHost { ip, port: Some(if stream { 0 } else { flow.remote.port() }) };
        let last = TrunkHost { ip, port: Some(if stream { u16::MAX } else { flow.remote.port() }) };
        let with_port = self.by_host.range(first..=last).map(|(_, trunks)| trunks);
        with_port.chain(any_port).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tenant_from;

    const FILE: &str = r#"{"tenant": {"id": "acme", "name": "Acme"},
        "trunk": [{"name": "any", "hosts": ["192.0.2.1"]}, {"name": "port", "hosts": ["192.0.2.1:5070"]}],
        "queue": [{"name": "repair"}],
        "number": [{"did": "4001001000", "trunk": "any", "route": {"queue": "repair"}},
                   {"did": "4001001001", "trunk": "port", "route": {"queue": "repair"}}]}"#;

    fn flow(transport: Transport, remote: &str) -> Flow {
        let local = SocketAddr::from(([192, 0, 2, 9], 5060));
        Flow { transport, local, remote: remote.parse().expect("an address"), connection: None }
    }

    #[test]
    fn a_call_belongs_to_the_trunk_of_its_source() {
        let tenant = tenant_from(FILE);
        let table = TrunkTable::new([&tenant].into_iter());
        let check = |transport, remote: &str, dialled: &str, expect: Option<&str>| {
            let found = table.find(&flow(transport, remote), dialled, |_| Some(&tenant));
            let trunk = match &found {
                Dialled::Stranger => None,
                Dialled::UnknownNumber => Some("404"),
                Dialled::Number { trunk, .. } => Some(*trunk),
            };
            assert_eq!(trunk, expect, "{remote} {dialled}");
        };
        check(Transport::Udp, "192.0.2.1:9999", "4001001000", Some("any"));
        check(Transport::Udp, "192.0.2.1:9999", "+864001001000", Some("any"));
        check(Transport::Udp, "192.0.2.1:9999", "4001001001", Some("404"));
        check(Transport::Udp, "192.0.2.1:5070", "4001001001", Some("port"));
        check(Transport::Udp, "192.0.2.1:5070", "4001001000", Some("any"));
        check(Transport::Tcp, "192.0.2.1:41234", "4001001001", Some("port"));
        check(Transport::Udp, "[::ffff:192.0.2.1]:5070", "04001001001", Some("port"));
        check(Transport::Udp, "192.0.2.2:5070", "4001001000", None);
        let within = |dialled| tenant.dialled_within(dialled).map(|number| number.route);
        assert_eq!(within("+864001001001"), Some(Route::Queue("repair".into())));
        assert_eq!(within("repair"), Some(Route::Queue("repair".into())));
        assert_eq!(within("13800138000"), None, "nobody outside");
        assert_eq!(tenant.named_addresses(), BTreeSet::from(["192.0.2.1".parse().expect("an address")]));
    }

    #[test]
    fn hosts_are_addresses() {
        for good in ["192.0.2.1", "192.0.2.1:5060", "2001:db8::1", "[2001:db8::1]:5060", "[2001:db8::1]"] {
            assert!(TrunkHost::parse(good).is_some(), "{good}");
        }
        for bad in ["", "carrier.example", "192.0.2.1:0", "192.0.2.1:99999", "192.0.2"] {
            assert!(TrunkHost::parse(bad).is_none(), "{bad}");
        }
    }
}
