//! `zongji.toml`: every key, its default and its meaning.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use super::place::{Problem, Problems};

/// The whole file. Every key has a default; unknown keys are errors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeConfig {
    pub node: NodeSection,
    pub http: HttpSection,
    pub sip: SipSection,
    pub media: MediaSection,
    pub database: DatabaseSection,
    pub recordings: RecordingsSection,
    pub journal: JournalSection,
    pub metrics: MetricsSection,
    pub log: LogSection,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeSection {
    pub name: String,
    /// How long SIGTERM waits for calls to end, seconds.
    pub drain_s: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSection {
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    #[serde(deserialize_with = "no_tls_file")]
    pub tls_cert: Option<PathBuf>,
    #[serde(deserialize_with = "no_tls_file")]
    pub tls_key: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SipSection {
    #[serde(deserialize_with = "addresses")]
    pub udp: Vec<SocketAddr>,
    #[serde(deserialize_with = "addresses")]
    pub tcp: Vec<SocketAddr>,
    #[serde(deserialize_with = "addresses")]
    pub tls: Vec<SocketAddr>,
    /// SIP over websocket (RFC 7118), and the same over TLS.
    #[serde(deserialize_with = "addresses")]
    pub ws: Vec<SocketAddr>,
    #[serde(deserialize_with = "addresses")]
    pub wss: Vec<SocketAddr>,
    /// PEM files of what `tls` and `wss` show: the certificate with those between it and its root, and its key.
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    /// PEM file of the roots that peers we connect to over TLS must be certified by. Without it we connect to none.
    pub tls_ca: Option<PathBuf>,
    /// What stands in Via and Contact instead of the socket's own address.
    pub advertised: Option<IpAddr>,
    pub digest: Digest,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Digest {
    #[default]
    Md5,
    #[serde(rename = "sha-256")]
    Sha256,
    Both,
}

/// Beside the ports of RTP, so that one rule of a firewall holds both.
const BROWSER_PORT: u16 = 30_000;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MediaSection {
    pub rtp_ports: PortRange,
    /// Media worker threads; 0 is one a core.
    pub workers: usize,
    /// What stands in SDP instead of the machine's own address.
    pub advertised: Option<IpAddr>,
    /// The one UDP port of all browsers' audio; 0 is any free one.
    pub browser_port: u16,
    /// A talking leg whose peer sends nothing for so long is ended, seconds.
    pub rtp_timeout_s: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseSection {
    /// `None` is SQLite in the data directory.
    #[serde(deserialize_with = "database_url")]
    pub url: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecordingsSection {
    /// `file:PATH`; `None` is `recordings` in the data directory.
    #[serde(deserialize_with = "recording_store")]
    pub store: Option<PathBuf>,
    #[serde(deserialize_with = "no_encryption")]
    pub encrypt: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JournalSection {
    pub durability: Durability,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Survives kill -9.
    #[default]
    Process,
    /// Survives a power cut too, at the cost of an fsync a group.
    Power,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsSection {
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// An inclusive range of UDP ports, written `20000-29999`. A leg takes an even port for RTP and the next for RTCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRange(pub RangeInclusive<u16>);

impl NodeConfig {
    /// What no key alone can tell: keys that need each other.
    pub fn fault(&self) -> Option<String> {
        let secure = [("tls", &self.sip.tls), ("wss", &self.sip.wss)].into_iter().find(|(_, list)| !list.is_empty());
        let missing = match (&self.sip.tls_cert, &self.sip.tls_key) {
            (None, _) => "tls_cert",
            (Some(_), None) => "tls_key",
            (Some(_), Some(_)) => return None,
        };
        secure.map(|(name, _)| format!("[sip] {name} is listened on with a certificate: set `{missing}` in [sip]"))
    }

    /// Reads the text of a file; `file` is for the messages.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Problems> {
        toml::from_str(text).map_err(|error| Problem::of_toml(file, text, &error).into())
    }
}

impl Default for NodeSection {
    fn default() -> Self {
        Self { name: "a".into(), drain_s: 10 }
    }
}

impl Default for HttpSection {
    fn default() -> Self {
        Self { listen: local(8080), tls_cert: None, tls_key: None }
    }
}

impl Default for SipSection {
    fn default() -> Self {
        let everywhere = SocketAddr::from(([0, 0, 0, 0], 5060));
        Self {
            udp: vec![everywhere],
            tcp: vec![everywhere],
            tls: Vec::new(),
            ws: Vec::new(),
            wss: Vec::new(),
            tls_cert: None,
            tls_key: None,
            tls_ca: None,
            advertised: None,
            digest: Digest::Md5,
        }
    }
}

impl Default for MediaSection {
    fn default() -> Self {
        let rtp_ports = PortRange(20_000..=29_999);
        Self { rtp_ports, workers: 0, advertised: None, browser_port: BROWSER_PORT, rtp_timeout_s: 120 }
    }
}

impl Default for MetricsSection {
    fn default() -> Self {
        Self { listen: local(9464) }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.start(), self.0.end())
    }
}

impl Serialize for PortRange {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PortRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let ports = text.split_once('-').and_then(|(first, last)| {
            let (first, last) = (first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?);
            (first >= 1024 && first.is_multiple_of(2) && last > first).then_some(first..=last)
        });
        ports.map(Self).ok_or_else(|| {
            D::Error::custom(format!(
                "`{text}` is no range of ports: write the first (even, from 1024) and the last as \"20000-29999\""
            ))
        })
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn parse_address<E: serde::de::Error>(text: &str) -> Result<SocketAddr, E> {
    text.parse().map_err(|_| E::custom(format!("`{text}` is no address with a port; write it as \"127.0.0.1:8080\"")))
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    parse_address(&String::deserialize(deserializer)?)
}

fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    /// Sockets of one transport.
    const LISTENERS_MAX: usize = 16;
    let texts = Vec::<String>::deserialize(deserializer)?;
    if texts.len() > LISTENERS_MAX {
        return Err(D::Error::custom(format!("{} addresses; at most {LISTENERS_MAX} are taken", texts.len())));
    }
    texts.iter().map(|text| parse_address(text)).collect()
}

fn no_tls_file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    String::deserialize(deserializer)?;
    Err(D::Error::custom("this version serves plain HTTP only: remove the key and put a TLS proxy in front"))
}

fn no_encryption<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    if bool::deserialize(deserializer)? {
        return Err(D::Error::custom("this version stores recordings in the clear only: set it to false or remove it"));
    }
    Ok(false)
}

fn database_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let url = String::deserialize(deserializer)?;
    let known = ["sqlite:", "postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
    if known {
        return Ok(Some(url));
    }
    Err(D::Error::custom("a database is `sqlite:PATH` or `postgres://USER@HOST/NAME`"))
}

fn recording_store<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let store = String::deserialize(deserializer)?;
    match store.strip_prefix("file:") {
        Some(path) if !path.is_empty() => Ok(Some(path.into())),
        _ => {
            Err(D::Error::custom(format!("`{store}`: this version stores recordings in files only: write `file:PATH`")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<NodeConfig, String> {
        NodeConfig::parse(Path::new("z.toml"), text).map_err(|problems| problems.to_string())
    }

    #[test]
    fn an_empty_file_is_the_documented_default() {
        let config = parse("").expect("an empty file");
        assert_eq!(config, NodeConfig::default());
        assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.sip.udp, vec!["0.0.0.0:5060".parse().expect("an address")]);
        assert_eq!(config.media.rtp_ports.to_string(), "20000-29999");
        assert_eq!((config.node.drain_s, config.media.rtp_timeout_s), (10, 120));
        assert_eq!(config.metrics.listen.to_string(), "127.0.0.1:9464");
    }

    #[test]
    fn every_key_of_the_contract_is_read() {
        let config = parse(
            r#"
[node]
name = "b"
drain_s = 3
[http]
listen = "127.0.0.1:9000"
[sip]
udp = ["127.0.0.1:5070"]
tcp = []
tls = ["127.0.0.1:5071", "[::1]:5071"]
ws = ["127.0.0.1:5072"]
wss = ["127.0.0.1:5073"]
tls_cert = "/etc/z/cert.pem"
tls_key = "/etc/z/key.pem"
tls_ca = "/etc/z/ca.pem"
advertised = "203.0.113.5"
digest = "sha-256"
[media]
rtp_ports = "30000-30099"
workers = 2
advertised = "203.0.113.6"
rtp_timeout_s = 60
[database]
url = "postgres://z@127.0.0.1/zongji"
[recordings]
store = "file:/srv/rec"
encrypt = false
[journal]
durability = "power"
[metrics]
listen = "127.0.0.1:9465"
[log]
format = "json"
"#,
        )
        .expect("a whole file");
        assert_eq!(config.sip.digest, Digest::Sha256);
        assert_eq!((config.sip.tls.len(), config.sip.ws[0].port(), config.sip.wss[0].port()), (2, 5072, 5073));
        assert_eq!(config.sip.tls_cert, Some("/etc/z/cert.pem".into()));
        assert_eq!(config.media.rtp_ports, PortRange(30_000..=30_099));
        assert_eq!(config.recordings.store, Some("/srv/rec".into()));
        assert_eq!(config.journal.durability, Durability::Power);
        assert_eq!(config.log.format, LogFormat::Json);
    }

    #[test]
    fn a_wrong_key_or_value_is_refused_at_its_place() {
        let check = |text: &str, expect: &str| {
            let error = parse(text).expect_err(text);
            assert!(error.starts_with("z.toml:"), "{error}");
            assert!(error.contains(expect), "{text:?}: {error:?} has no {expect:?}");
        };
        check("[http]\nlisen = \"x\"", "z.toml:2:1: unknown key `lisen`; the nearest known key is `listen`");
        check("[htp]\n", "z.toml:1:2: unknown key `htp`; the nearest known key is `http`");
        check("[http]\nlisten = \"8080\"", "z.toml:2:10: `8080` is no address with a port");
        check("[http]\ntls_cert = \"c.pem\"", "2:12: this version serves plain HTTP only");
        check("[sip]\nwss = [\"0.0.0.0\"]", "2:7: `0.0.0.0` is no address with a port");
        check("[sip]\nudp = \"0.0.0.0:5061\"", "2:7: invalid type: string");
        check("[sip]\ndigest = \"md6\"", "unknown choice `md6`; the nearest is `md5`");
        check("[media]\nrtp_ports = \"20001-20100\"", "no range of ports");
        check("[media]\nrtp_ports = \"30000-20100\"", "no range of ports");
        check("[database]\nurl = \"mysql://x\"", "a database is `sqlite:PATH`");
        check("[recordings]\nstore = \"s3://b/p\"", "stores recordings in files only");
        check("[recordings]\nencrypt = true", "in the clear only");
        check("[node]\ndrain_s = -1", "z.toml:2:11: ");
        check("[node\n", "z.toml:1:6: ");
        check("[node]\nname = \"a\"\nname = \"b\"", "z.toml:3:1: duplicate key");
    }
}
