//! Counting what many requests came to: a progress bar at a terminal, each failure as it comes, and a summary that decides
//! the exit code.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::http::{RequestError, Sent};

/// Failures printed one by one; beyond it they are only counted.
const PRINTED: u64 = 20;

pub struct Tally {
    bar: ProgressBar,
    started: Instant,
    failed: u64,
    bytes: u64,
    retries: u64,
    /// How long each success took, its retries included.
    took: Vec<Duration>,
}

impl Tally {
    /// Without a total it counts up.
    pub fn new(doing: &'static str, total: Option<u64>) -> Self {
        let bar = match total {
            Some(total) => ProgressBar::new(total).with_style(
                ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len} {per_sec} eta {eta}")
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            ),
            None => ProgressBar::new_spinner().with_style(
                ProgressStyle::with_template("{spinner} {msg} {pos} {per_sec}")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner()),
            ),
        };
        let started = Instant::now();
        Self { bar: bar.with_message(doing), started, failed: 0, bytes: 0, retries: 0, took: Vec::new() }
    }

    pub fn count(&mut self, took: Duration, outcome: Result<Sent, RequestError>) {
        self.bar.inc(1);
        match outcome {
            Ok(Sent { bytes, retries }) => {
                self.bytes += bytes;
                self.retries += u64::from(retries);
                self.took.push(took);
            }
            Err(error) => {
                self.failed += 1;
                if self.failed <= PRINTED {
                    self.bar.suspend(|| eprintln!("imagecrud: {error}"));
                }
            }
        }
    }

    pub fn failed(&self) -> u64 {
        self.failed
    }

    pub fn done(&self) -> usize {
        self.took.len()
    }

    /// Prints "uploaded 10 pictures" and how it went, or fails with how many did not.
    pub fn finish(mut self, past: &str) -> anyhow::Result<()> {
        self.bar.finish_and_clear();
        let noun = if self.done() == 1 { "picture" } else { "pictures" };
        let all = format!("{past} {} {noun}", self.done());
        self.took.sort_unstable();
        let summary = self.summary(self.started.elapsed());
        if self.failed == 0 {
            println!("{all}");
            if self.done() > 0 {
                println!("{summary}");
            }
            Ok(())
        } else {
            println!("{summary}");
            Err(anyhow::anyhow!("{all}, {} failed", self.failed))
        }
    }

    /// `took` is sorted by now.
    fn summary(&self, elapsed: Duration) -> String {
        let seconds = elapsed.as_secs_f64().max(0.001);
        let mut text = format!("{:.1} s, {:.1}/s", elapsed.as_secs_f64(), self.done() as f64 / seconds);
        if self.bytes > 0 {
            let megabytes = self.bytes as f64 / 1e6;
            text += &format!(", {megabytes:.1} MB, {:.1} MB/s", megabytes / seconds);
        }
        if let (Some(p50), Some(p95), Some(p99)) =
            (percentile(&self.took, 50), percentile(&self.took, 95), percentile(&self.took, 99))
        {
            text += &format!("; p50 {} ms, p95 {} ms, p99 {} ms", p50.as_millis(), p95.as_millis(), p99.as_millis());
        }
        text + &format!("; {} retries, {} failed", self.retries, self.failed)
    }
}

/// The least that so many of a hundred do not exceed (nearest rank).
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let took: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        let of = |percent| percentile(&took, percent).unwrap().as_millis();
        assert_eq!((of(50), of(95), of(99)), (100, 190, 198));
        assert_eq!(percentile(&took[..1], 99), Some(Duration::from_millis(1)));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn a_summary_has_count_bytes_rate_percentiles_and_failures() {
        let mut tally = Tally::new("uploading", None);
        for _ in 0..4 {
            tally.count(Duration::from_millis(20), Ok(Sent { bytes: 500_000, retries: 1 }));
        }
        let text = tally.summary(Duration::from_secs(2));
        assert_eq!(text, "2.0 s, 2.0/s, 2.0 MB, 1.0 MB/s; p50 20 ms, p95 20 ms, p99 20 ms; 4 retries, 0 failed");
    }
}
