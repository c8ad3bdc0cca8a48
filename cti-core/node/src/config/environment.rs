//! `ZONGJI_HTTP__LISTEN=127.0.0.1:9000` is `[http] listen`: every key of the file can be set by environment.

use super::node_file::NodeConfig;
use super::place::nearest;

const PREFIX: &str = "ZONGJI_";

/// Lays the variables that name a key over `file`, a parsed configuration. A variable without `__` is none of ours.
///
/// A value is taken as text, else as TOML (`["0.0.0.0:5060"]`, `30`), else as a comma-separated list, whichever the key
/// takes first. The error names the variable.
pub fn overlay(
    mut file: toml::Table,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<toml::Table, String> {
    let mut variables: Vec<(String, String)> = variables.into_iter().collect();
    variables.sort();
    for (variable, value) in variables {
        let Some((section, key)) = key_of(&variable) else { continue };
        let value = fitting(&variable, &section, &key, &value)?;
        let table = file.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        if let toml::Value::Table(table) = table {
            table.insert(key, value);
        }
    }
    Ok(file)
}

fn key_of(variable: &str) -> Option<(String, String)> {
    let (section, key) = variable.strip_prefix(PREFIX)?.split_once("__")?;
    Some((section.to_ascii_lowercase(), key.to_ascii_lowercase()))
}

/// The first reading of `text` that the key takes.
fn fitting(variable: &str, section: &str, key: &str, text: &str) -> Result<toml::Value, String> {
    let mut readings = vec![toml::Value::String(text.to_owned())];
    if let Ok(table) = format!("v = {text}").parse::<toml::Table>() {
        readings.extend(table.get("v").cloned());
    }
    let list = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    readings.push(toml::Value::Array(list.map(|item| toml::Value::String(item.to_owned())).collect()));
    let mut wrong = None;
    for reading in readings {
        let one = toml::Table::from_iter([(key.to_owned(), reading.clone())]);
        let whole = toml::Table::from_iter([(section.to_owned(), toml::Value::Table(one))]);
        match whole.try_into::<NodeConfig>() {
            Ok(_) => return Ok(reading),
            Err(error) => wrong = wrong.or(Some(error.message().to_owned())),
        }
    }
    Err(explain(variable, &wrong.unwrap_or_default()))
}

fn explain(variable: &str, message: &str) -> String {
    if !message.starts_with("unknown field") {
        return format!("environment variable {variable}: {}", message.lines().next().unwrap_or_default());
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let wrong = quoted.next().unwrap_or_default();
    let near = nearest(wrong, quoted).unwrap_or_default();
    format!("environment variable {variable}: unknown key `{wrong}`; the nearest known key is `{near}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Result<NodeConfig, String> {
        let file = "[http]\nlisten = \"127.0.0.1:1\"\n[node]\nname = \"from-file\"".parse().expect("TOML");
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Ok(overlay(file, variables)?.try_into().expect("each value was tried"))
    }

    #[test]
    fn a_variable_wins_over_the_file_whatever_the_keys_type() {
        let config = with(&[
            ("ZONGJI_HTTP__LISTEN", "127.0.0.1:9000"),
            ("ZONGJI_NODE__DRAIN_S", "3"),
            ("ZONGJI_SIP__UDP", "127.0.0.1:5070, 127.0.0.1:5071"),
            ("ZONGJI_SIP__TCP", "[]"),
            ("ZONGJI_MEDIA__RTP_PORTS", "30000-30099"),
            ("ZONGJI_LOG__FORMAT", "json"),
            ("ZONGJI_UNRELATED", "x"),
            ("PATH", "/bin"),
        ])
        .expect("all known");
        assert_eq!(config.http.listen.port(), 9000);
        assert_eq!((config.node.drain_s, config.node.name.as_str()), (3, "from-file"));
        assert_eq!(config.sip.udp.len(), 2);
        assert!(config.sip.tcp.is_empty());
        assert_eq!(config.media.rtp_ports.to_string(), "30000-30099");
    }

    #[test]
    fn a_number_can_be_a_name() {
        assert_eq!(with(&[("ZONGJI_NODE__NAME", "1")]).expect("a name").node.name, "1");
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let check = |name: &str, value: &str, expect: &str| {
            let error = with(&[(name, value)]).expect_err(name);
            assert!(error.contains(name) && error.contains(expect), "{error}");
        };
        check("ZONGJI_HTTP__LISEN", "x", "nearest known key is `listen`");
        check("ZONGJI_HTP__LISTEN", "x", "nearest known key is `http`");
        check("ZONGJI_HTTP__LISTEN", "x", "is no address with a port");
        check("ZONGJI_NODE__DRAIN_S", "soon", "invalid type");
    }
}
