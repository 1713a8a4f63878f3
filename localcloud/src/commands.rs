//! The program's commands: one file each, with a testable function apart from the flags.

/// `localcloud actions`
pub mod actions;
/// `localcloud image build`
pub mod image;
/// `localcloud reset`
pub mod reset;
/// `localcloud serve`
pub mod serve;
/// `localcloud status`
pub mod status;
/// `localcloud stop`
pub mod stop;

use clap::{Parser, Subcommand};

use crate::{config::Config, object_storage};

/// An EC2-compatible cloud on one Linux machine: real containers, block devices, HAProxy, cloud-init
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the cloud; instances go on when it ends
    Serve {
        #[command(flatten)]
        config: Config,
        #[command(flatten)]
        instrument: serve::Instrument,
        /// Return once the API answers, and go on in the background
        #[arg(long)]
        detach: bool,
    },
    /// Build the VM image, or find it in the cache
    #[command(subcommand)]
    Image(image::ImageCommand),
    /// Say what runs, and what is in trouble; exit 3 where no daemon runs
    Status {
        #[command(flatten)]
        config: Config,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Stop everything that runs; records, disks, volumes and objects stay
    Stop {
        #[command(flatten)]
        config: Config,
        /// Only where no instance, volume, load balancer, group and bucket is left
        #[arg(long)]
        if_empty: bool,
    },
    /// Stop everything and delete all records, disks, volumes and objects
    Reset {
        #[command(flatten)]
        config: Config,
        /// Do it; without it, say what would go
        #[arg(long)]
        yes: bool,
    },
    /// Print docs/actions.md: every action that is carried out
    #[command(hide = true)]
    Actions,
    /// Serve S3 (started by `serve`)
    #[command(hide = true)]
    ObjectStorage(object_storage::Arguments),
}

/// What a command came to: its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done,
    NotReady,
}

/// # Errors
/// A sentence for the user.
pub async fn run(cli: Cli) -> anyhow::Result<Exit> {
    match cli.command {
        Command::Serve { config, instrument, detach } if detach => serve::detached(&config, &instrument).await,
        Command::Serve { config, instrument, .. } => serve::foreground(&config, &instrument).await,
        Command::Image(command) => image::run(command).await,
        Command::Status { config, json } => status::run(&config, json).await,
        Command::Stop { config, if_empty } => stop::run(&config, if_empty).await,
        Command::Reset { config, yes } => reset::run(&config, yes).await,
        Command::Actions => Ok(actions::run()),
        Command::ObjectStorage(arguments) => object_storage::run(arguments).await.map(|()| Exit::Done),
    }
}

/// Says what goes on, on stderr: stdout is for data.
pub(crate) fn progress(text: &str) {
    eprintln!(" • {text}");
}

/// # Errors
/// When this process is not root's.
pub(crate) fn require_root(purpose: &str) -> anyhow::Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    anyhow::bail!(
        "{purpose} needs root: namespaces, mounts and loop devices belong to it\n\nhint: run it again with sudo"
    )
}
