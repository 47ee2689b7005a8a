//! Values as Go's standard library reads them, so that old environment files keep their meaning.
//!
//! An error is a half sentence that fits after "NAME: ": what is wrong, and what would be right.

use std::time::Duration;

/// Go's booleans.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false; write true or false")),
    }
}

/// A whole number within bounds.
pub(super) fn count(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let wanted = || {
        if max == u64::MAX {
            "a whole number".to_owned()
        } else {
            format!("a whole number from {min} to {max}")
        }
    };
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{text:?} is not a number; write {}", wanted()));
    }
    match text.parse() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        Ok(_) | Err(_) => Err(format!("{text} is out of range; write {}", wanted())),
    }
}

/// Go's durations: `150ms`, `1m30s`, `1.5h`, `0`. Exact to the nanosecond, never negative.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = |what: &str| Err(format!("{text:?} {what}; write for example 150ms, 30s or 1m30s"));
    if text.starts_with('-') {
        return wrong("is negative");
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return wrong("is not a duration");
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let (whole, after_whole) = digits(rest);
        let (fraction, after_number) = match after_whole.strip_prefix('.') {
            Some(after_dot) => digits(after_dot),
            None => ("", after_whole),
        };
        if whole.is_empty() && fraction.is_empty() {
            return wrong("is not a duration");
        }
        let unit_end = after_number
            .find(|symbol: char| symbol == '.' || symbol.is_ascii_digit())
            .unwrap_or(after_number.len());
        let (unit, after_unit) = after_number.split_at(unit_end);
        let unit_nanos: u128 = match unit {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60 * 1_000_000_000,
            "h" => 3600 * 1_000_000_000,
            "" => return wrong("has no unit"),
            _ => return wrong("has an unknown unit (h, m, s, ms, us and ns are known)"),
        };
        // 18 digits of either part are more than any duration holds and cannot overflow the product.
        if whole.len() > 18 {
            return wrong("is too long");
        }
        let fraction = &fraction[..fraction.len().min(18)];
        let scale = 10u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
        nanos += number(whole) * unit_nanos + number(fraction) * unit_nanos / scale;
        rest = after_unit;
    }
    match u64::try_from(nanos) {
        Ok(nanos) => Ok(Duration::from_nanos(nanos)),
        Err(_) => wrong("is too long"),
    }
}

/// A duration within bounds.
pub(super) fn bounded_duration(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let parsed = duration(text)?;
    if (min..=max).contains(&parsed) {
        return Ok(parsed);
    }
    Err(format!(
        "{text} is out of range; write a duration from {} to {}",
        show_duration(min),
        show_duration(max)
    ))
}

/// A duration in the form that [`duration`] reads.
pub(super) fn show_duration(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    match (seconds, millis) {
        (0, 0) => "0".to_owned(),
        (0, _) => format!("{millis}ms"),
        (_, 0) if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        (_, 0) if seconds % 60 == 0 => format!("{}m", seconds / 60),
        (_, 0) => format!("{seconds}s"),
        (_, _) => format!("{}ms", duration.as_millis()),
    }
}

/// Texts separated by commas; blanks around them and empty ones are dropped.
pub(super) fn list(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// One or more dot-separated tokens that need no escaping in a subject.
pub(super) fn subject_prefix(text: &str) -> Result<String, String> {
    if text.len() <= NAME_LEN_MAX && text.split('.').all(is_token) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} is no subject prefix; write at most {NAME_LEN_MAX} letters, digits, - or _, in tokens separated by dots"
    ))
}

/// The name of a stream, a consumer or a bucket.
pub(super) fn object_name(text: &str) -> Result<String, String> {
    if text.len() <= NAME_LEN_MAX && is_token(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} is no name for a NATS object; write at most {NAME_LEN_MAX} letters, digits, - or _"
    ))
}

/// Text that can stand in a log line.
pub(super) fn plain_text(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("has a control character or a line break; write it on one line".to_owned());
    }
    Ok(text.to_owned())
}

/// An address to listen on. Host names are refused: which of their addresses would it be?
pub(super) fn ip_address(text: &str) -> Result<std::net::IpAddr, String> {
    if text == "localhost" {
        return Ok(std::net::Ipv4Addr::LOCALHOST.into());
    }
    text.parse()
        .map_err(|_| format!("{text:?} is no IP address; write 127.0.0.1, 0.0.0.0 or ::"))
}

/// One of these words, in any case.
pub(super) fn choice(text: &str, words: &'static [&'static str]) -> Result<&'static str, String> {
    words
        .iter()
        .find(|word| word.eq_ignore_ascii_case(text))
        .copied()
        .ok_or_else(|| format!("{text:?} is unknown; write one of: {}", words.join(", ")))
}

/// Longest name: the server allows 255 bytes, and a file system under it the same for longer paths.
const NAME_LEN_MAX: usize = 128;

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Splits off leading decimal digits.
fn digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|symbol: char| !symbol.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

/// Digits as a number; none is zero.
fn number(digits: &str) -> u128 {
    digits
        .bytes()
        .fold(0, |sum, digit| sum * 10 + u128::from(digit - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_parse_as_in_go() {
        for (text, nanos) in [
            ("0", 0),
            ("0s", 0),
            ("150ms", 150_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("1h0m0.5s", 3_600_500_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("+2m", 120_000_000_000),
            ("3us", 3_000),
            ("3\u{b5}s", 3_000),
            ("3\u{3bc}s", 3_000),
            ("7ns", 7),
            ("0.000000001s", 1),
            ("1s1s", 2_000_000_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
        for text in [
            "",
            "+",
            "10",
            "1.5",
            "s",
            ".s",
            "1d",
            "1 s",
            "-1s",
            "1s ",
            "9999999999999999999s",
            "600000h0",
            "999999999h",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(duration("10").is_err_and(|error| error.contains("no unit")));
    }

    #[test]
    fn durations_are_shown_as_they_are_read() {
        for text in ["0", "150ms", "1500ms", "30s", "2m", "90s", "24h"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
    }

    #[test]
    fn switches_parse_as_in_go() {
        for text in ["1", "t", "T", "true", "TRUE", "True"] {
            assert_eq!(switch(text), Ok(true), "{text}");
        }
        for text in ["0", "f", "F", "false", "FALSE", "False"] {
            assert_eq!(switch(text), Ok(false), "{text}");
        }
        for text in ["yes", "no", "on", "tRuE", "", "2"] {
            assert!(switch(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_are_bounded() {
        assert_eq!(count("64", 1, 64), Ok(64));
        for text in ["0", "65", "-1", "+1", "", "1e3", "99999999999999999999999"] {
            assert!(count(text, 1, 64).is_err(), "{text}");
        }
    }

    #[test]
    fn names_hold_what_subjects_and_files_take() {
        for text in ["nalpaca", "a.b-c_D.9"] {
            assert!(subject_prefix(text).is_ok(), "{text}");
        }
        for text in ["", ".", "a.", ".a", "a..b", "a b", "a.*", "a.>", "$SYS", "\u{e9}"] {
            assert!(subject_prefix(text).is_err(), "{text}");
        }
        assert!(object_name("a.b").is_err());
        assert!(object_name("nalpaca-orders").is_ok());
    }
}
