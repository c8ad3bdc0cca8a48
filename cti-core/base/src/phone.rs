use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A country by its ISO 3166-1 alpha-2 code, the default of a tenant's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Country(phonenumber::country::Id);

impl Country {
    /// `"CN"`, `"de"`; `None` for a code that is none.
    pub fn parse(code: &str) -> Option<Self> {
        phonenumber::country::Id::from_str(&code.to_ascii_uppercase()).ok().map(Self)
    }
}

/// A telephone number in E.164 form (`+8613800138000`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct E164(String);

impl E164 {
    /// Reads a number as people and carriers write it, in the manner of `country`; `None` where it is no telephone number.
    pub fn parse(text: &str, country: Country) -> Option<Self> {
        const TEXT_LEN_MAX: usize = 40;
        if text.len() > TEXT_LEN_MAX || !text.bytes().any(|b| b.is_ascii_digit()) {
            return None;
        }
        let number = phonenumber::parse(Some(country.0), text).ok()?;
        phonenumber::is_valid(&number).then(|| Self(number.format().mode(phonenumber::Mode::E164).to_string()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[number]")
    }
}

/// Whether the dialled `user` part names the declared `did`, each with or without `+`, the country's calling code or a trunk `0`.
pub fn did_matches(did: &str, user: &str, country: Country) -> bool {
    did_key(did, country) == did_key(user, country)
}

/// The national part of a dialled or declared number: digits only, without `+`, calling code or trunk prefix `0`.
/// Two numbers match by [`did_matches`] exactly when their keys are equal, so that a table of DIDs can be looked up.
pub fn did_key(text: &str, country: Country) -> String {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let code = phonenumber::metadata::DATABASE.by_id(country.0.as_ref()).map(|m| m.country_code().to_string());
    let international = text.trim_start().starts_with('+');
    let digits = digits.strip_prefix("00").map_or(digits.as_str(), |rest| rest);
    let national = match &code {
        Some(code) if international || digits.len() > code.len() + NATIONAL_LEN_MIN => {
            digits.strip_prefix(code.as_str()).unwrap_or(digits)
        }
        _ => digits,
    };
    national.strip_prefix('0').unwrap_or(national).to_owned()
}

/// A number shorter than this after its calling code is taken as national: `8612` is not `+86 12`.
const NATIONAL_LEN_MIN: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn cn() -> Country {
        Country::parse("CN").expect("CN is a country")
    }

    #[test]
    fn numbers_normalise_to_e164() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(E164::parse(text, cn()).as_ref().map(E164::as_str), expect, "{text}");
        };
        check("13800138000", Some("+8613800138000"));
        check("+86 138 0013 8000", Some("+8613800138000"));
        check("010-62781234", Some("+861062781234"));
        check("+49 30 901820", Some("+4930901820"));
        check("anonymous", None);
        check("1", None);
        check("", None);
    }

    #[test]
    fn a_did_matches_with_and_without_its_prefixes() {
        for user in ["4001001000", "+864001001000", "864001001000", "04001001000", "00864001001000"] {
            assert!(did_matches("4001001000", user, cn()), "{user}");
        }
        assert!(!did_matches("4001001000", "4001001001", cn()));
        assert!(!did_matches("4001001000", "", cn()));
    }
}
