//! `completions`, `man`, `config-schema`: what the program says of itself, for other programs.

use std::io::Write;
use std::path::Path;

use clap::CommandFactory;

use crate::cli::Cli;
use crate::config::settings;
use crate::error::{Exit, Failure};
use crate::files;
use crate::report::pretty;

/// A completion script for a shell.
pub fn completions(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "imagecrud-deploy", &mut script);
    print("printing the script", &script)
}

/// The manual page, or one for each command in a directory.
pub fn manual(directory: Option<&Path>) -> Result<Exit, Failure> {
    let doing = "writing the manual";
    let Some(directory) = directory else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(|error| Failure::new(doing, error))?;
        return print(doing, &page);
    };
    std::fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(Cli::command(), directory)).map_err(
        |error| {
            Failure::new(format!("{doing} to {}", directory.display()), files::words(&error))
                .hint("name a directory that can be written, or none: then it is printed")
        },
    )?;
    Ok(Exit::Done)
}

/// The schema of the settings file.
pub fn config_schema() -> Result<Exit, Failure> {
    print("printing the schema", format!("{}\n", pretty(&settings::schema())).as_bytes())
}

/// A reader that went away (`| head`) has what it wanted.
fn print(doing: &str, bytes: &[u8]) -> Result<Exit, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::new(doing, error)),
        _ => Ok(Exit::Done),
    }
}
