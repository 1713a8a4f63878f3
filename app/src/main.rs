//! The program `imagecrud`: picks the command, prints what went wrong, sets the exit code.

use std::process::ExitCode;

use clap::Parser;
use imagecrud::cli::{Cli, Command};
use imagecrud::{
    client,
    config::{Config, LogFormat},
    serve,
};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    give_large_buffers_back();
    let config = match &cli.command {
        Command::Serve => match Config::from_environment() {
            Ok(config) => Some(config),
            Err(error) => return failure(&error),
        },
        _ => None,
    };
    log_to_stderr(config.as_ref());

    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("imagecrud: starting its threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Serve => match config {
                Some(config) => serve::run(config).await,
                None => Ok(()),
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
        Err(error) => failure(&format_args!("{error:#}")),
    }
}

/// Once a large buffer was given back, the C library's allocator takes the next ones from its arenas, and these only grow: where
/// pictures of 20 MB come and go, by hundreds of megabytes. With a threshold that is set it goes on asking the kernel for each.
fn give_large_buffers_back() {
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code, reason = "a setting that takes two numbers")]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1024 * 1024);
    }
}

fn failure(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("imagecrud: {error}");
    ExitCode::FAILURE
}

/// The server tells what it does; the tools only what they cannot do.
fn log_to_stderr(config: Option<&Config>) {
    let default_level = if config.is_some() { "info,sqlx=warn,aws_config=warn" } else { "warn" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_level));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match config.map(|config| config.log_format) {
        Some(LogFormat::Json) => lines.json().flatten_event(true).init(),
        _ => lines.with_ansi(false).init(),
    }
}
