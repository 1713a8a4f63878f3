//! The environment: every variable that the program reads, in one list, and all reading of them but by the command line's
//! own parser and by the SDK. A variable that is set to nothing is not set.

use std::ffi::OsString;

use tracing_subscriber::EnvFilter;

use crate::error::Failure;

/// A variable.
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
}

/// What a variable may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What the flag that it stands for may be.
    Flag,
    /// The URL of a database.
    DatabaseUrl,
    /// Paths of files.
    Files,
    /// A region of euca2ools.ini.
    Region,
    /// The address of a proxy.
    Proxy,
    /// What to log, as tracing-subscriber reads it.
    LogFilter,
    /// Anything: whatever it is, it means something.
    Anything,
}

const fn variable(name: &'static str, kind: Kind) -> Variable {
    Variable { name, kind }
}

/// Every variable. `AWS_*` of the profile and of credentials are read by the SDK, `SSL_CERT_FILE` by its TLS.
pub const VARIABLES: &[Variable] = &[
    variable("IMAGECRUD_CLOUD", Kind::Flag),
    variable("IMAGECRUD_CREDENTIALS", Kind::Flag),
    variable("IMAGECRUD_REGION", Kind::Flag),
    variable("IMAGECRUD_VPC", Kind::Flag),
    variable("IMAGECRUD_SUBNETS", Kind::Flag),
    variable("IMAGECRUD_CONFIG", Kind::Flag),
    variable("IMAGECRUD_STACK", Kind::Flag),
    variable("IMAGECRUD_STATE_DIR", Kind::Flag),
    variable("IMAGECRUD_LOCK_TIMEOUT", Kind::Flag),
    variable("IMAGECRUD_BUNDLE", Kind::Flag),
    variable("IMAGECRUD_IMAGE", Kind::Flag),
    variable("IMAGECRUD_ZONE", Kind::Flag),
    variable("LOCALCLOUD_STATE_DIR", Kind::Flag),
    variable("IMAGECRUD_DATABASE_URL", Kind::DatabaseUrl),
    variable("EUCA_CONFIG_PATH", Kind::Files),
    variable("EUCA_DEFAULT_REGION", Kind::Region),
    variable("AWS_DEFAULT_REGION", Kind::Region),
    variable("http_proxy", Kind::Proxy),
    variable("no_proxy", Kind::Anything),
    variable("RUST_LOG", Kind::LogFilter),
    variable("NO_COLOR", Kind::Anything),
    variable("TERM", Kind::Anything),
    variable("PATH", Kind::Anything),
    variable("USER", Kind::Anything),
    variable("LOGNAME", Kind::Anything),
];

/// A variable as it is.
pub fn raw(name: &'static str) -> Option<OsString> {
    debug_assert!(VARIABLES.iter().any(|variable| variable.name == name), "{name} is not in the list");
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// A variable as text.
pub fn text(name: &'static str) -> Result<Option<String>, Failure> {
    let Some(value) = raw(name) else { return Ok(None) };
    value.into_string().map(Some).map_err(|value| {
        Failure::usage(format!("the variable {name}: `{}` is not text in UTF-8", value.display()))
            .hint(format!("set it anew, or unset it: `unset {name}`"))
    })
}

/// A variable that may be anything, for people.
pub fn words(name: &'static str) -> Option<String> {
    raw(name).map(|value| value.to_string_lossy().into_owned())
}

/// What is logged: nothing, unless it is asked for.
pub fn log_filter(verbose: bool) -> Result<EnvFilter, Failure> {
    let Some(directives) = text("RUST_LOG")? else {
        return Ok(EnvFilter::new(if verbose { "imagecrud_deploy=debug" } else { "off" }));
    };
    EnvFilter::try_new(&directives).map_err(|error| {
        Failure::usage(format!("the variable RUST_LOG: `{directives}` says not what to log: {error}"))
            .hint("for example RUST_LOG=imagecrud_deploy=debug; `unset RUST_LOG` logs nothing")
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn sources(directory: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
    }

    #[test]
    fn every_variable_that_is_read_is_in_the_list() {
        let command = Cli::command();
        let all = command.get_subcommands().flat_map(|c| c.get_arguments()).chain(command.get_arguments());
        let of_flags: BTreeSet<String> =
            all.filter_map(|arg| arg.get_env()).map(|name| name.to_string_lossy().into_owned()).collect();
        let listed = VARIABLES.iter().filter(|variable| variable.kind == Kind::Flag);
        assert_eq!(of_flags, listed.map(|variable| variable.name.to_owned()).collect());

        let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
        let reads = |text: &str| ["env::var(", "env::var_os(", "env::vars"].iter().any(|call| text.contains(call));
        let elsewhere: Vec<&PathBuf> = sources
            .iter()
            .filter(|path| reads(&std::fs::read_to_string(path).unwrap()))
            .filter(|path| !path.ends_with("environment.rs") && !path.ends_with("usage.rs"))
            .collect();
        assert!(elsewhere.is_empty(), "these read variables by themselves: {elsewhere:?}");
    }
}
