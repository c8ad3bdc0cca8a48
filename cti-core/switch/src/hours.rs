//! Opening hours: `Mon-Fri 08:00-18:00` in a time zone, over midnight too, less closed days.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Timelike, Weekday};
use chrono_tz::Tz;
use cti_base::Timestamp;

use crate::limits::{HOURS_CLOSED_MAX, HOURS_SPANS_MAX};

/// Minutes in a day.
const DAY_MIN: u16 = 24 * 60;

/// When a tenant is open. A span belongs to the day on which it begins: `Fri 22:00-02:00` ends on Saturday.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    spans: Vec<Span>,
    /// First and last closed day.
    closed: Vec<(NaiveDate, NaiveDate)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    /// By `Weekday::num_days_from_monday`.
    days: [bool; 7],
    /// Minutes after midnight, the end not included; an end at or before the start lies on the next day.
    from_min: u16,
    to_min: u16,
}

impl Hours {
    /// Reads the lines of a tenant's file. The error names the line at fault and says what is expected.
    pub fn parse(open: &[String], closed: &[String]) -> Result<Self, String> {
        if open.len() > HOURS_SPANS_MAX || closed.len() > HOURS_CLOSED_MAX {
            return Err(format!("at most {HOURS_SPANS_MAX} `open` and {HOURS_CLOSED_MAX} `closed` lines"));
        }
        let spans = open.iter().map(|line| parse_span(line)).collect::<Result<_, _>>()?;
        let closed = closed.iter().map(|line| parse_closed(line)).collect::<Result<_, _>>()?;
        Ok(Self { spans, closed })
    }

    /// Whether it is open at `now`. A closed day has no open minute, not even of a span that began the evening before.
    pub fn is_open(&self, now: Timestamp, zone: Tz) -> bool {
        let local = local_time(now, zone);
        let minute = (local.hour() * 60 + local.minute()) as u16;
        let today = local.date();
        if self.is_closed_on(today) {
            return false;
        }
        let yesterday = today.checked_sub_days(Days::new(1));
        self.spans.iter().any(|span| {
            let today_open = span.days[weekday(today)]
                && minute >= span.from_min
                && (minute < span.to_min || span.to_min <= span.from_min);
            let from_yesterday = span.to_min <= span.from_min
                && minute < span.to_min
                && yesterday.is_some_and(|day| span.days[weekday(day)] && !self.is_closed_on(day));
            today_open || from_yesterday
        })
    }

    fn is_closed_on(&self, day: NaiveDate) -> bool {
        self.closed.iter().any(|(first, last)| (*first..=*last).contains(&day))
    }
}

/// The local calendar day of `now`, as days since the common era.
pub(crate) fn local_day(now: Timestamp, zone: Tz) -> i32 {
    local_time(now, zone).date().num_days_from_ce()
}

/// The local day that `now` lies in: its midnight and the next one, UTC milliseconds. Where clocks skip midnight the day
/// begins when they have gone on.
pub fn day_of(now: Timestamp, zone: Tz) -> (u64, u64) {
    let date = local_time(now, zone).date();
    let next = date.checked_add_days(Days::new(1)).unwrap_or(date);
    (midnight_ms(date, zone), midnight_ms(next, zone))
}

/// As [`day_of`], of a zone by its name; `None` where there is no such zone.
pub fn day_in(now: Timestamp, zone: &str) -> Option<(u64, u64)> {
    zone.parse().ok().map(|zone| day_of(now, zone))
}

/// Clocks skip at most so many quarters of an hour.
const SKIPPED_QUARTERS_MAX: i64 = 12;

fn midnight_ms(date: NaiveDate, zone: Tz) -> u64 {
    let midnight = date.and_time(NaiveTime::MIN);
    let first = (0..=SKIPPED_QUARTERS_MAX)
        .find_map(|quarters| zone.from_local_datetime(&(midnight + TimeDelta::minutes(15 * quarters))).earliest());
    let utc_ms = first.map_or_else(|| midnight.and_utc().timestamp_millis(), |time| time.timestamp_millis());
    u64::try_from(utc_ms).unwrap_or(0)
}

fn local_time(now: Timestamp, zone: Tz) -> NaiveDateTime {
    let micros = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
    let utc = DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::UNIX_EPOCH);
    zone.from_utc_datetime(&utc.naive_utc()).naive_local()
}

fn weekday(day: NaiveDate) -> usize {
    day.weekday().num_days_from_monday() as usize
}

/// `Mon-Fri 08:00-18:00`, `Sat,Sun 10:00-14:00`, `Daily 00:00-24:00`.
fn parse_span(line: &str) -> Result<Span, String> {
    let expected = || format!("`{line}` is no opening time: write it as `Mon-Fri 08:00-18:00`");
    let (days_text, times) = line.trim().rsplit_once(' ').ok_or_else(expected)?;
    let (from, to) = times.split_once('-').ok_or_else(expected)?;
    let (from_min, to_min) = (parse_minute(from).ok_or_else(expected)?, parse_minute(to).ok_or_else(expected)?);
    if from_min == to_min || from_min == DAY_MIN {
        return Err(format!("`{line}` is never open: the end equals the start"));
    }
    let mut days = [false; 7];
    for part in days_text.split(',').map(str::trim) {
        if part.eq_ignore_ascii_case("daily") {
            days = [true; 7];
            continue;
        }
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (parse_day(first).ok_or_else(expected)?, parse_day(last).ok_or_else(expected)?);
        let mut day = first;
        loop {
            days[day] = true;
            if day == last {
                break;
            }
            day = (day + 1) % 7;
        }
    }
    Ok(Span { days, from_min, to_min })
}

