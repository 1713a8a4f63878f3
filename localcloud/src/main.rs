//! The program `localcloud`: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser as _;
use localcloud::commands::{self, Cli, Exit};
use tracing_subscriber::EnvFilter;

// More than there are cores: a request waits for the disk where it is answered, and the others go on.
#[tokio::main(worker_threads = 8)]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("LOCALCLOUD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match commands::run(cli).await {
        Ok(Exit::Done) => ExitCode::SUCCESS,
        Ok(Exit::NotReady) => ExitCode::from(3),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
