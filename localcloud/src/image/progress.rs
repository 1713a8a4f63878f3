//! What a build says while it works, on stderr: on a terminal one line that moves, else a line for each new step.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// How long nothing may be said where no line moves.
const SILENCE: Duration = Duration::from_secs(20);

pub(super) struct Progress {
    what: String,
    started: Instant,
    said: Option<(String, Instant)>,
    line: Option<ProgressBar>,
}

impl Progress {
    pub(super) fn new(what: impl Into<String>) -> Self {
        let line = std::io::stderr().is_terminal().then(|| {
            let line = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed:>4}") {
                line.set_style(style);
            }
            line.enable_steady_tick(Duration::from_millis(120));
            line
        });
        Self { what: what.into(), started: Instant::now(), said: None, line }
    }

    /// Says what is being done. Saying the same again costs nothing.
    pub(super) fn doing(&mut self, step: &Step) {
        let text = match &step.detail {
            Some(detail) if self.line.is_some() => format!("{}: {} ({detail})", self.what, step.name),
            _ => format!("{}: {}", self.what, step.name),
        };
        if let Some(line) = &self.line {
            line.set_message(text);
            return;
        }
        let silent = self.said.as_ref().is_none_or(|(said, when)| *said != text || when.elapsed() >= SILENCE);
        if silent {
            eprintln!(" • {text} ({} s)", self.started.elapsed().as_secs());
            self.said = Some((text, Instant::now()));
        }
    }

    /// The last word.
    pub(super) fn done(self, result: &str) {
        if let Some(line) = self.line {
            line.finish_and_clear();
        }
        eprintln!(" ✓ {}: {result} ({} s)", self.what, self.started.elapsed().as_secs());
    }
}

/// Where a build is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Step {
    pub name: String,
    /// What of it, such as a package.
    pub detail: Option<String>,
}

impl Step {
    pub(super) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), detail: None }
    }

    /// Reads a line of the build's log. mmdebstrap names its steps after `I: `, the recipe its own after `image: `,
    /// dpkg and apt the package that they are at.
    pub(super) fn read(&mut self, line: &str) {
        let line = line.trim();
        for prefix in ["I: ", "image: "] {
            if let Some(name) = line.strip_prefix(prefix) {
                // What follows a colon are paths and arguments.
                let name = name.split(": ").next().unwrap_or(name);
                *self = Self::named(name.trim_end_matches("..."));
                return;
            }
        }
        for (prefix, verb) in [("Get:", "fetching"), ("Unpacking ", "unpacking"), ("Setting up ", "setting up")] {
            if let Some(rest) = line.strip_prefix(prefix) {
                // `Get:12 URL SUITE/main amd64 PACKAGE amd64 VERSION`; else the package comes first.
                let package = rest.split_whitespace().nth(if prefix == "Get:" { 4 } else { 0 });
                self.detail = package.map(|package| format!("{verb} {}", package.split(':').next().unwrap_or(package)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_followed_by_its_log() {
        let mut step = Step::default();
        step.read("I: installing remaining packages inside the chroot...");
        step.read("Setting up libc6:amd64 (2.36-9) ...");
        assert_eq!(step.name, "installing remaining packages inside the chroot");
        assert_eq!(step.detail.as_deref(), Some("setting up libc6"));
        step.read("Get:3 http://mirror/debian bookworm/main amd64 mariadb-server amd64 1:10.11 [14 kB]");
        assert_eq!(step.detail.as_deref(), Some("fetching mariadb-server"));
        step.read("I: cleaning package lists and apt cache...");
        assert_eq!(step, Step::named("cleaning package lists and apt cache"));
    }
}
