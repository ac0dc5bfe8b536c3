//! RFC 3339 timestamps: UTC, with milliseconds, always 24 characters.

use dovetail_model::UnixMillis;

/// 9999-12-31T23:59:59.999Z, the last time that RFC 3339 can say. Later ones are shown as this.
pub const LAST: UnixMillis = 253_402_300_799_999;

const MILLIS_PER_DAY: u64 = 86_400_000;
/// Days from 0000-03-01 to 1970-01-01.
const DAYS_TO_UNIX_EPOCH: u64 = 719_468;
const DAYS_PER_400_YEARS: u64 = 146_097;

/// Appends `at` as `2026-11-22T14:42:00.123Z`.
pub fn write(out: &mut Vec<u8>, at: UnixMillis) {
    let at = at.min(LAST);
    let (days, millis) = (at / MILLIS_PER_DAY, at % MILLIS_PER_DAY);
    let (year, month, day) = date_of(days);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    digits(&mut text[0..4], year);
    digits(&mut text[5..7], month);
    digits(&mut text[8..10], day);
    digits(&mut text[11..13], millis / 3_600_000);
    digits(&mut text[14..16], millis / 60_000 % 60);
    digits(&mut text[17..19], millis / 1_000 % 60);
    digits(&mut text[20..23], millis % 1_000);
    out.extend_from_slice(&text);
}

/// Reads what [`write()`] wrote. `None` for every other form of RFC 3339 and for times before 1970.
pub fn parse(text: &str) -> Option<UnixMillis> {
    let text = text.as_bytes();
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (23, b'Z')];
    if text.len() != 24 || marks.iter().any(|&(at, mark)| text[at] != mark) {
        return None;
    }
    let (year, month, day) = (number(&text[0..4])?, number(&text[5..7])?, number(&text[8..10])?);
    let (hour, minute) = (number(&text[11..13])?, number(&text[14..16])?);
    let (second, milli) = (number(&text[17..19])?, number(&text[20..23])?);
    if year < 1970 || !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_of(year, month, day);
    // A day that its month does not have comes back as another date.
    if day == 0 || date_of(days) != (year, month, day) {
        return None;
    }
    Some(days * MILLIS_PER_DAY + ((hour * 60 + minute) * 60 + second) * 1_000 + milli)
}

/// The civil date of a day counted from 1970-01-01. The year is taken to begin in March, so that
/// the leap day is its last.
fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_TO_UNIX_EPOCH;
    let (era, day_of_era) = (days / DAYS_PER_400_YEARS, days % DAYS_PER_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn days_of(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let march_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * march_month + 2) / 5 + day - 1 + u64::from(day == 0);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * DAYS_PER_400_YEARS + day_of_era).saturating_sub(DAYS_TO_UNIX_EPOCH)
}

fn digits(slot: &mut [u8], mut number: u64) {
    for digit in slot.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn number(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0, |sum, &b| b.is_ascii_digit().then(|| sum * 10 + u64::from(b - b'0')))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test failing")]
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn shown(at: UnixMillis) -> String {
        let mut out = Vec::new();
        write(&mut out, at);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_times() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_358_520_123, "2026-11-22T14:42:00.123Z"),
            (LAST, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(shown(at), text);
            assert_eq!(parse(text), Some(at));
        }
        assert_eq!(shown(u64::MAX), shown(LAST));
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "2026-02-29T00:00:00.000Z",
            "2026-00-01T00:00:00.000Z",
            "2026-01-00T00:00:00.000Z",
            "2026-13-01T00:00:00.000Z",
            "2026-01-01T24:00:00.000Z",
            "2026-01-01 00:00:00.000Z",
            "2026-01-01T00:00:00.000+",
            "1969-12-31T23:59:59.999Z",
            "2026-01-01T00:00:0-.000Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_time_round_trips_and_is_the_right_one(at in 0..=LAST) {
            let text = shown(at);
            prop_assert_eq!(parse(&text), Some(at));
            // The other implementation at hand speaks of the same second.
            let http = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(at));
            prop_assert_eq!(&http[5..7], &text[8..10]);
            prop_assert_eq!(&http[12..16], &text[0..4]);
            prop_assert_eq!(&http[17..25], &text[11..19]);
        }
    }
}
