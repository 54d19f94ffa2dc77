//! Times, ages and sizes, as people write and read them.

use std::time::Duration;

use chrono::{DateTime, Local, NaiveDate, TimeDelta, Utc};

/// A moment: `2026-01-31`, `2026-01-31T12:00:00Z`, or how long ago, such as `90d` or `12h`.
pub fn parse_time(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    if let Ok(date) = text.parse::<NaiveDate>() {
        let midnight = date.and_time(chrono::NaiveTime::MIN).and_local_timezone(Local);
        return midnight.earliest().map(|time| time.to_utc()).ok_or_else(|| "there is no such day here".to_owned());
    }
    let wrong = || "write a date (2026-01-31), a time (2026-01-31T12:00:00Z), or how long ago (90d, 12h)".to_owned();
    let ago = humantime::parse_duration(text).map_err(|_| wrong())?;
    TimeDelta::from_std(ago).ok().and_then(|ago| Utc::now().checked_sub_signed(ago)).ok_or_else(wrong)
}

/// A size in bytes: `20GB`, `512MiB`, or a number.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let size: bytesize::ByteSize = text.parse().map_err(|_| "write a size, such as 20GB or 512MiB".to_owned())?;
    Ok(size.as_u64())
}

pub fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

pub fn count(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// Such as "3 sessions".
pub fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" })
}

/// How long ago, in the largest unit that fits.
pub fn age(since: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let seconds = (now - since).num_seconds().max(0);
    let (number, unit) = match seconds {
        ..60 => (seconds, "s"),
        60..3600 => (seconds / 60, "min"),
        3600..86_400 => (seconds / 3600, "h"),
        86_400..31_557_600 => (seconds / 86_400, "d"),
        _ => (seconds / 31_557_600, "y"),
    };
    format!("{number} {unit}")
}

/// A time in the zone of whoever reads it.
pub fn local(time: DateTime<Utc>) -> String {
    time.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// How often a command that waits looks whether it should stop.
pub const GLANCE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_the_largest_unit() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1000);
        for (ago, shown) in [
            (TimeDelta::seconds(-5), "0 s"),
            (TimeDelta::seconds(59), "59 s"),
            (TimeDelta::minutes(59), "59 min"),
            (TimeDelta::hours(23), "23 h"),
            (TimeDelta::days(365), "365 d"),
            (TimeDelta::days(800), "2 y"),
        ] {
            assert_eq!(age(now - ago, now), shown);
        }
    }

    #[test]
    fn times_and_sizes_are_read() {
        assert_eq!(
            parse_time("2026-01-31T12:00:00+01:00").map(|time| time.to_rfc3339()).as_deref(),
            Ok("2026-01-31T11:00:00+00:00")
        );
        assert!(parse_time("2026-01-31").is_ok());
        let ago = parse_time("90d").map(|time| Utc::now() - time);
        assert!(ago.is_ok_and(|ago| ago.num_days() == 90));
        assert!(["", "soon", "2026-13-01", "9999999999999y"].iter().all(|text| parse_time(text).is_err()));
        assert_eq!((parse_size("20GB"), parse_size("1KiB"), parse_size("7")), (Ok(20_000_000_000), Ok(1024), Ok(7)));
        assert!(parse_size("much").is_err());
    }
}
