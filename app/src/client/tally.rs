//! Counting what many requests came to: a progress bar at a terminal, each failure as it comes, and a summary that decides
//! the exit code.

use indicatif::{ProgressBar, ProgressStyle};

/// Failures printed one by one; beyond it they are only counted.
const PRINTED: u64 = 20;

pub struct Tally {
    bar: ProgressBar,
    done: u64,
    failed: u64,
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
        Self { bar: bar.with_message(doing), done: 0, failed: 0 }
    }

    pub fn count<E: std::fmt::Display>(&mut self, outcome: Result<(), E>) {
        self.bar.inc(1);
        match outcome {
            Ok(()) => self.done += 1,
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

    pub fn done(&self) -> u64 {
        self.done
    }

    /// Prints "uploaded 10 pictures", or fails with how many did not.
    pub fn finish(self, past: &str) -> anyhow::Result<()> {
        self.bar.finish_and_clear();
        let noun = if self.done == 1 { "picture" } else { "pictures" };
        if self.failed == 0 {
            println!("{past} {} {noun}", self.done);
            Ok(())
        } else {
            Err(anyhow::anyhow!("{past} {} {noun}, {} failed", self.done, self.failed))
        }
    }
}
