//! `open`: the gallery's URL, for a shell's `$(…)`.

use crate::commands::Session;
use crate::error::{Exit, Failure};
use crate::resources::web_endpoint;

/// Runs it.
pub async fn run(session: Session) -> Result<Exit, Failure> {
    let doing = "looking for the URL";
    let clients = session.running_clients(doing).await?;
    let (cloud, _) = session.connect(clients).await?;
    let url = web_endpoint::url(&cloud).await.map_err(|error| Failure::cloud(doing, &error))?;
    let Some(url) = url else {
        let what = format!("the stack {} has no load balancer", cloud.stack);
        return Err(Failure::new(doing, what).hint("`imagecrud-deploy up` creates it"));
    };
    session.report.data(url);
    Ok(Exit::Done)
}
