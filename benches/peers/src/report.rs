//! What the race came to, as a table for people and as JSON for programs.

use std::fmt::Write;

use crate::contestants::{Contestant, Transport};
use crate::machine::Machine;
use crate::race::{Row, Run};

/// The table. Ratios are medians of per-round ratios: neighbours in time share the machine's mood.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut line = |cells: [&str; 9]| {
        let [work, library, rate, span, megabytes, push, pull, speed, cpu] = cells;
        let row = format!(
            "{work:<13} {library:<9} {rate:>12}  {span:<27} {megabytes:>8} {push:>9} {pull:>9} {speed:>17} {cpu:>11}"
        );
        text.push_str(row.trim_end());
        text.push('\n');
    };
    line([
        "",
        "",
        "messages/s",
        "",
        "",
        "CPU ns",
        "a message",
        "messages/s",
        "CPU",
    ]);
    line([
        "work",
        "library",
        "median",
        "(min .. max)",
        "MB/s",
        "PUSH",
        "PULL",
        "x libzmq, x raw",
        "x libzmq",
    ]);
    for row in rows {
        for (contestant, runs) in &row.lanes {
            let rates = sorted(runs.iter().map(Run::rate));
            let rate = median(&rates);
            let [pull, push] = [0, 1].map(|side| median(&sorted(runs.iter().map(|run| run.cpu_ns()[side]))));
            // One process has one CPU time.
            let (push, pull) = match row.work.transport {
                Transport::Inproc => ("both:".into(), format!("{pull:.1}")),
                Transport::Tcp | Transport::Ipc => (format!("{push:.1}"), format!("{pull:.1}")),
            };
            let ratio = |ratio: Option<f64>| ratio.map_or("-".into(), |ratio| format!("{ratio:.2}"));
            line([
                &row.work.to_string(),
                &contestant.to_string(),
                &grouped(rate),
                &format!("({} .. {})", grouped(rates[0]), grouped(rates[rates.len() - 1])),
                &format!("{:.1}", rate * row.work.size as f64 / 1e6),
                &push,
                &pull,
                &format!(
                    "{:>8} {:>8}",
                    ratio(row.ratio(*contestant, Contestant::Libzmq, Run::rate)),
                    ratio(row.ratio(*contestant, Contestant::Raw, Run::rate)),
                ),
                &ratio(row.ratio(*contestant, Contestant::Libzmq, |run| run.cpu_ns().iter().sum())),
            ]);
        }
    }
    text
}

/// One object with every round of everybody.
pub fn json(machine: &Machine, rows: &[Row]) -> String {
    // Names are plain words and numbers are finite, so nothing needs escaping but the machine's texts.
    let mut text = String::from("{\"machine\":{");
    for (index, (name, value)) in machine.facts.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(text, "{comma}{}:{}", quoted(name), quoted(value));
    }
    text.push_str("},\"rows\":[");
    let mut comma = "";
    for row in rows {
        for (contestant, runs) in &row.lanes {
            let list = |value: fn(&Run) -> f64| {
                runs.iter()
                    .map(|run| format!("{:.1}", value(run)))
                    .collect::<Vec<_>>()
                    .join(",")
            };
            let ratio = row.ratio(*contestant, Contestant::Libzmq, Run::rate);
            let _ = write!(
                text,
                "{comma}{{\"transport\":\"{}\",\"size\":{},\"library\":\"{contestant}\",\"messages_per_second\":[{}],\
                 \"cpu_ns_per_message_pull\":[{}],\"cpu_ns_per_message_push\":[{}],\"ratio_to_libzmq\":{}}}",
                row.work.transport,
                row.work.size,
                list(Run::rate),
                list(|run| run.cpu_ns()[0]),
                list(|run| run.cpu_ns()[1]),
                ratio.map_or("null".into(), |ratio| format!("{ratio:.3}")),
            );
            comma = ",";
        }
    }
    text.push_str("]}");
    text
}

impl Row {
    /// Median over the rounds of `one`'s value against `other`'s in the same round.
    fn ratio(&self, one: Contestant, other: Contestant, value: impl Fn(&Run) -> f64) -> Option<f64> {
        let runs = |wanted| {
            self.lanes
                .iter()
                .find(|(contestant, _)| *contestant == wanted)
                .map(|(_, runs)| runs)
        };
        let (one, other) = (runs(one)?, runs(other)?);
        Some(median(&sorted(
            one.iter()
                .zip(other)
                .map(|(one, other)| value(one) / value(other)),
        )))
    }
}

pub fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Of sorted values, at least one.
pub fn median(values: &[f64]) -> f64 {
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        (values[middle - 1] + values[middle]) / 2.0
    }
}

/// A whole number with spaces between groups of three digits.
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            character if character.is_control() => out.push(' '),
            character => out.push(character),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::race::Work;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [
            (0.0, "0"),
            (999.4, "999"),
            (1000.0, "1 000"),
            (12_345_678.0, "12 345 678"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(median(&[1.0, 2.0, 9.0]), 2.0);
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), 3.0);
    }

    /// A slow machine in one round slows both, so the ratio of that round is as good as any.
    #[test]
    fn ratios_are_taken_round_by_round() {
        let run = |rate: u64| Run {
            count: rate,
            wall: Duration::from_secs(1),
            cpu: [Duration::from_secs(1); 2],
        };
        let row = Row {
            work: Work {
                transport: Transport::Tcp,
                size: 8,
            },
            lanes: vec![
                (Contestant::Zerowire, vec![run(400), run(200), run(90)]),
                (Contestant::Libzmq, vec![run(100), run(50), run(30)]),
            ],
        };
        assert_eq!(
            row.ratio(Contestant::Zerowire, Contestant::Libzmq, Run::rate),
            Some(4.0)
        );
        assert_eq!(row.ratio(Contestant::Zerowire, Contestant::Raw, Run::rate), None);
    }

    #[test]
    fn quotes_in_json_are_escaped() {
        assert_eq!(quoted("a \"b\" \\"), "\"a \\\"b\\\" \\\\\"");
    }
}
