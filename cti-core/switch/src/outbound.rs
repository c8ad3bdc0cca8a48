//! What may be dialled, how much at once, through which trunk and as whom. Pure: tables in, an answer out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use cti_base::{Country, E164, Timestamp};
use serde::{Deserialize, Serialize};

use crate::config::{OutboundDecl, TenantDoc, TrunkDecl};
use crate::limits::TRUNK_HOST_DOWN;
use crate::routing::TrunkHost;

/// Why a number is not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No telephone number that this country's people would write.
    NoNumber,
    /// Emergency numbers and other short ones.
    Short,
    /// No prefix allows it, or one denies it.
    NotAllowed,
}

/// Numbers with fewer digits, calling code included, are never dialled: an emergency call must not be made by a machine,
/// and no subscriber is behind them.
const DIGITS_MIN: usize = 9;

/// The number in E.164 where it may be dialled. A denied beginning comes before an allowed one.
pub(crate) fn permit(rules: &OutboundDecl, country: Country, text: &str) -> Result<E164, Refused> {
    let written = text.bytes().filter(u8::is_ascii_digit).count();
    if written > 0 && written < SHORT_MAX {
        return Err(Refused::Short);
    }
    let number = E164::parse(text, country).ok_or(Refused::NoNumber)?;
    if number.as_str().len() <= DIGITS_MIN {
        return Err(Refused::Short);
    }
    let begins = |prefix: &String| number.as_str().starts_with(prefix.as_str());
    if rules.deny.iter().any(begins) || !rules.prefixes.iter().any(begins) {
        return Err(Refused::NotAllowed);
    }
    Ok(number)
}

/// Numbers written with fewer digits than this are short ones (110, 999, 12345), in whatever country.
const SHORT_MAX: usize = 7;

/// What a tenant has dialled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutboundUse {
    /// At this moment.
    pub calls: u32,
    /// When the next call would come if calls came evenly at `max_cps` (generic cell rate algorithm, ITU-T I.371).
    next_call: Timestamp,
}

/// Whether there is room for one more call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Now,
    /// Not before.
    At(Timestamp),
    /// When another call is over.
    Full,
}

impl OutboundUse {
    pub(crate) fn room(&self, now: Timestamp, rules: &OutboundDecl) -> Room {
        if self.calls >= rules.max_calls {
            return Room::Full;
        }
        let ahead = self.next_call.since(now);
        let allowed = SECOND - interval(rules);
        if ahead > allowed { Room::At(now + (ahead - allowed)) } else { Room::Now }
    }

    /// Counts a call that is dialled now.
    pub(crate) fn begin(&mut self, now: Timestamp, rules: &OutboundDecl) {
        self.calls += 1;
        self.next_call = self.next_call.max(now) + interval(rules);
    }

    pub(crate) fn end(&mut self) {
        self.calls = self.calls.saturating_sub(1);
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn interval(rules: &OutboundDecl) -> Duration {
    SECOND / rules.max_cps.max(1)
}

/// The trunk of that name, or the tenant's first.
pub(crate) fn trunk<'a>(doc: &'a TenantDoc, name: Option<&str>) -> Option<&'a TrunkDecl> {
    match name {
        Some(name) => doc.trunk.iter().find(|trunk| trunk.name == name),
        None => doc.trunk.first(),
    }
}

/// Hosts that did not answer, and until when they are not asked first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostsDown(BTreeMap<String, Timestamp>);

impl HostsDown {
    pub(crate) fn note(&mut self, now: Timestamp, host: &str) {
        self.note_until(now, host, now + TRUNK_HOST_DOWN);
    }

    pub(crate) fn note_until(&mut self, now: Timestamp, host: &str, until: Timestamp) {
        self.0.retain(|_, until| *until > now);
        self.0.insert(host.to_owned(), until);
    }

    pub(crate) fn forget(&mut self, host: &str) {
        self.0.remove(host);
    }
}

