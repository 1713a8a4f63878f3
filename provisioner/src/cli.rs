//! The command line: types only; the comments are the help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::CloudKind;
use crate::config::settings::Kind;
use crate::user_data::VmKind;
use crate::vms::Target;

/// Brings IMAGE CRUD up on any EC2-compatible cloud, scales it, heals it and removes it
///
/// Data goes to stdout, progress to stderr. Exit codes: 0 done, 1 failed, 2 called wrongly, 3 not ready or has changes.
#[derive(Debug, Parser)]
#[command(name = "imagecrud-deploy", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// Settings of every command.
    #[command(flatten)]
    pub global: GlobalOptions,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Settings of every command.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalOptions {
    /// Which cloud [default: local]
    #[arg(long, global = true, value_enum, env = "IMAGECRUD_CLOUD")]
    pub cloud: Option<CloudKind>,
    /// The eucarc of a Eucalyptus cloud; read, never executed
    #[arg(long, global = true, value_name = "EUCARC", env = "IMAGECRUD_CREDENTIALS")]
    pub credentials: Option<PathBuf>,
    /// The settings file [default: imagecrud.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE", env = "IMAGECRUD_CONFIG")]
    pub config: Option<PathBuf>,
    /// The stack's name [default: imagecrud]
    #[arg(long, global = true, value_name = "NAME", env = "IMAGECRUD_STACK", value_parser = stack_name)]
    pub stack: Option<String>,
    /// Where the little that no cloud can tell is kept
    #[arg(long, global = true, value_name = "DIR", env = "IMAGECRUD_STATE_DIR", default_value = ".imagecrud")]
    pub state_dir: PathBuf,
    /// The state directory of the local cloud
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "LOCALCLOUD_STATE_DIR",
        default_value = "/var/lib/localcloud"
    )]
    pub local_state_dir: PathBuf,
    /// No spinners, even on a terminal
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// Errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Also the plan, what does not change, and timings
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what `up` would create and change, and touch nothing; exit 3 if there is something, 0 if not
    Plan(PlanOptions),
    /// Create what is missing, change what differs, wait until the gallery answers
    Up(UpOptions),
    /// Show every resource and the URL; exit 3 while anything is not ready
    Status(StatusOptions),
    /// Print the gallery's URL
    Open,
    /// Print what the group and its alarms did, newest last
    Events(EventsOptions),
    /// Print the logs of the VMs
    Logs(LogsOptions),
    /// Run a command on a VM, or a shell
    Ssh(SshOptions),
    /// Set how many web servers there are, and their bounds
    Scale(ScaleOptions),
    /// Remove the stack; the data volume and the bucket only with --delete-data
    Teardown(TeardownOptions),
    /// Check that everything needed is there, and print what the cloud can do
    Doctor,
    /// Rebuild what this machine keeps about a stack from what the cloud shows
    Adopt,
    /// Print a script that completes commands and options in a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for each command
    Man {
        /// Where to write them
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
    /// Print the JSON schema of imagecrud.toml, for editors
    #[command(hide = true)]
    ConfigSchema,
    /// Print the user-data of a kind of VM, with made-up facts, for `cloud-init schema`
    #[command(hide = true)]
    RenderUserData {
        #[arg(value_enum)]
        kind: VmKind,
    },
}

fn stack_name(text: &str) -> Result<String, String> {
    match Kind::StackName.trouble(text) {
        None => Ok(text.to_owned()),
        Some(_) => Err(Kind::StackName.allowed()),
    }
}

/// Options of `plan`.
#[derive(Clone, Debug, Default, Args)]
pub struct PlanOptions {
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// What the stack would be brought to.
    #[command(flatten)]
    pub choices: Choices,
}

/// Options of `up`.
#[derive(Clone, Debug, Default, Args)]
pub struct UpOptions {
    /// Print where the time went
    #[arg(long)]
    pub timings: bool,
    /// What the stack is brought to.
    #[command(flatten)]
    pub choices: Choices,
}

/// Settings that `up` and `plan` take as flags.
#[derive(Clone, Debug, Default, Args)]
pub struct Choices {
    /// The app's binary [default: imagecrud beside this program]
    #[arg(long, value_name = "FILE", env = "IMAGECRUD_BUNDLE")]
    pub bundle: Option<PathBuf>,
    /// The image of all VMs
    #[arg(long, value_name = "ID", env = "IMAGECRUD_IMAGE")]
    pub image: Option<String>,
    /// The zone of the data volume and the database VM
    #[arg(long, value_name = "ZONE", env = "IMAGECRUD_ZONE")]
    pub zone: Option<String>,
}

/// Options of `status`.
#[derive(Clone, Debug, Default, Args)]
pub struct StatusOptions {
    /// As JSON; with --watch one line each time something changes
    #[arg(long)]
    pub json: bool,
    /// Look again and again, until Ctrl-C
    #[arg(short, long)]
    pub watch: bool,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2, requires = "watch")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub interval: u64,
}

/// Options of `events`.
#[derive(Clone, Debug, Default, Args)]
pub struct EventsOptions {
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// At most so many, the newest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub lines: u32,
}

/// Options of `logs`.
#[derive(Clone, Debug, Args)]
pub struct LogsOptions {
    /// Whose: db, web, or one of them by its id as in web/i-0123abcd
    #[arg(value_name = "VM")]
    pub vm: Target,
    /// Go on as lines are written, until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
    /// How many lines of each log
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    pub lines: u32,
    /// The console, which needs no ssh
    #[arg(long)]
    pub console: bool,
}

/// Options of `ssh`.
#[derive(Clone, Debug, Args)]
pub struct SshOptions {
    /// Which: db, web (the oldest that runs), or one by its id as in web/i-0123abcd
    #[arg(value_name = "VM")]
    pub vm: Target,
    /// The command and its arguments, as for ssh; without one a shell
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// Options of `scale`.
#[derive(Clone, Debug, Default, Args)]
pub struct ScaleOptions {
    /// How many web servers
    #[arg(value_name = "N", conflicts_with = "desired", required_unless_present_any = ["min", "max", "desired"])]
    pub count: Option<u32>,
    /// Fewest
    #[arg(long)]
    pub min: Option<u32>,
    /// Most
    #[arg(long)]
    pub max: Option<u32>,
    /// How many now
    #[arg(long)]
    pub desired: Option<u32>,
    /// Only show what would change; exit 3 if something would, 0 if not
    #[arg(long)]
    pub plan: bool,
    /// The plan as JSON
    #[arg(long, requires = "plan")]
    pub json: bool,
}

/// Options of `teardown`.
#[derive(Clone, Debug, Default, Args)]
pub struct TeardownOptions {
    /// Do it; without, it is only shown what would go
    #[arg(long)]
    pub yes: bool,
    /// Also the data volume and the bucket, with every row and picture
    #[arg(long)]
    pub delete_data: bool,
    /// Only show what would go; exit 3 if something would, 0 if not
    #[arg(long, conflicts_with = "yes")]
    pub plan: bool,
    /// The plan as JSON
    #[arg(long, requires = "plan")]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn scale_wants_a_number_or_bounds() {
        assert!(Cli::try_parse_from(["imagecrud-deploy", "scale"]).is_err());
        assert!(Cli::try_parse_from(["imagecrud-deploy", "scale", "3"]).is_ok());
        assert!(Cli::try_parse_from(["imagecrud-deploy", "scale", "--min", "1", "--max", "4"]).is_ok());
        assert!(Cli::try_parse_from(["imagecrud-deploy", "scale", "3", "--desired", "4"]).is_err());
    }
}
