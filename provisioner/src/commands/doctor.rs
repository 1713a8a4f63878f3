//! `doctor`: says beforehand what would stop `up`, and what this cloud can do.

use crate::cloud::clients::{Clients, is_loopback};
use crate::cloud::{Cloud, capabilities, local, site};
use crate::commands::up::{bundle_path, port_can_be_bound};
use crate::commands::{Session, WhenStopped};
use crate::config::CloudKind;
use crate::error::{Exit, Failure};
use crate::report::table;
use crate::resources::bundle::LocalBinary;
use crate::resources::{volume, web_endpoint};

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
    let capabilities = match capabilities::probe(&clients).await {
        Ok(capabilities) => capabilities,
        Err(failure) => {
            checks.push(check("credentials", Err(failure)));
            return None;
        }
    };
    checks.push(check("credentials", Ok(format!("accepted by {}", session.cloud_identity(&clients)))));
    match session.state(&clients).await {
        Ok(state) => {
            let cloud = Cloud::new(clients, &state.stack, &state.stack_id, capabilities);
            let zone = volume::current(&cloud).await.ok().flatten();
            let zone = zone.as_ref().and_then(|volume| volume.availability_zone());
            let place = site::survey(&cloud, &session.config, zone).await;
            checks.push(check(
                "zone, network, image",
                place.map(|site| format!("{}, {}, {}", site.zone, site.vpc_id, site.image_id)),
            ));
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
