//! Health that survives a reload. HAProxy reads its servers' states from a file when it starts. We write that file:
//! known servers keep their state, and new ones begin down, because a classic ELB keeps an instance OutOfService
//! until it has passed HealthyThreshold checks, while HAProxy takes a new server to be up.

use std::{collections::BTreeMap, fmt::Write as _, net::Ipv4Addr};

const HEADER: &str = "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
                      srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state \
                      srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl \
                      srv_check_port srv_check_addr srv_agent_addr srv_agent_port";
/// `SRV_ST_STOPPED` and `SRV_ST_RUNNING` of HAProxy's server-t.h.
const STOPPED: &str = "0";
/// Checks are configured and enabled: `CHK_ST_CONFIGURED | CHK_ST_ENABLED` of its check-t.h.
const CHECKED: &str = "6";

/// A server whose health is checked, as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) backend: String,
    pub(super) name: String,
    pub(super) address: Ipv4Addr,
    pub(super) port: u16,
    pub(super) weight: u32,
}

/// What goes on being true of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Health {
    address: String,
    operational: String,
    check_status: String,
    check_result: String,
    check_health: String,
}

fn parse(dump: &str) -> BTreeMap<(String, String), Health> {
    dump.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let field = |at: usize| fields.get(at).map(|text| (*text).to_owned());
            let health = Health {
                address: field(4)?,
                operational: field(5)?,
                check_status: field(10)?,
                check_result: field(11)?,
                check_health: field(12)?,
            };
            Some(((field(1)?, field(3)?), health))
        })
        .collect()
}

/// The file for the next worker: what `known` (a dump of `show servers state`, or such a file) says of the servers of
/// the new configuration, and "down" for those that it does not know.
pub(super) fn carry_over(known: &str, servers: &[Server]) -> String {
    let known = parse(known);
    let mut text = format!("1\n{HEADER}\n");
    for server in servers {
        let address = server.address.to_string();
        let unknown = || Health {
            address: address.clone(),
            operational: STOPPED.to_owned(),
            // HCHK_STATUS_INI: no check has ended yet.
            check_status: "1".to_owned(),
            check_result: "0".to_owned(),
            check_health: "0".to_owned(),
        };
        let health = known
            .get(&(server.backend.clone(), server.name.clone()))
            .filter(|health| health.address == address)
            .cloned()
            .unwrap_or_else(unknown);
        write_line(&mut text, &server.backend, &server.name, &health, (server.weight, server.port));
    }
    text
}

/// A dump without what changes all the time, so that equal health is equal text.
pub(super) fn normalised(dump: &str) -> String {
    let mut text = format!("1\n{HEADER}\n");
    for ((backend, name), mut health) in parse(dump) {
        if health.operational == STOPPED {
            health.check_health = "0".to_owned();
        }
        write_line(&mut text, &backend, &name, &health, (1, 0));
    }
    text
}

fn write_line(text: &mut String, backend: &str, name: &str, health: &Health, (weight, port): (u32, u16)) {
    let Health { address, operational, check_status, check_result, check_health } = health;
    writeln!(
        text,
        "0 {backend} 0 {name} {address} {operational} 0 {weight} {weight} 0 {check_status} {check_result} {check_health} \
         {CHECKED} 0 0 0 - {port} - 0 0 - - 0"
    )
    .expect("a String takes all that is written");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, address: [u8; 4]) -> Server {
        Server {
            backend: "elb:web:http:80".to_owned(),
            name: name.to_owned(),
            address: address.into(),
            port: 80,
            weight: 1,
        }
    }

    #[test]
    fn known_servers_keep_their_health_and_new_ones_begin_down() {
        let dump = "1\n# be_id be_name …\n\
                    3 elb:web:http:80 1 i-1 10.77.0.11 2 0 1 1 7 15 3 4 6 0 0 0 - 80 - 0 80 - - 80\n\
                    3 elb:web:http:80 2 i-gone 10.77.0.12 2 0 1 1 7 15 3 4 6 0 0 0 - 80 - 0 80 - - 80\n";
        let text = carry_over(dump, &[server("i-1", [10, 77, 0, 11]), server("i-2", [10, 77, 0, 13])]);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "0 elb:web:http:80 0 i-1 10.77.0.11 2 0 1 1 0 15 3 4 6 0 0 0 - 80 - 0 0 - - 0",
                "0 elb:web:http:80 0 i-2 10.77.0.13 0 0 1 1 0 1 0 0 6 0 0 0 - 80 - 0 0 - - 0",
            ]
        );
    }

    #[test]
    fn health_at_another_address_is_not_taken_over() {
        let dump = "1\n3 elb:web:http:80 1 i-1 10.77.0.11 2 0 1 1 7 15 3 4 6 0 0 0 - 80 - 0 80 - - 80\n";
        assert!(carry_over(dump, &[server("i-1", [10, 77, 0, 99])]).contains("i-1 10.77.0.99 0 0"));
    }

    #[test]
    fn equal_health_is_equal_text() {
        let dump = |secs: u32| format!("1\n3 b 1 i-1 10.0.0.1 2 0 1 1 {secs} 15 3 4 6 0 0 0 - 80 - 0 80 - - 80\n");
        assert_eq!(normalised(&dump(1)), normalised(&dump(9)));
    }
}
