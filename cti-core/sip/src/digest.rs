//! Digest access authentication (RFC 3261 22, RFC 7616, RFC 8760): challenges, their check, and answers to others'.

use std::collections::BTreeMap;
use std::time::Duration;

use cti_base::{Rng, Timestamp};
use md5::Md5;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::wire::{param, quote};
use crate::{Account, DigestPolicy};

/// How long a nonce may be used. A phone that comes later gets `stale=true` and tries again without asking its user.
pub const NONCE_LIFE: Duration = Duration::from_secs(300);
/// Nonces whose count is kept. When there are more, the oldest are forgotten and count as stale.
pub const NONCES_MAX: usize = 16_384;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Md5,
    Sha256,
}

impl Algorithm {
    const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Md5, Self::Sha256].into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// The hash of the parts joined by colons, in lower-case hex.
    pub fn hash(self, parts: &[&str]) -> String {
        let text = parts.join(":");
        match self {
            Self::Md5 => hex::encode(Md5::digest(text.as_bytes())),
            Self::Sha256 => hex::encode(Sha256::digest(text.as_bytes())),
        }
    }
}

/// An Authorization header, read.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub username: String,
    realm: String,
    nonce: String,
    uri: String,
    response: String,
    algorithm: Algorithm,
    /// `nc` and `cnonce`, with qop=auth.
    counted: Option<(u32, String, String)>,
}

impl Credentials {
    /// `None` for another scheme, an unknown algorithm or missing parts.
    pub fn parse(value: &str) -> Option<Self> {
        let params = digest_params(value)?;
        let text = |name: &str| item(&params, name).map(str::to_owned);
        let algorithm = item(&params, "algorithm").map_or(Some(Algorithm::Md5), Algorithm::parse)?;
        let counted = match item(&params, "qop") {
            Some(qop) if qop.eq_ignore_ascii_case("auth") => {
                let nc = text("nc").filter(|nc| nc.len() <= 8)?;
                Some((u32::from_str_radix(&nc, 16).ok()?, nc, text("cnonce")?))
            }
            Some(_) => return None,
            None => None,
        };
        Some(Self {
            username: crate::wire::unquote(&format!("\"{}\"", text("username")?)),
            realm: text("realm")?,
            nonce: text("nonce")?,
            uri: text("uri")?,
            response: text("response")?.to_ascii_lowercase(),
            algorithm,
            counted,
        })
    }

    pub fn is_for(&self, realm: &str) -> bool {
        self.realm == realm
    }

    fn matches(&self, method: &str, ha1: &str) -> bool {
        let ha2 = self.algorithm.hash(&[method, &self.uri]);
        let expect = match &self.counted {
            Some((_, nc, cnonce)) => self.algorithm.hash(&[ha1, &self.nonce, nc, cnonce, "auth", &ha2]),
            None => self.algorithm.hash(&[ha1, &self.nonce, &ha2]),
        };
        equal(expect.as_bytes(), self.response.as_bytes())
    }
}

/// The items behind `Digest `, by `,` (a value may hold commas within quotes).
fn digest_params(value: &str) -> Option<String> {
    let (scheme, params) = value.trim().split_once(char::is_whitespace)?;
    scheme.eq_ignore_ascii_case("Digest").then(|| {
        let items: Vec<&str> = crate::wire::split(params, b',').collect();
        items.join(";")
    })
}

fn item<'a>(params: &'a str, name: &str) -> Option<&'a str> {
    param(params, name).filter(|value| !value.is_empty())
}

/// Takes as long for a wrong first byte as for a wrong last one.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Good,
    /// Challenge again; `stale` where only the nonce was at fault.
    Refused {
        stale: bool,
    },
}

/// Makes and checks nonces. A nonce carries its time and is signed, so none is kept until it was used with success.
#[derive(Serialize, Deserialize)]
pub struct Nonces {
    key: [u8; 32],
    /// The highest count seen of each used nonce, by its time of issue.
    used: BTreeMap<(u64, String), u32>,
    /// Nonces issued at or before this are stale: their counts were forgotten.
    floor_us: u64,
}

impl Nonces {
    pub fn new(rng: &mut Rng) -> Self {
        let mut key = [0; 32];
        rng.fill(&mut key);
        Self { key, used: BTreeMap::new(), floor_us: 0 }
    }

    pub fn issue(&self, now: Timestamp, rng: &mut Rng) -> String {
        let head = format!("{:016x}{}", now.as_micros(), rng.hex::<4>());
        let sign = self.sign(&head);
        head + &sign
    }

