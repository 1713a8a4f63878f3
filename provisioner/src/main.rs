//! The program: parses, runs a command, ends with its exit code.

use std::process::ExitCode;

use clap::Parser;
use imagecrud_deploy::cli::Cli;
use imagecrud_deploy::commands;
use imagecrud_deploy::error::Exit;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        tracing_subscriber::EnvFilter::new(if cli.global.verbose { "imagecrud_deploy=debug" } else { "off" })
    });
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match commands::run(cli).await {
        Ok(exit) => exit,
        Err(failure) => {
            let word = if failure.exit == Exit::Interrupted { "" } else { "error: " };
            eprintln!("{word}{failure}");
            ExitCode::from(failure.exit as u8)
        }
    }
}
