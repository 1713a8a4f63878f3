//! Failures as people read them: a sentence, what is left behind, a hint; and the exit codes.

use std::fmt;

use crate::cloud::retry::CloudError;

/// The four answers a command gives its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Called wrongly.
    Usage = 2,
    /// Not ready, or nothing done yet because a `--yes` is missing.
    NotReady = 3,
    /// Stopped by Ctrl-C.
    Interrupted = 130,
}

/// What a failed step leaves in the cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing of it.
    Nothing,
    /// That resource.
    Something(String),
    /// The answer was lost; the next run looks.
    Unknown,
}

/// A command's failure.
#[derive(Debug)]
pub struct Failure {
    /// What was being done: "creating volume/mysql-data".
    pub doing: String,
    /// What went wrong.
    pub what: String,
    /// What is left behind.
    pub left: Left,
    /// How many resources of the stack stand as they should, of how many.
    pub standing: Option<(u16, u16)>,
    /// What the user can do.
    pub hint: Option<String>,
    /// The command that goes on from here.
    pub next: Option<Box<str>>,
    /// The exit code.
    pub exit: Exit,
}

impl Failure {
    /// A failure that leaves nothing behind.
    pub fn new(doing: impl Into<String>, what: impl fmt::Display) -> Self {
        Self {
            doing: doing.into(),
            what: what.to_string(),
            left: Left::Nothing,
            standing: None,
            hint: None,
            next: None,
            exit: Exit::Failed,
        }
    }

    /// A wrong call or setting.
    pub fn usage(what: impl fmt::Display) -> Self {
        Self::new("", what).exit(Exit::Usage)
    }

    /// A failed call to the cloud.
    pub fn cloud(doing: impl Into<String>, error: &CloudError) -> Self {
        let mut failure = Self::new(doing, error);
        failure.hint = error.hint();
        failure
    }

    /// Adds what the user can do, unless something nearer is known already.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Says which command goes on from here; there is none after a wrong call.
    #[must_use]
    pub fn next(mut self, command: impl Into<String>) -> Self {
        if self.exit != Exit::Usage {
            self.next.get_or_insert_with(|| command.into().into_boxed_str());
        }
        self
    }

    /// Says what is left behind.
    #[must_use]
    pub fn left(mut self, left: Left) -> Self {
        self.left = left;
        self
    }

    /// Sets the exit code.
    #[must_use]
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.doing.is_empty() {
            write!(f, "{}", self.what)?;
        } else {
            write!(f, "{}: {}", self.doing, self.what)?;
        }
        match &self.left {
            Left::Nothing => {}
            Left::Something(id) => write!(f, "\nleft: {id}")?,
            Left::Unknown => write!(f, "\nleft: unknown, as the answer was lost; the next run looks for it")?,
        }
        if let Some((standing, all)) = self.standing {
            write!(f, "\nstanding: {standing} of {all} resources are as they should be, and stay")?;
        }
        if self.hint.is_some() || self.next.is_some() {
            writeln!(f)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        if let Some(next) = &self.next {
            write!(f, "\nnext: {next}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}
