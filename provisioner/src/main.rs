//! The program: parses, runs a command, ends with its exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use imagecrud_deploy::error::{Exit, Failure};
use imagecrud_deploy::{commands, environment, usage};

#[tokio::main]
async fn main() -> ExitCode {
    run().await.unwrap_or_else(|failure| {
        let word = if failure.exit == Exit::Interrupted { "" } else { "error: " };
        eprintln!("{word}{failure}");
        ExitCode::from(failure.exit as u8)
    })
}

async fn run() -> Result<ExitCode, Failure> {
    let cli = usage::parse(&std::env::args_os().collect::<Vec<OsString>>())?;
    let filter = environment::log_filter(cli.global.verbose)?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    commands::run(cli).await
}
