//! Numbers for people: three significant digits, thousands apart, and a unit that fits.

/// What stands where there is no figure.
pub(super) const NOTHING: &str = "–";

/// Three significant digits; `–` for what is no number.
pub(super) fn digits(value: f64) -> String {
    if !value.is_finite() {
        return String::from(NOTHING);
    }
    if value == 0.0 {
        return String::from("0");
    }
    let exponent = value.abs().log10().floor() as i32;
    // 99.96 is 100, not 100.0: rounding may add a digit in front.
    let rounded = round_to(value, exponent);
    let exponent = if rounded == 0.0 { exponent } else { rounded.abs().log10().floor() as i32 };
    let decimals = usize::try_from((2 - exponent).clamp(0, 6)).unwrap_or(0);
    let text = format!("{rounded:.decimals$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    format!("{}{rest}", thousands(whole))
}

fn round_to(value: f64, exponent: i32) -> f64 {
    let unit = 10_f64.powi(exponent - 2);
    (value / unit).round() * unit
}

/// A whole number, all of its digits.
pub(super) fn count(value: u64) -> String {
    thousands(&value.to_string())
}

fn thousands(whole: &str) -> String {
    let (sign, digits) = whole.split_at(usize::from(whole.starts_with('-')));
    let mut out = String::from(sign);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Without the zeros that say nothing: `10`, not `10.0`. For what was given, not measured.
pub(super) fn given(value: f64) -> String {
    let text = digits(value);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A value in the greatest unit that it reaches.
fn scaled(value: f64, units: &[(f64, &str)], number: fn(f64) -> String) -> String {
    if !value.is_finite() {
        return String::from(NOTHING);
    }
    // What rounds up to a unit is written in it: 1.00 s, not 1,000 ms.
    let reached = |size: f64| value.abs() * 1.0005 >= size;
    let unit = units.iter().find(|(size, _)| reached(*size)).or(units.last());
    unit.map_or_else(|| number(value), |(size, name)| format!("{} {name}", number(value / size)))
}

const BYTES: [(f64, &str); 4] = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")];
const TIMES: [(f64, &str); 5] = [(86_400e3, "days"), (3_600e3, "h"), (60e3, "min"), (1e3, "s"), (1.0, "ms")];
const SMALL_TIMES: [(f64, &str); 4] = [(60e3, "min"), (1e3, "s"), (1.0, "ms"), (1e-3, "µs")];

/// Bytes, in powers of a thousand.
pub(super) fn bytes(value: f64) -> String {
    scaled(value, &BYTES, digits)
}

/// A measured time, from milliseconds.
pub(super) fn time(milliseconds: f64) -> String {
    scaled(milliseconds, &SMALL_TIMES, digits)
}

/// An interval, from milliseconds: `100 ms`, `1.5 min`.
pub(super) fn interval(milliseconds: f64) -> String {
    scaled(milliseconds, &TIMES, given)
}

/// CPU time, from microseconds.
pub(super) fn cpu(microseconds: f64) -> String {
    scaled(microseconds / 1e3, &SMALL_TIMES, digits)
}

/// A share in percent: `0 %` is none at all, and whatever there is shows.
pub(super) fn share(part: u64, whole: u64) -> String {
    match (part, whole) {
        (_, 0) => String::from(NOTHING),
        (0, _) => String::from("0 %"),
        (part, whole) if part == whole => String::from("100 %"),
        (part, whole) => match part as f64 / whole as f64 * 100.0 {
            percent if percent < 0.1 => String::from("<0.1 %"),
            percent if percent < 10.0 => format!("{percent:.1} %"),
            percent => format!("{:.0} %", percent.min(99.0)),
        },
    }
}

/// A factor, in the digits that it deserves: `1.3`, `12`, `340`.
pub(super) fn factor(ratio: f64) -> String {
    match ratio {
        _ if !ratio.is_finite() => String::from(NOTHING),
        ratio if ratio < 9.95 => format!("{ratio:.1}"),
        ratio if ratio < 99.5 => format!("{ratio:.0}"),
        // Two digits are enough of what is measured.
        ratio => given(
            (ratio / 10_f64.powf(ratio.log10().floor() - 1.0)).round()
                * 10_f64.powf(ratio.log10().floor() - 1.0),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_whatever_the_size() {
        let cases = [
            (0.0, "0"),
            (0.001_234, "0.00123"),
            (0.5, "0.500"),
            (1.0, "1.00"),
            (12.345, "12.3"),
            (99.96, "100"),
            (999.6, "1,000"),
            (1_234.0, "1,230"),
            (-12_345.0, "-12,300"),
            (1_234_567.0, "1,230,000"),
            (f64::NAN, "–"),
            (f64::INFINITY, "–"),
        ];
        for (value, shown) in cases {
            assert_eq!(digits(value), shown, "{value}");
        }
    }

    #[test]
    fn units_fit() {
        assert_eq!(bytes(0.0), "0 B");
        assert_eq!(bytes(999.0), "999 B");
        assert_eq!(bytes(999.9), "1.00 kB");
        assert_eq!(bytes(1_234_567.0), "1.23 MB");
        assert_eq!(time(0.25), "250 µs");
        assert_eq!(time(1.0), "1.00 ms");
        assert_eq!(time(61_000.0), "1.02 min");
        assert_eq!(interval(100.0), "100 ms");
        assert_eq!(interval(1_000.0), "1 s");
        assert_eq!(interval(2.5), "2.5 ms");
        assert_eq!(interval(5_400_000.0), "1.5 h");
        assert_eq!(cpu(8.4), "8.40 µs");
        assert_eq!(cpu(1_500.0), "1.50 ms");
        assert_eq!(time(f64::NAN), "–");
    }

    #[test]
    fn shares_hide_nothing() {
        let cases = [
            (0, 0, "–"),
            (0, 9, "0 %"),
            (1, 10_000, "<0.1 %"),
            (1, 30, "3.3 %"),
            (999, 1_000, "99 %"),
            (5, 5, "100 %"),
        ];
        for (part, whole, shown) in cases {
            assert_eq!(share(part, whole), shown);
        }
    }

    #[test]
    fn factors_and_counts() {
        assert_eq!(factor(1.26), "1.3");
        assert_eq!(factor(9.96), "10");
        assert_eq!(factor(12.3), "12");
        assert_eq!(factor(346.0), "350");
        assert_eq!(factor(1_949.0), "1,900");
        assert_eq!(count(1_234_567), "1,234,567");
    }
}