    /// WWW-Authenticate values, the preferred first (RFC 8760 2.4).
    pub fn challenges(
        &self,
        now: Timestamp,
        rng: &mut Rng,
        policy: DigestPolicy,
        realm: &str,
        stale: bool,
    ) -> Vec<String> {
        let algorithms: &[Algorithm] = match policy {
            DigestPolicy::Md5 => &[Algorithm::Md5],
            DigestPolicy::Sha256 => &[Algorithm::Sha256],
            DigestPolicy::Both => &[Algorithm::Sha256, Algorithm::Md5],
        };
        let nonce = self.issue(now, rng);
        let stale = if stale { ", stale=true" } else { "" };
        let line = |algorithm: &Algorithm| {
            let (realm, name) = (quote(realm), algorithm.name());
            format!("Digest realm={realm}, nonce=\"{nonce}\"{stale}, algorithm={name}, qop=\"auth\"")
        };
        algorithms.iter().map(line).collect()
    }

    /// Checks credentials for `method` against an account; without one a false one is checked, so that both take the same time.
    pub fn check(
        &mut self,
        now: Timestamp,
        policy: DigestPolicy,
        credentials: &Credentials,
        method: &str,
        account: Option<&Account>,
    ) -> Verdict {
        let allowed = match policy {
            DigestPolicy::Md5 => credentials.algorithm == Algorithm::Md5,
            DigestPolicy::Sha256 => credentials.algorithm == Algorithm::Sha256,
            DigestPolicy::Both => true,
        };
        let Some(issued_us) = self.issued(&credentials.nonce) else { return Verdict::Refused { stale: false } };
        let age = now.since(Timestamp::from_micros(issued_us));
        if issued_us <= self.floor_us || age > NONCE_LIFE {
            return Verdict::Refused { stale: true };
        }
        let ha1 = account.map_or("", |account| account.ha1(credentials.algorithm, &credentials.username));
        if !credentials.matches(method, ha1) || ha1.is_empty() || !allowed {
            return Verdict::Refused { stale: false };
        }
        // Without qop there is no count: such a nonce is good for one request.
        let count = credentials.counted.as_ref().map_or(1, |(count, _, _)| *count);
        let key = (issued_us, credentials.nonce.clone());
        match self.used.get_mut(&key) {
            Some(seen) if *seen >= count => return Verdict::Refused { stale: true },
            Some(seen) => *seen = count,
            None => {
                self.forget(now);
                self.used.insert(key, count);
            }
        }
        Verdict::Good
    }

    fn issued(&self, nonce: &str) -> Option<u64> {
        let head = nonce.get(..HEAD_LEN)?;
        let signed = equal(self.sign(head).as_bytes(), &nonce.as_bytes()[HEAD_LEN..]);
        signed.then(|| u64::from_str_radix(&head[..16], 16).ok()).flatten()
    }

    fn sign(&self, head: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(head.as_bytes());
        hash.update(self.key);
        hex::encode(&hash.finalize()[..12])
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some(entry) = self.used.first_entry() {
            let issued_us = entry.key().0;
            if self.used.len() < NONCES_MAX && now.since(Timestamp::from_micros(issued_us)) <= NONCE_LIFE {
                break;
            }
            self.used.pop_first();
            self.floor_us = self.floor_us.max(issued_us);
        }
    }
}

/// Time and random part of a nonce.
const HEAD_LEN: usize = 16 + 8;

