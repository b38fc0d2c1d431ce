//! Durations as they are written on the command line: `100ms`, `2s`, `1.5m`.

use std::time::Duration;

/// Reads a number with a unit: us, ms, s, m or h.
pub fn parse(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (_, seconds) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(|| match unit {
            "" => "a unit is missing, as in 100ms, 2s or 1m".to_owned(),
            _ => format!("`{unit}` is none of the units us, ms, s, m and h"),
        })?;
    let number: f64 = number
        .parse()
        .map_err(|_| "no number in front of the unit, as in 100ms, 2s or 1m".to_owned())?;
    // Clocks can be told to wait so long, and nobody is.
    match Duration::try_from_secs_f64(number * seconds) {
        Ok(duration) if duration <= YEAR => Ok(duration),
        _ => Err("longer than a year".to_owned()),
    }
}

const YEAR: Duration = Duration::from_secs(365 * 86_400);

const UNITS: &[(&str, f64)] = &[("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_with_a_unit_is_a_duration() {
        for (text, duration) in [
            ("100ms", Duration::from_millis(100)),
            ("2s", Duration::from_secs(2)),
            ("1m", Duration::from_secs(60)),
            ("1.5h", Duration::from_secs(5400)),
            ("0s", Duration::ZERO),
            ("250us", Duration::from_micros(250)),
        ] {
            assert_eq!(parse(text), Ok(duration), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "5",
            "ms",
            "-1s",
            "1.2.3s",
            "1 s",
            "1d",
            "8761h",
            "99999999999999999999h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
