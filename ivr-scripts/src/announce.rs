//! What a waiting caller is told, as names of shipped prompts in the order in which each language says them.

use std::time::Duration;

/// The highest number the prompts can say.
const NUMBER_MAX: u32 = 99;
/// Beyond it a wait is "more than sixty minutes".
const WAIT_MINUTES_MAX: u64 = 60;

/// How many callers are ahead: `place` counts from 1, the caller who is next. Above 99 it is "more than ninety-nine".
pub fn position(locale: &str, place: u32) -> Vec<&'static str> {
    match place.saturating_sub(1) {
        0 => vec!["position_next"],
        1 => vec!["position_one"],
        ahead if ahead > NUMBER_MAX => {
            [&["position_prefix", "more_than"], counted(locale, NUMBER_MAX).as_slice(), &["position_suffix"]].concat()
        }
        ahead => [&["position_prefix"], counted(locale, ahead).as_slice(), &["position_suffix"]].concat(),
    }
}

/// The estimated wait in minutes, rounded up; below a minute and above an hour it is said so.
pub fn wait(locale: &str, wait: Duration) -> Vec<&'static str> {
    if wait < Duration::from_secs(60) {
        return vec!["wait_less_than_minute"];
    }
    match wait.as_millis().div_ceil(60_000) as u64 {
        1 => vec!["wait_prefix", "n1", "minute"],
        minutes if minutes > WAIT_MINUTES_MAX => {
            [&["wait_prefix", "more_than"], counted(locale, WAIT_MINUTES_MAX as u32).as_slice(), &["minutes"]].concat()
        }
        minutes => [&["wait_prefix"], counted(locale, minutes as u32).as_slice(), &["minutes"]].concat(),
    }
}

/// How long somebody has waited, in whole minutes, as a number and its word; nothing below a minute.
pub fn waited(locale: &str, waited: Duration) -> Vec<&'static str> {
    match waited.as_secs() / 60 {
        0 => Vec::new(),
        1 => vec!["n1", "minute"],
        minutes => {
            let minutes = u32::try_from(minutes).unwrap_or(u32::MAX);
            [counted(locale, minutes).as_slice(), &["minutes"]].concat()
        }
    }
}

/// A number before what it counts: Chinese says 两 there, not 二.
fn counted(locale: &str, number: u32) -> Vec<&'static str> {
    if number == 2 && locale.starts_with("zh") {
        return vec!["two_counted"];
    }
    const ONES: [&str; 21] = [
        "n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9", "n10", "n11", "n12", "n13", "n14", "n15", "n16",
        "n17", "n18", "n19", "n20",
    ];
    const TENS: [&str; 10] = ["n0", "n10", "n20", "n30", "n40", "n50", "n60", "n70", "n80", "n90"];
    let number = number.min(NUMBER_MAX) as usize;
    match (number / 10, number % 10) {
        _ if number < ONES.len() => vec![ONES[number]],
        (tens, 0) => vec![TENS[tens]],
        (tens, ones) => vec![TENS[tens], ONES[ones]],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shipped;

    #[test]
    fn the_place_is_said_as_people_say_it() {
        let check =
            |locale: &str, place, expect: &[&str]| assert_eq!(position(locale, place), expect, "{locale} {place}");
        for locale in ["zh-CN", "en"] {
            check(locale, 0, &["position_next"]);
            check(locale, 1, &["position_next"]);
            check(locale, 2, &["position_one"]);
            check(locale, 4, &["position_prefix", "n3", "position_suffix"]);
            check(locale, 12, &["position_prefix", "n11", "position_suffix"]);
            check(locale, 23, &["position_prefix", "n20", "n2", "position_suffix"]);
            check(locale, 31, &["position_prefix", "n30", "position_suffix"]);
            check(locale, 100, &["position_prefix", "n90", "n9", "position_suffix"]);
            check(locale, 101, &["position_prefix", "more_than", "n90", "n9", "position_suffix"]);
        }
        check("zh-CN", 3, &["position_prefix", "two_counted", "position_suffix"]);
        check("en", 3, &["position_prefix", "n2", "position_suffix"]);
    }

    #[test]
    fn the_wait_is_said_in_minutes_rounded_up() {
        let check = |locale: &str, seconds, expect: &[&str]| {
            assert_eq!(wait(locale, Duration::from_secs(seconds)), expect, "{locale} {seconds}");
        };
        check("en", 0, &["wait_less_than_minute"]);
        check("en", 59, &["wait_less_than_minute"]);
        check("en", 60, &["wait_prefix", "n1", "minute"]);
        check("en", 61, &["wait_prefix", "n2", "minutes"]);
        check("zh-CN", 61, &["wait_prefix", "two_counted", "minutes"]);
        check("zh-CN", 3_000, &["wait_prefix", "n50", "minutes"]);
        check("zh-CN", 3_600, &["wait_prefix", "n60", "minutes"]);
        check("zh-CN", 3_601, &["wait_prefix", "more_than", "n60", "minutes"]);
    }

    #[test]
    fn whole_minutes_of_waiting_are_said() {
        let check = |seconds, expect: &[&str]| assert_eq!(waited("en", Duration::from_secs(seconds)), expect);
        check(59, &[]);
        check(119, &["n1", "minute"]);
        check(120, &["n2", "minutes"]);
        check(7_200, &["n90", "n9", "minutes"]);
    }

    #[test]
    fn every_word_is_shipped_in_both_languages() {
        let places = (0..=101).map(|place| (place, Duration::from_secs(u64::from(place) * 60)));
        for (place, time) in places {
            for locale in ["zh-CN", "en"] {
                for name in position(locale, place).into_iter().chain(wait(locale, time)) {
                    assert!(shipped::prompt(locale, name).is_some(), "{locale}/{name}");
                }
            }
        }
    }
}
