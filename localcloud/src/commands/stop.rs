//! `localcloud stop`: ends everything that runs, and keeps everything that is kept.

use anyhow::Result;

use super::{Exit, progress, require_root, status};
use crate::{config::Config, daemon::stopping, paths::Paths};

/// # Errors
/// When something could not be stopped.
pub async fn run(config: &Config, if_empty: bool) -> Result<Exit> {
    require_root("localcloud stop")?;
    if if_empty
        && let Ok(status) = status::ask(&Paths::new(&config.state_dir)).await
        && !status.is_empty()
    {
        progress(&format!(
            "the local cloud goes on: it has {} instances, {} volumes, {} snapshots, {} load balancers, {} groups, {} buckets",
            status.instances,
            status.volumes,
            status.snapshots,
            status.load_balancers,
            status.auto_scaling_groups,
            status.buckets
        ));
        return Ok(Exit::Done);
    }
    stopping::stop_everything(config, &progress).await?;
    progress("the local cloud has stopped; nothing of it runs");
    Ok(Exit::Done)
}
