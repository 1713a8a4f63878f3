//! `localcloud image build`: builds the VM image, or finds it in the cache.

use anyhow::Result;
use clap::Subcommand;

use super::{Exit, require_root};
use crate::{config::Config, image};

#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Build the image of this recipe, unless it is built already; print its directory
    Build {
        #[command(flatten)]
        config: Config,
        #[command(flatten)]
        options: image::BuildOptions,
    },
}

/// # Errors
/// With the end of the build's log.
#[expect(clippy::print_stdout, reason = "the directory is the command's data")]
pub async fn run(command: ImageCommand) -> Result<Exit> {
    let ImageCommand::Build { config, options } = command;
    require_root("localcloud image build")?;
    let built = image::build(&config, &options).await?;
    println!("{}", built.root.display());
    Ok(Exit::Done)
}
