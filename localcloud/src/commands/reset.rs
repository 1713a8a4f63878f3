//! `localcloud reset`: ends everything and deletes all that the cloud kept. Built images stay in their cache.

use anyhow::{Context as _, Result};

use super::{Exit, progress, require_root};
use crate::{config::Config, daemon::stopping, paths::Paths};

/// # Errors
/// When something could not be stopped or deleted.
pub async fn run(config: &Config, yes: bool) -> Result<Exit> {
    require_root("localcloud reset")?;
    let paths = Paths::new(&config.state_dir);
    if !paths.root().exists() {
        progress(&format!("there is nothing at {}", paths.root().display()));
        return Ok(Exit::Done);
    }
    if !yes {
        progress(&format!(
            "would stop the local cloud and delete {} with all its volumes and buckets; do it with --yes",
            paths.root().display()
        ));
        return Ok(Exit::NotReady);
    }
    stopping::stop_everything(config, &progress).await?;
    std::fs::remove_dir_all(paths.root()).with_context(|| format!("deleting {}", paths.root().display()))?;
    progress(&format!("deleted {}", paths.root().display()));
    Ok(Exit::Done)
}