/// The host of `trunk` to dial through, beside those tried: the first that is alive, else the one whose time is over first.
pub(crate) fn host<'a>(
    trunk: &'a TrunkDecl,
    down: &HostsDown,
    tried: &[String],
    now: Timestamp,
) -> Option<(&'a str, SocketAddr)> {
    let addressed = trunk.hosts.iter().filter_map(|host| Some((host, TrunkHost::parse(host)?.outbound())));
    let open = addressed.filter(|(host, _)| !tried.contains(host));
    let dead_until = |host: &String| down.0.get(host).copied().filter(|until| *until > now);
    let (host, address) = open.min_by_key(|(host, _)| dead_until(host))?;
    Some((host, address))
}

/// Where a trunk's host is, as declared.
pub(crate) fn address(host: &str) -> Option<SocketAddr> {
    TrunkHost::parse(host).map(TrunkHost::outbound)
}

/// Who calls: the tenant's number that the customer had dialled, else the one that is set, else the trunk's first.
pub(crate) fn caller_id(doc: &TenantDoc, trunk: Option<&str>, dialled: Option<&str>) -> Option<String> {
    let owned = |did: &str| doc.number.iter().any(|number| number.did == did);
    let trunk = self::trunk(doc, trunk);
    let is_of_trunk = |of: &str| trunk.is_some_and(|trunk| trunk.name == of);
    let first = || doc.number.iter().find(|number| is_of_trunk(&number.trunk)).map(|number| number.did.clone());
    let dialled = dialled.filter(|did| owned(did)).map(str::to_owned);
    dialled.or_else(|| doc.tenant.outbound.caller_id.clone()).or_else(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cn() -> Country {
        Country::parse("CN").expect("a country")
    }

    fn rules(prefixes: &[&str], deny: &[&str]) -> OutboundDecl {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        OutboundDecl { prefixes: list(prefixes), deny: list(deny), ..OutboundDecl::default() }
    }

    #[test]
    fn only_named_prefixes_are_dialled_and_never_a_short_number() {
        let check = |prefixes: &[&str], deny: &[&str], text: &str, expect: Result<&str, Refused>| {
            let given = permit(&rules(prefixes, deny), cn(), text);
            assert_eq!(given.as_ref().map(E164::as_str).map_err(|refused| *refused), expect, "{prefixes:?} {text}");
        };
        check(&[], &[], "13800138000", Err(Refused::NotAllowed));
        check(&["+86"], &[], "13800138000", Ok("+8613800138000"));
        check(&["+86"], &[], "+86 138 0013 8000", Ok("+8613800138000"));
        check(&["+86"], &[], "008613800138000", Ok("+8613800138000"));
        check(&["+86"], &[], "010-62781234", Ok("+861062781234"));
        check(&["+8613"], &[], "010-62781234", Err(Refused::NotAllowed));
        check(&["+86"], &[], "+49 30 901820", Err(Refused::NotAllowed));
        check(&["+86", "+49"], &[], "+49 30 901820", Ok("+4930901820"));
        check(&["+86"], &["+8610"], "010-62781234", Err(Refused::NotAllowed));
        check(&["+8610"], &["+86"], "010-62781234", Err(Refused::NotAllowed));
        for short in ["110", "119", "120", "122", "112", "911", "999", "12345", "95588", "+86110", "010110", "0086110"]
        {
            let given = permit(&rules(&["+86", "+1", "+44"], &[]), cn(), short);
            assert!(given.is_err(), "{short}: {given:?}");
        }
        check(&["+86"], &[], "110", Err(Refused::Short));
        check(&["+86"], &[], "anonymous", Err(Refused::NoNumber));
        check(&["+86"], &[], "", Err(Refused::NoNumber));
        check(&["+86"], &[], "1380013800013800138000", Err(Refused::NoNumber));
    }

    #[test]
    fn calls_at_once_and_calls_a_second_are_limited() {
        let rules = OutboundDecl { max_calls: 3, max_cps: 2, ..OutboundDecl::default() };
        let at = |ms: u64| Timestamp::from_millis(1_000_000 + ms);
        let mut used = OutboundUse::default();
        let begin = |used: &mut OutboundUse, ms: u64| {
            assert_eq!(used.room(at(ms), &rules), Room::Now, "at {ms} ms");
            used.begin(at(ms), &rules);
        };
        begin(&mut used, 0);
        begin(&mut used, 0);
        assert_eq!(used.room(at(0), &rules), Room::At(at(500)));
        assert_eq!(used.room(at(499), &rules), Room::At(at(500)));
        begin(&mut used, 500);
        assert_eq!(used.room(at(5_000), &rules), Room::Full);
        used.end();
        begin(&mut used, 5_000);
    }

    #[test]
    fn the_first_host_alive_is_dialled_through() {
        let trunk: TrunkDecl =
            serde_json::from_str(r#"{"name": "a", "hosts": ["192.0.2.1", "192.0.2.2:5070", "192.0.2.3"]}"#)
                .expect("a trunk");
        let (now, mut down) = (Timestamp::from_millis(1_000_000), HostsDown::default());
        let pick = |down: &HostsDown, tried: &[&str], now| {
            let tried: Vec<String> = tried.iter().map(|host| (*host).to_owned()).collect();
            host(&trunk, down, &tried, now).map(|(_, address)| address.to_string())
        };
        assert_eq!(pick(&down, &[], now).as_deref(), Some("192.0.2.1:5060"));
        down.note(now, "192.0.2.1");
        assert_eq!(pick(&down, &[], now).as_deref(), Some("192.0.2.2:5070"));
        assert_eq!(pick(&down, &["192.0.2.2:5070"], now).as_deref(), Some("192.0.2.3:5060"));
        down.note(now + SECOND, "192.0.2.2:5070");
        down.note(now + SECOND, "192.0.2.3");
        // All are down: the one that went first.
        assert_eq!(pick(&down, &[], now + SECOND).as_deref(), Some("192.0.2.1:5060"));
        assert_eq!(pick(&down, &["192.0.2.1", "192.0.2.2:5070", "192.0.2.3"], now), None);
        assert_eq!(pick(&down, &[], now + TRUNK_HOST_DOWN).as_deref(), Some("192.0.2.1:5060"));
        down.forget("192.0.2.2:5070");
        assert_eq!(pick(&down, &["192.0.2.1"], now + SECOND).as_deref(), Some("192.0.2.2:5070"));
    }

    #[test]
    fn the_customer_sees_the_number_that_they_had_dialled() {
        let doc = |caller_id: &str| -> TenantDoc {
            let text = format!(
                r#"{{"tenant": {{"id": "acme", "name": "Acme", "outbound": {{{caller_id}}}}},
                "trunk": [{{"name": "a", "hosts": ["192.0.2.1"]}}, {{"name": "b", "hosts": ["192.0.2.2"]}}],
                "queue": [{{"name": "repair"}}],
                "number": [{{"did": "4001001000", "trunk": "a", "route": {{"queue": "repair"}}}},
                           {{"did": "4001001001", "trunk": "b", "route": {{"queue": "repair"}}}}]}}"#
            );
            serde_json::from_str(&text).expect("a tenant")
        };
        let check = |doc: &TenantDoc, trunk: &str, dialled: Option<&str>, expect: &str| {
            assert_eq!(caller_id(doc, Some(trunk), dialled).as_deref(), Some(expect), "{trunk} {dialled:?}");
        };
        check(&doc(""), "a", Some("4001001001"), "4001001001");
        check(&doc(""), "b", None, "4001001001");
        check(&doc(""), "a", Some("4001009999"), "4001001000");
        check(&doc(r#""caller_id": "4001002000""#), "b", None, "4001002000");
        assert_eq!(trunk(&doc(""), None).map(|trunk| trunk.name.as_str()), Some("a"));
        assert_eq!(trunk(&doc(""), Some("b")).map(|trunk| trunk.name.as_str()), Some("b"));
        assert_eq!(trunk(&doc(""), Some("c")), None);
    }
}
