//! `doctor`: says beforehand what would stop `up`, and what this cloud can do.

use crate::cloud::clients::{Clients, is_loopback};
use crate::cloud::quotas::{self, Quota};
use crate::cloud::{Cloud, capabilities, local, site};
use crate::commands::up::{bundle_path, port_can_be_bound};
use crate::commands::{Session, WhenStopped};
use crate::config::CloudKind;
use crate::error::{Exit, Failure};
use crate::report::table;
use crate::resources::bundle::LocalBinary;
use crate::resources::web_endpoint;
use crate::stack::user_data_lengths;
use crate::state::State;
use crate::user_data::LIMIT_BYTES;

/// One line of the answer.
struct Check {
    what: &'static str,
    result: Result<String, String>,
}

fn check(what: &'static str, result: Result<String, Failure>) -> Check {
    Check { what, result: result.map_err(|failure| failure.to_string().replace("\n\n", "; ").replace('\n', " ")) }
}

/// Runs it.
pub async fn run(session: Session) -> Result<Exit, Failure> {
    let report = &session.report;
    let mut checks = vec![check("app binary", binary(&session))];
    let is_local = session.config.cloud.kind == CloudKind::Local;
    if is_local {
        checks.push(check("root", root()));
    }
    let clients = session.clients(WhenStopped::Leave).await;
    let mut table_of_capabilities = None;
    match clients {
        Ok(Some(clients)) => {
            if is_local {
                checks.push(check("local cloud", Ok(format!("runs at {}", clients.endpoints.ec2))));
            }
            table_of_capabilities = look(&session, clients, &mut checks).await;
        }
        Ok(None) => {
            checks
                .push(check("local cloud", Ok("does not run; `up` starts it, and then there is more to check".into())));
            checks.push(check("localcloud program", program()));
            checks.push(check("port", port(&session)));
        }
        Err(failure) => checks.push(check("connection", Err(failure))),
    }
    let rows: Vec<Vec<String>> = checks
        .iter()
        .map(|check| {
            let (word, detail) = match &check.result {
                Ok(detail) => ("ok", detail),
                Err(detail) => ("NO", detail),
            };
            vec![check.what.to_owned(), word.to_owned(), detail.clone()]
        })
        .collect();
    report.data(table(&["CHECK", "", "DETAIL"], &rows));
    if let Some(text) = table_of_capabilities {
        report.data(format!("\n{text}"));
    }
    if checks.iter().all(|check| check.result.is_ok()) {
        report.say("`imagecrud-deploy up` can go ahead");
        return Ok(Exit::Done);
    }
    Ok(Exit::NotReady)
}

/// Everything that takes a cloud to answer; returns the table of what it can do.
async fn look(session: &Session, clients: Clients, checks: &mut Vec<Check>) -> Option<String> {
    let capabilities = match capabilities::probe(&clients, session.config.stack()).await {
        Ok(capabilities) => capabilities,
        Err(failure) => {
            checks.push(check("credentials", Err(failure)));
            return None;
        }
    };
    checks.push(check("credentials", Ok(format!("accepted by {}", session.cloud_identity(&clients)))));
    if !capabilities.launch_templates {
        checks.push(check("launch configurations", launch_configurations(&clients).await));
    }
    match session.state(&clients).await {
        Ok(state) => {
            let cloud = Cloud::new(clients, &state.stack, &state.stack_id, capabilities);
            let place = site::survey(&cloud, &session.config).await;
            checks.push(check(
                "zone, network, image",
                place.map(|site| format!("{}, {}, {}", site.zone, site.vpc_id, site.image_id)),
            ));
            checks.push(check("quotas", quotas(&cloud, session, &state).await));
            checks.push(check("user-data", user_data(&cloud)));
            let balanced = web_endpoint::url(&cloud).await.ok().flatten();
            if is_loopback(&cloud.endpoints.ec2) {
                checks.push(match balanced {
                    Some(url) => check("port", Ok(format!("the stack's own: {url}"))),
                    None => check("port", port(session)),
                });
            }
        }
        Err(failure) => checks.push(check("state", Err(failure))),
    }
    let rows: Vec<Vec<String>> = capabilities
        .rows()
        .into_iter()
        .map(|(name, has, without)| {
            let (word, detail) = if has { ("yes", "") } else { ("no", without) };
            vec![name.to_owned(), word.to_owned(), detail.to_owned()]
        })
        .collect();
    Some(table(&["CAPABILITY", "", "WITHOUT IT"], &rows))
}

/// Accounts of today may not create any, and a cloud with neither way to say what a group launches is of no use.
async fn launch_configurations(clients: &Clients) -> Result<String, Failure> {
    match capabilities::launch_configurations(clients).await {
        Ok(true) => Ok("open".to_owned()),
        Ok(false) => Err(Failure::new("", "closed to this account, and there are no launch templates")
            .hint("nothing tells a group here what to launch; choose another cloud")),
        Err(error) => Err(Failure::cloud("", &error)),
    }
}

/// Whether the largest group, the database VM and the surplus of a rollout fit into the account.
async fn quotas(cloud: &Cloud, session: &Session, state: &State) -> Result<String, Failure> {
    let bounds = state.scale.unwrap_or_else(|| session.config.bounds());
    let quotas = quotas::list(cloud, bounds.max as usize + 2).await.map_err(|error| Failure::cloud("", &error))?;
    let listed: Vec<String> = quotas.iter().map(ToString::to_string).collect();
    let listed = if listed.is_empty() { "the cloud tells none".to_owned() } else { listed.join("; ") };
    if quotas.iter().all(Quota::is_enough) {
        return Ok(listed);
    }
    Err(Failure::new("", listed).hint("ask for a higher limit, lower web.max, or remove what is not needed"))
}

/// The length of what the VMs would be told.
fn user_data(cloud: &Cloud) -> Result<String, Failure> {
    let (database, web) = user_data_lengths(cloud).map_err(|error| Failure::cloud("", &error))?;
    Ok(format!("{database} and {web} bytes of {LIMIT_BYTES}"))
}

fn binary(session: &Session) -> Result<String, Failure> {
    let binary = LocalBinary::read(&bundle_path(session)?)?;
    Ok(format!("{} (sha256 {}…)", binary.path.display(), &binary.sha256[..12]))
}

fn root() -> Result<String, Failure> {
    if local::is_root() {
        return Ok("yes".to_owned());
    }
    Err(Failure::new("", "the local cloud needs root").hint("use sudo, or choose another cloud with --cloud"))
}

fn program() -> Result<String, Failure> {
    local::sibling("localcloud").map(|path| path.display().to_string()).ok_or_else(|| {
        Failure::new("", "neither beside this program nor on PATH").hint("`make build` puts it into bin/")
    })
}

fn port(session: &Session) -> Result<String, Failure> {
    let port = session.config.port();
    if port_can_be_bound(port) {
        return Ok(format!("{port} is free"));
    }
    Err(Failure::new("", format!("{port} is taken")).hint("stop what listens there, or choose another: listener.port"))
}
