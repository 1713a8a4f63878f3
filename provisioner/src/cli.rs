//! The command line: types only; the comments are the help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::CloudKind;
use crate::usage::{name, stack_name, whole};
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
    /// The region: of AWS, or [USER@]REGION of euca2ools.ini
    #[arg(long, global = true, value_name = "[USER@]REGION", env = "IMAGECRUD_REGION", value_parser = name)]
    pub region: Option<String>,
    /// A VPC other than the default one
    #[arg(long, global = true, value_name = "ID", env = "IMAGECRUD_VPC", value_parser = name)]
    pub vpc: Option<String>,
    /// Its subnets to use, at most one per zone
    #[arg(long, global = true, value_name = "ID", value_delimiter = ',', env = "IMAGECRUD_SUBNETS")]
    #[arg(value_parser = name)]
    pub subnets: Vec<String>,
    /// The settings file [default: imagecrud.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE", env = "IMAGECRUD_CONFIG")]
    pub config: Option<PathBuf>,
    /// The stack's name [default: imagecrud]
    #[arg(long, global = true, value_name = "NAME", env = "IMAGECRUD_STACK", value_parser = stack_name)]
    pub stack: Option<String>,
    /// Where the little that no cloud can tell is kept
    #[arg(long, global = true, value_name = "DIR", env = "IMAGECRUD_STATE_DIR", default_value = ".imagecrud")]
    pub state_dir: PathBuf,
    /// How long to wait for another run that works on the stack
    #[arg(long, global = true, value_name = "SECS", env = "IMAGECRUD_LOCK_TIMEOUT", default_value_t = 0)]
    #[arg(value_parser = whole(0, 86_400), allow_negative_numbers = true)]
    pub lock_timeout: u32,
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
    /// Remove the stack; the data volume, its backups and the bucket only with --delete-data
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
    /// List the versions of the web servers that there are to go back to; at most 5 are kept
    Versions(VersionsOptions),
    /// Put an earlier version of the web servers back into service, one server after the other
    ///
    /// A later `up` keeps it there until the binary or the settings are others than those that were rolled back.
    Rollback(RollbackOptions),
    /// Take a snapshot of the data volume: every row that is committed, of one moment, as after a power cut
    ///
    /// InnoDB replays its log when a restored database starts; nothing is locked or flushed for it. Pictures are not in
    /// it: they stay in the bucket. Backups are data: `teardown` keeps and names them, `teardown --delete-data` lists
    /// and then removes them.
    Backup(BackupOptions),
    /// Put the rows of a backup in the place of today's; the former volume is kept
    ///
    /// A new volume of the backup takes the data volume's place and the database VM is replaced. Pictures that were
    /// deleted since the backup do not come back, though their rows do; those that came since stay in the bucket
    /// without a row.
    Restore(RestoreOptions),
    /// Break something on purpose, watch it heal, and tell how long it took and what was lost
    Drill(DrillOptions),
    /// Make an image off a running VM; later launches of its kind boot it, with nothing left to install
    ///
    /// The VM goes on running meanwhile. Without data on it: the data volume is left out. The images go with every
    /// teardown.
    Bake(BakeOptions),
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
    #[arg(long, value_name = "ID", env = "IMAGECRUD_IMAGE", value_parser = name)]
    pub image: Option<String>,
    /// The zone of the data volume and the database VM
    #[arg(long, value_name = "ZONE", env = "IMAGECRUD_ZONE", value_parser = name)]
    pub zone: Option<String>,
    /// How long a web server of a new version may take to get healthy [default: 300]
    #[arg(long, value_name = "SECS", value_parser = whole(1, 86_400), allow_negative_numbers = true)]
    pub health_limit: Option<u32>,
}

