//! The program `imagecrud`: picks the command, prints what went wrong, sets the exit code.

use std::process::ExitCode;

use clap::Parser;
use imagecrud::cli::{Cli, Command};
use imagecrud::{client, config::Config, serve};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let default_level = if matches!(cli.command, Command::Serve) { "info,sqlx=warn,aws_config=warn" } else { "warn" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();

    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("imagecrud: starting its threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Serve => match Config::from_environment() {
                Ok(config) => serve::run(config).await,
                Err(error) => Err(error.into()),
            },
            Command::Upload(arguments) => client::upload::one(arguments).await,
            Command::UploadMany(arguments) => client::upload::many(arguments).await,
            Command::GetMany(arguments) => client::get::many(arguments).await,
            Command::Delete(arguments) => client::delete::one(arguments).await,
            Command::DeleteAll(arguments) => client::delete::all(arguments).await,
        }
    });
    // Reads from a stuck disk or name server must not keep the process alive.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("imagecrud: {error:#}");
            ExitCode::FAILURE
        }
    }
}
