//! How often something took how long, in little memory however often it is asked.

use std::fmt;
use std::time::Duration;

/// Counts durations in buckets that are an eighth of a power of two wide, so that what is told is at most 12.5 % off.
///
/// ```text
///   exponent │ 3 bits of mantissa      8 ns … 16 ns in steps of 1 ns, 16 ns … 32 ns in steps of 2 ns, and so on
/// ```
pub struct Histogram {
    counts: [u64; BUCKETS],
    total: u64,
}

const STEP_BITS: u32 = 3;
const STEPS: usize = 1 << STEP_BITS;
/// Up to all that 64 bits of nanoseconds can tell, which are 584 years.
const BUCKETS: usize = (64 - STEP_BITS as usize + 1) * STEPS;
/// The widest bar of the picture.
const BAR_LETTERS: u64 = 50;

impl Histogram {
    pub fn new() -> Histogram {
        Histogram {
            counts: [0; BUCKETS],
            total: 0,
        }
    }

    pub fn record(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
    }

    /// The time that this part of all took at most: the end of the bucket in which the part is reached. Zero if nothing was
    /// recorded.
    pub fn quantile(&self, part: f64) -> Duration {
        let rank = (self.total as f64 * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(end(at));
            }
        }
        Duration::ZERO
    }
}

/// A line for each power of two, from the first to the last that occurred.
impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<u64> = self.counts.chunks(STEPS).map(|row| row.iter().sum()).collect();
        let most = rows.iter().copied().max().unwrap_or(0);
        let Some(first) = rows.iter().position(|count| *count > 0) else {
            return Ok(());
        };
        let last = rows.iter().rposition(|count| *count > 0).unwrap_or(first);
        writeln!(f, "roundtrips")?;
        for (number, count) in rows.iter().enumerate().take(last + 1).skip(first) {
            let until = Duration::from_nanos(end(number * STEPS + STEPS - 1));
            // Whatever occurred is to be seen.
            let length = (u128::from(*count) * u128::from(BAR_LETTERS)).div_ceil(u128::from(most)) as usize;
            let bar = "#".repeat(length);
            let line = format!(
                "  up to {:>12.3} [us]: {count:>10} {bar}",
                until.as_secs_f64() * 1e6
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < STEPS as u64 {
        return nanos as usize;
    }
    let exponent = nanos.ilog2() - STEP_BITS;
    let step = (nanos >> exponent) as usize - STEPS;
    (exponent as usize + 1) * STEPS + step
}

/// The last nanosecond of a bucket.
fn end(bucket: usize) -> u64 {
    let (row, step) = (bucket / STEPS, bucket % STEPS);
    if row == 0 {
        return step as u64;
    }
    let next = (STEPS + step + 1) as u128;
    u64::try_from((next << (row - 1)) - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_in_the_bucket_that_ends_after_it() {
        let mut times: Vec<u64> = (0..2000).collect();
        times.extend((0..64).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 1]));
        times.push(u64::MAX);
        for time in times {
            let found = bucket(time);
            assert!(end(found) >= time, "{time}");
            assert!(found == 0 || end(found - 1) < time, "{time}");
            assert!(end(found) - time <= time / 8, "{time}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_at_most_an_eighth_off() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantile(0.5), Duration::ZERO);
        assert_eq!(histogram.to_string(), "");
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        for (part, micros) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0)] {
            let found = histogram.quantile(part).as_secs_f64() * 1e6;
            assert!((micros..=micros * 1.126).contains(&found), "{part}: {found}");
        }
        let picture = histogram.to_string();
        assert_eq!(picture.lines().count(), 12, "{picture}");
    }
}