fn parse_day(text: &str) -> Option<usize> {
    text.trim().parse::<Weekday>().ok().map(|day| day.num_days_from_monday() as usize)
}

/// `HH:MM`, up to `24:00`.
fn parse_minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.trim().split_once(':')?;
    let two_digits = |part: &str| (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse());
    let (hour, minute): (u16, u16) = (two_digits(hour)?.ok()?, two_digits(minute)?.ok()?);
    let total = hour * 60 + minute;
    (minute < 60 && total <= DAY_MIN).then_some(total)
}

fn parse_closed(line: &str) -> Result<(NaiveDate, NaiveDate), String> {
    let expected = || format!("`{line}` is no closed day: write `2026-10-01` or `2026-10-01..2026-10-07`");
    let (first, last) = line.split_once("..").unwrap_or((line, line));
    let day = |text: &str| text.trim().parse::<NaiveDate>().map_err(|_| expected());
    let (first, last) = (day(first)?, day(last)?);
    if last < first {
        return Err(format!("`{line}` ends before it begins"));
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        let local = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").expect("a test's time");
        let utc = chrono_tz::Asia::Shanghai.from_local_datetime(&local).single().expect("one instant");
        Timestamp::from_millis(utc.timestamp_millis() as u64)
    }

    fn lines(text: &[&str]) -> Vec<String> {
        text.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn open_by_weekday_hour_and_closed_day() {
        let closed = ["2026-10-01..2026-10-07", "2026-11-24"];
        let hours =
            Hours::parse(&lines(&["Mon-Fri 08:00-18:00", "Sat,Sun 22:00-02:00"]), &lines(&closed)).expect("good");
        let check = |time: &str, expect: bool| {
            assert_eq!(hours.is_open(at(time), chrono_tz::Asia::Shanghai), expect, "{time}");
        };
        check("2026-11-23 07:59", false); // a Monday
        check("2026-11-23 08:00", true);
        check("2026-11-23 17:59", true);
        check("2026-11-23 18:00", false);
        check("2026-11-24 09:00", false);
        check("2026-10-01 09:00", false);
        check("2026-10-08 09:00", true);
        check("2026-11-21 21:59", false); // a Saturday
        check("2026-11-21 23:00", true);
        check("2026-11-22 01:59", true);
        check("2026-11-22 02:00", false);
        check("2026-11-23 01:00", true); // Sunday's span, on Monday
        check("2026-11-24 01:00", false); // Monday has none over midnight, and the day is closed
    }

    #[test]
    fn a_zone_with_summer_time_shifts() {
        let hours = Hours::parse(&lines(&["Daily 08:00-09:00"]), &[]).expect("good");
        let open_at = |utc_ms: u64| hours.is_open(Timestamp::from_millis(utc_ms), chrono_tz::Europe::Berlin);
        assert!(open_at(1_772_262_000_000), "2026-02-28 07:00 UTC is 08:00 in Berlin");
        assert!(open_at(1_782_799_200_000), "2026-06-30 06:00 UTC is 08:00 in Berlin");
        assert!(!open_at(1_782_802_800_000), "07:00 UTC in June is 09:00");
    }

    #[test]
    fn a_day_is_from_midnight_to_midnight_of_its_zone() {
        const HOUR_MS: u64 = 3_600_000;
        let check = |zone: Tz, utc: &str, from: &str, hours: u64| {
            let ms = |text: &str| {
                let utc = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").expect("a test's time").and_utc();
                utc.timestamp_millis() as u64
            };
            let expect = (ms(from), ms(from) + hours * HOUR_MS);
            assert_eq!(day_of(Timestamp::from_millis(ms(utc)), zone), expect, "{zone} {utc}");
        };
        check(chrono_tz::Asia::Shanghai, "2026-11-22 15:59", "2026-11-21 16:00", 24);
        check(chrono_tz::Asia::Shanghai, "2026-11-22 16:00", "2026-11-22 16:00", 24);
        check(chrono_tz::Asia::Kathmandu, "2026-11-22 18:15", "2026-11-22 18:15", 24);
        check(chrono_tz::Europe::Berlin, "2026-03-29 12:00", "2026-03-28 23:00", 23);
        check(chrono_tz::Europe::Berlin, "2026-10-25 12:00", "2026-10-24 22:00", 25);
        check(chrono_tz::Africa::Cairo, "2026-04-24 12:00", "2026-04-23 22:00", 23); // clocks skip its midnight
    }

    #[test]
    fn the_whole_day_and_ranges_over_sunday() {
        let hours = Hours::parse(&lines(&["Sat-Mon 00:00-24:00"]), &[]).expect("good");
        let open_on = |time: &str| hours.is_open(at(time), chrono_tz::Asia::Shanghai);
        assert!(open_on("2026-11-21 00:00") && open_on("2026-11-22 23:59") && open_on("2026-11-23 12:00"));
        assert!(!open_on("2026-11-24 00:00") && !open_on("2026-11-20 23:59"));
    }

    #[test]
    fn a_bad_line_is_named() {
        for bad in ["", "Mon", "Mon 8:00-18:00", "Mon 08:00", "Mon 08:60-09:00", "Noday 08:00-09:00", "Mon 25:00-26:00"]
        {
            let error = Hours::parse(&lines(&[bad]), &[]).expect_err(bad);
            assert!(error.contains(bad), "{error}");
        }
        for bad in ["2026-13-01", "yesterday", "2026-10-07..2026-10-01"] {
            assert!(Hours::parse(&[], &lines(&[bad])).expect_err(bad).contains(bad));
        }
    }
}