/// What answers a challenge: the value of Authorization or Proxy-Authorization. `None` where no challenge can be answered.
pub fn answer(
    challenges: &[&str],
    method: &str,
    uri: &str,
    (user, secret): (&str, &str),
    rng: &mut Rng,
) -> Option<Answer> {
    // The first that is understood is the server's preference (RFC 8760 2.4).
    challenges.iter().find_map(|challenge| {
        let params = digest_params(challenge)?;
        let algorithm = item(&params, "algorithm").map_or(Some(Algorithm::Md5), Algorithm::parse)?;
        let (realm, nonce) = (param(&params, "realm")?, item(&params, "nonce")?);
        let qop = match item(&params, "qop") {
            Some(offered) if offered.split(',').any(|q| q.trim().eq_ignore_ascii_case("auth")) => true,
            Some(_) => return None,
            None => false,
        };
        let stale = item(&params, "stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true"));
        let ha1 = algorithm.hash(&[user, realm, secret]);
        let ha2 = algorithm.hash(&[method, uri]);
        let mut value = format!("Digest username={}, realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\"", quote(user));
        if qop {
            let cnonce = rng.hex::<8>();
            let response = algorithm.hash(&[&ha1, nonce, "00000001", &cnonce, "auth", &ha2]);
            value += &format!(", response=\"{response}\", qop=auth, nc=00000001, cnonce=\"{cnonce}\"");
        } else {
            value += &format!(", response=\"{}\"", algorithm.hash(&[&ha1, nonce, &ha2]));
        }
        value += &format!(", algorithm={}", algorithm.name());
        if let Some(opaque) = item(&params, "opaque") {
            value += &format!(", opaque=\"{opaque}\"");
        }
        Some(Answer { value, stale })
    })
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub value: String,
    /// The earlier answer was refused for its nonce only.
    pub stale: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_7616_come_out() {
        let check = |algorithm: Algorithm, expect: &str| {
            let ha1 = algorithm.hash(&["Mufasa", "http-auth@example.org", "Circle of Life"]);
            let ha2 = algorithm.hash(&["GET", "/dir/index.html"]);
            let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
            let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
            assert_eq!(algorithm.hash(&[&ha1, nonce, "00000001", cnonce, "auth", &ha2]), expect);
        };
        check(Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec");
        check(Algorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1");
    }

    struct Case {
        nonces: Nonces,
        rng: Rng,
        account: Account,
    }

    fn case() -> Case {
        let mut rng = Rng::from_number(1);
        Case { nonces: Nonces::new(&mut rng), rng, account: Account::with_secret("acme", "1001", "zongji", "s3cret") }
    }

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    impl Case {
        fn credentials(&mut self, policy: DigestPolicy, user: &str, secret: &str) -> Credentials {
            let challenges = self.nonces.challenges(NOW, &mut self.rng, policy, "zongji", false);
            let challenges: Vec<&str> = challenges.iter().map(String::as_str).collect();
            let answer = answer(&challenges, "REGISTER", "sip:h", (user, secret), &mut self.rng).expect("an answer");
            Credentials::parse(&answer.value).expect("our own answer reads")
        }

        fn check(&mut self, now: Timestamp, policy: DigestPolicy, credentials: &Credentials) -> Verdict {
            self.nonces.check(now, policy, credentials, "REGISTER", Some(&self.account))
        }
    }

    #[test]
    fn a_right_secret_passes_under_every_policy_and_a_wrong_one_under_none() {
        for policy in [DigestPolicy::Md5, DigestPolicy::Sha256, DigestPolicy::Both] {
            let mut case = case();
            let good = case.credentials(policy, "1001", "s3cret");
            assert_eq!(case.check(NOW, policy, &good), Verdict::Good, "{policy:?}");
            let qualified = case.credentials(policy, "1001@acme", "s3cret");
            assert_eq!(case.check(NOW, policy, &qualified), Verdict::Good, "{policy:?}");
            let wrong = case.credentials(policy, "1001", "secret");
            assert_eq!(case.check(NOW, policy, &wrong), Verdict::Refused { stale: false }, "{policy:?}");
            let unknown = case.nonces.check(NOW, policy, &good, "REGISTER", None);
            assert_eq!(unknown, Verdict::Refused { stale: false }, "{policy:?}");
        }
    }

    #[test]
    fn an_algorithm_outside_of_the_policy_is_refused() {
        let mut case = case();
        let md5 = case.credentials(DigestPolicy::Md5, "1001", "s3cret");
        assert_eq!(case.check(NOW, DigestPolicy::Sha256, &md5), Verdict::Refused { stale: false });
    }

    #[test]
    fn a_count_is_good_once_and_an_old_nonce_is_stale() {
        let mut case = case();
        let mut credentials = case.credentials(DigestPolicy::Md5, "1001", "s3cret");
        assert_eq!(case.check(NOW, DigestPolicy::Md5, &credentials), Verdict::Good);
        assert_eq!(case.check(NOW, DigestPolicy::Md5, &credentials), Verdict::Refused { stale: true });
        credentials = case.credentials(DigestPolicy::Md5, "1001", "s3cret");
        let later = NOW + NONCE_LIFE + Duration::from_secs(1);
        assert_eq!(case.check(later, DigestPolicy::Md5, &credentials), Verdict::Refused { stale: true });
        credentials.nonce.replace_range(..1, "f");
        assert_eq!(case.check(NOW, DigestPolicy::Md5, &credentials), Verdict::Refused { stale: false });
    }

    #[test]
    fn counts_of_used_nonces_are_bounded_and_forgotten_ones_are_stale() {
        let mut case = case();
        let first = case.credentials(DigestPolicy::Md5, "1001", "s3cret");
        assert_eq!(case.check(NOW, DigestPolicy::Md5, &first), Verdict::Good);
        for index in 0..NONCES_MAX as u64 {
            case.nonces.forget(NOW);
            case.nonces.used.insert((NOW.as_micros() + 1 + index, String::new()), 1);
        }
        assert!(case.nonces.used.len() <= NONCES_MAX);
        assert_eq!(case.check(NOW, DigestPolicy::Md5, &first), Verdict::Refused { stale: true });
    }
}
