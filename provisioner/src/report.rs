//! The only writer: data to stdout, progress to stderr. On a terminal a spinner per step that says what it
//! waits for and how long it still may; plain lines otherwise. Knows nothing of clouds.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::environment;

/// How much is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verbosity {
    /// Errors only.
    pub quiet: bool,
    /// Also what does not change, and timings.
    pub verbose: bool,
    /// No spinners, even on a terminal.
    pub no_progress: bool,
}

/// Prints progress and results.
pub struct Reporter {
    verbosity: Verbosity,
    bars: Option<MultiProgress>,
    colours: bool,
}

impl Reporter {
    /// A reporter for this process's own stdout and stderr.
    pub fn new(verbosity: Verbosity) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let spinning = !verbosity.quiet && !verbosity.no_progress && terminal;
        let colours = terminal && wants_colours(environment::raw);
        Self { verbosity, bars: spinning.then(MultiProgress::new), colours }
    }

    /// Whether `-v` was given.
    pub fn verbose(&self) -> bool {
        self.verbosity.verbose
    }

    /// A line of progress.
    pub fn say(&self, line: impl AsRef<str>) {
        if !self.verbosity.quiet {
            self.write_line(line.as_ref());
        }
    }

    /// A line of detail, with `-v` only.
    pub fn detail(&self, line: impl AsRef<str>) {
        if self.verbosity.verbose {
            self.write_line(line.as_ref());
        }
    }

    /// A line of data.
    pub fn data(&self, line: impl AsRef<str>) {
        let write = || {
            let mut out = std::io::stdout().lock();
            writeln!(out, "{}", line.as_ref()).and_then(|()| out.flush()).ok();
        };
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    /// Begins a step.
    pub fn step(&self, label: &str, doing: &str) -> Step<'_> {
        let bar = self.bars.as_ref().map(|bars| {
            let style =
                ProgressStyle::with_template(" {spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bar = bars.add(ProgressBar::new_spinner().with_style(style));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar.set_message(format!("{label}: {doing}"));
            bar
        });
        if bar.is_none() {
            self.say(format!(" • {label}: {doing}"));
        }
        Step { reporter: self, label: label.to_owned(), bar, began: Instant::now(), said: Mutex::default() }
    }

    fn write_line(&self, line: &str) {
        let write = || {
            writeln!(std::io::stderr().lock(), "{line}").ok();
        };
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }
}

/// Whether a terminal gets colours. https://no-color.org: set to anything but nothing, the variable forbids them.
fn wants_colours(variable: impl Fn(&'static str) -> Option<OsString>) -> bool {
    variable("NO_COLOR").is_none_or(|value| value.is_empty()) && variable("TERM").is_none_or(|term| term != "dumb")
}

/// One step under way.
pub struct Step<'a> {
    reporter: &'a Reporter,
    label: String,
    bar: Option<ProgressBar>,
    began: Instant,
    said: Mutex<String>,
}

impl Step<'_> {
    /// Says what it waits for, and for how long at most.
    pub fn waiting(&self, what: &str, detail: &str, elapsed: Duration, limit: Duration) {
        let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
        if let Some(bar) = &self.bar {
            bar.set_message(format!(
                "{}: waiting for {what}{detail} {}/{}",
                self.label,
                seconds(elapsed),
                seconds(limit)
            ));
            return;
        }
        let line = format!(" • {}: waiting up to {} for {what}{detail}", self.label, seconds(limit));
        let Ok(mut said) = self.said.lock() else { return };
        if *said != line {
            self.reporter.say(&line);
            *said = line;
        }
    }

    /// The step is done.
    pub fn done(self, how: &str) {
        self.end('✓', how);
    }

    /// The step failed; the reason is printed at the end.
    pub fn failed(self) {
        self.end('✗', "failed");
    }

    /// The step was left because of something else.
    pub fn left(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn end(self, mark: char, how: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let mark = match (self.reporter.colours, mark) {
            (true, '✓') => "\x1b[32m✓\x1b[0m",
            (true, _) => "\x1b[31m✗\x1b[0m",
            (false, '✓') => "✓",
            (false, _) => "✗",
        };
        self.reporter.say(format!(" {mark} {} {how} ({})", self.label, seconds(self.began.elapsed())));
    }
}

/// A duration for people: `0.4s`, `12s`, `5m`.
pub fn seconds(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0..10_000 => format!("{:.1}s", duration.as_secs_f64()),
        10_000..180_000 => format!("{}s", millis / 1000),
        _ if duration.as_secs().is_multiple_of(60) => format!("{}m", duration.as_secs() / 60),
        _ => format!("{}m{:02}s", duration.as_secs() / 60, duration.as_secs() % 60),
    }
}

/// Lays rows out in columns under their headings.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let headings = headings.iter().map(|heading| (*heading).to_owned()).collect();
    columns(&[vec![headings], rows.to_vec()].concat())
}

/// Lays rows out in columns.
pub fn columns(rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  "));
        cells.collect::<String>().trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// JSON for programs, and readable.
pub fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_without_blanks() {
        let text =
            table(&["TYPE", "NAME"], &[vec!["volume".into(), "mysql-data".into()], vec!["vpc".into(), String::new()]]);
        assert_eq!(text, "TYPE    NAME\nvolume  mysql-data\nvpc");
    }

    #[test]
    fn no_color_set_to_anything_forbids_colours() {
        let with = |name: &'static str, value: &'static str| {
            wants_colours(move |asked| (asked == name).then(|| OsString::from(value)))
        };
        assert!(with("HOME", "/") && with("NO_COLOR", ""));
        assert!(!with("NO_COLOR", "1") && !with("TERM", "dumb"));
    }

    #[test]
    fn durations_are_short() {
        assert_eq!(seconds(Duration::from_millis(420)), "0.4s");
        assert_eq!(seconds(Duration::from_secs(60)), "60s");
        assert_eq!(seconds(Duration::from_secs(300)), "5m");
        assert_eq!(seconds(Duration::from_secs(301)), "5m01s");
    }
}
