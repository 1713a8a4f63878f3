//! `show stat` as back ends' health: which instance serves, and what the last check saw, in words.

use std::collections::BTreeMap;

use super::config::balancer_of_backend;
use crate::drivers::BackendStatus;

/// All servers (type 4) of all proxies.
pub(super) const COMMAND: &str = "show stat -1 4 -1";

struct Row<'a> {
    fields: BTreeMap<&'a str, &'a str>,
}

impl Row<'_> {
    fn get(&self, name: &str) -> &str {
        self.fields.get(name).copied().unwrap_or_default()
    }
}

/// One entry per balancer and instance; a balancer's several back ends share their health and add their sessions up.
pub(super) fn parse(table: &str) -> Result<Vec<BackendStatus>, String> {
    let mut lines = table.lines();
    let header = lines
        .by_ref()
        .find_map(|line| line.strip_prefix("# "))
        .ok_or_else(|| format!("its answer is no table: {}", table.lines().next().unwrap_or_default()))?;
    let names: Vec<&str> = header.split(',').collect();
    let mut statuses: Vec<BackendStatus> = Vec::new();
    for line in lines {
        let row = Row { fields: names.iter().copied().zip(line.split(',')).collect() };
        let Some(balancer) = balancer_of_backend(row.get("pxname")) else { continue };
        let status = BackendStatus {
            balancer: balancer.to_owned(),
            instance_id: row.get("svname").to_owned(),
            healthy: healthy(&row),
            passing: matches!(check_status(&row), "L4OK" | "L6OK" | "L7OK"),
            last_check: last_check(&row),
            current_sessions: row.get("scur").parse().unwrap_or(0),
        };
        match position(&statuses, &status) {
            None => statuses.push(status),
            Some(at) => {
                let known = &mut statuses[at];
                known.current_sessions += status.current_sessions;
                // Servers that follow another's checks have none of their own.
                if !row.get("check_status").is_empty() {
                    known.healthy = status.healthy;
                    known.passing = status.passing;
                    known.last_check = status.last_check;
                }
            }
        }
    }
    Ok(statuses)
}

/// Adds the sessions that an old worker still has with the servers that are still in the plan.
pub(super) fn add_sessions(statuses: &mut [BackendStatus], old: &[BackendStatus]) {
    for status in old {
        if let Some(at) = position(statuses, status) {
            statuses[at].current_sessions += status.current_sessions;
        }
    }
}

fn position(statuses: &[BackendStatus], like: &BackendStatus) -> Option<usize> {
    statuses.iter().position(|known| known.balancer == like.balancer && known.instance_id == like.instance_id)
}

fn check_status<'a>(row: &'a Row<'_>) -> &'a str {
    // "* L7OK": the next check is under way.
    row.get("check_status").trim_start_matches("* ")
}

fn healthy(row: &Row<'_>) -> Option<bool> {
    if matches!(check_status(row), "" | "INI" | "UNK") {
        return None;
    }
    let status = row.get("status");
    // Draining servers are shown as DRAIN or NOLB while they are up.
    Some(status.starts_with("UP") || status.starts_with("DRAIN") || status.starts_with("NOLB"))
}

fn last_check(row: &Row<'_>) -> String {
    let code = row.get("check_code");
    let detail = row.get("last_chk").trim_matches('"');
    let with_detail = |words: &str| if detail.is_empty() { words.to_owned() } else { format!("{words}: {detail}") };
    match check_status(row) {
        "" | "INI" | "UNK" => "no check has ended yet".to_owned(),
        "L4OK" => "the connection was accepted".to_owned(),
        "L4TOUT" => "no connection within the timeout".to_owned(),
        "L4CON" => with_detail("no connection"),
        "L6OK" => "the TLS handshake succeeded".to_owned(),
        "L6TOUT" => "no TLS handshake within the timeout".to_owned(),
        "L6RSP" => with_detail("the TLS handshake failed"),
        "L7TOUT" => "no answer within the timeout".to_owned(),
        "L7OK" if code.is_empty() => "the answer was as expected".to_owned(),
        "L7OK" => format!("the answer was HTTP {code}"),
        "L7STS" => format!("the answer was HTTP {code} instead of 200"),
        "L7RSP" => with_detail("the answer was not HTTP"),
        "SOCKERR" => with_detail("the check could not be made"),
        other => with_detail(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "# pxname,svname,scur,status,check_status,check_code,last_chk";

    fn one(row: &str) -> BackendStatus {
        parse(&format!("{HEADER}\n{row}\n")).expect("a table").remove(0)
    }

    #[test]
    fn health_is_unknown_until_the_first_check_has_ended() {
        assert_eq!(one("elb:web:http:80,i-1,0,DOWN,INI,,").healthy, None);
        let rising = one("elb:web:http:80,i-1,0,DOWN 1/3,L7OK,200,");
        assert_eq!((rising.healthy, rising.passing), (Some(false), true), "it takes more than one");
        assert_eq!(one("elb:web:http:80,i-1,0,UP,* L7OK,200,").healthy, Some(true));
        assert_eq!(one("elb:web:http:80,i-1,2,DRAIN,L7OK,200,").healthy, Some(true));
    }

    #[test]
    fn the_last_check_is_told_in_words() {
        assert_eq!(
            one("elb:w:http:80,i-1,0,DOWN,L4CON,,Connection refused").last_check,
            "no connection: Connection refused"
        );
        assert_eq!(one("elb:w:http:80,i-1,0,DOWN,L7STS,503,").last_check, "the answer was HTTP 503 instead of 200");
    }

    #[test]
    fn back_ends_of_one_balancer_share_health_and_add_sessions() {
        let table = format!(
            "{HEADER}\nelb:w:http:80,i-1,2,UP,L7OK,200,\nelb:w:tcp:81,i-1,3,UP,,,\napi:ec2,api,9,no check,,,\n"
        );
        let statuses = parse(&table).expect("a table");
        assert_eq!(statuses.len(), 1);
        assert_eq!((statuses[0].healthy, statuses[0].current_sessions), (Some(true), 5));
    }

    #[test]
    fn an_answer_that_is_no_table_is_an_error() {
        assert!(parse("Unknown command").is_err());
    }
}