/// Options of `versions`.
#[derive(Clone, Debug, Default, Args)]
pub struct VersionsOptions {
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `rollback`.
#[derive(Clone, Debug, Default, Args)]
pub struct RollbackOptions {
    /// Its number, or the begin of its binary's SHA-256 [default: the one before that in service]
    #[arg(value_name = "VERSION", value_parser = name)]
    pub to: Option<String>,
    /// How long a web server of it may take to get healthy [default: 300]
    #[arg(long, value_name = "SECS", value_parser = whole(1, 86_400), allow_negative_numbers = true)]
    pub health_limit: Option<u32>,
}

/// Options of `backup`.
#[derive(Clone, Debug, Default, Args)]
pub struct BackupOptions {
    /// List the backups, and the volumes that restores have left, instead of making one
    #[arg(long)]
    pub list: bool,
    /// As JSON
    #[arg(long, requires = "list")]
    pub json: bool,
    /// Delete a backup instead of making one
    #[arg(long, value_name = "SNAPSHOT", conflicts_with = "list", value_parser = name)]
    pub delete: Option<String>,
}

/// Options of `restore`.
#[derive(Clone, Debug, Default, Args)]
pub struct RestoreOptions {
    /// The backup, as `backup --list` names it
    #[arg(required_unless_present = "delete_old", value_parser = name)]
    pub snapshot: Option<String>,
    /// Delete the volumes whose place restored ones have taken, with the rows in them
    #[arg(long)]
    pub delete_old: bool,
}

/// Options of `bake`.
#[derive(Clone, Debug, Default, Args)]
pub struct BakeOptions {
    /// Off which kind of VM
    #[arg(value_enum, required_unless_present_any = ["list", "delete"])]
    pub kind: Option<Baked>,
    /// List the images instead of making one
    #[arg(long, conflicts_with = "kind")]
    pub list: bool,
    /// Delete an image instead of making one
    #[arg(long, value_name = "IMAGE", conflicts_with_all = ["kind", "list"], value_parser = name)]
    pub delete: Option<String>,
}

/// The kinds of VM that an image is made off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Baked {
    /// A web server
    Web,
    /// The database VM
    Db,
}

impl Baked {
    /// Its name inside the stack.
    pub fn of(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Db => "database",
        }
    }
}

/// Options of `drill`.
#[derive(Clone, Debug, Args)]
pub struct DrillOptions {
    /// What is broken
    #[arg(value_enum)]
    pub disaster: Disaster,
    /// Do it; without, it is only said what would be terminated
    #[arg(long)]
    pub yes: bool,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// What `drill` breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Disaster {
    /// The database VM is terminated; a new one takes over its volume
    DbLoss,
    /// A web server is terminated; the group replaces it
    WebLoss,
    /// All web servers of a zone are terminated, other than the database's zone
    AzLoss,
}

impl Disaster {
    /// Its word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::DbLoss => "db-loss",
            Self::WebLoss => "web-loss",
            Self::AzLoss => "az-loss",
        }
    }
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
    #[arg(value_parser = whole(1, 3600), allow_negative_numbers = true)]
    pub interval: u32,
}

/// Options of `events`.
#[derive(Clone, Debug, Default, Args)]
pub struct EventsOptions {
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// At most so many, the newest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    #[arg(value_parser = whole(1, 10_000), allow_negative_numbers = true)]
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
    #[arg(value_parser = whole(1, 10_000), allow_negative_numbers = true)]
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
    #[arg(value_parser = whole(0, 1000), allow_negative_numbers = true)]
    pub count: Option<u32>,
    /// Fewest
    #[arg(long, value_parser = whole(0, 1000), allow_negative_numbers = true)]
    pub min: Option<u32>,
    /// Most
    #[arg(long, value_parser = whole(1, 1000), allow_negative_numbers = true)]
    pub max: Option<u32>,
    /// How many now
    #[arg(long, value_parser = whole(0, 1000), allow_negative_numbers = true)]
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
    /// Also the data volume, its backups and the bucket, with every row and picture
    #[arg(long)]
    pub delete_data: bool,
    /// Print where the time went
    #[arg(long)]
    pub timings: bool,
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
