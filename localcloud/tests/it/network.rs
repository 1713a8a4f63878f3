//! The cloud's network with real machines on it: leases, names, and what the firewall lets through.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::Duration,
};

use localcloud::{
    drivers::{
        AllowRule, Change, Host, InstanceDriver as _, InstanceSpec, NetworkChange, NetworkDriver as _, NetworkPlan,
        Protocol, Source,
    },
    host::{command::Command, netns, process::PidFile},
};

use crate::sandbox::{Sandbox, announced, skipped};

/// What Python's web server answers with. Some networks answer for every address there is, so an answer alone says
/// nothing about who gave it.
const GREETING: &str = "Directory listing for /";

/// The same network, in which the machine's group lets this in.
fn allowing(mut plan: NetworkPlan, to: &InstanceSpec, port: u16, from: &str) -> NetworkPlan {
    let from = Source::Block(from.to_owned());
    let rule = AllowRule { protocol: Protocol::Tcp, ports: Some((port, port)), from };
    plan.hosts.get_mut(&to.private_ip).unwrap().groups = BTreeSet::from(["sg-server".to_owned()]);
    plan.rules.insert("sg-server".to_owned(), BTreeSet::from([rule]));
    plan
}

fn fetch(address: Ipv4Addr, port: u16) -> String {
    format!("curl --silent --show-error --output /dev/null --max-time 2 http://{address}:{port}/")
}

/// What makes the one plan the other.
fn difference(before: &NetworkPlan, after: &NetworkPlan) -> NetworkChange {
    fn of<K: Clone + Ord, T: Clone>(before: &BTreeMap<K, T>, after: &BTreeMap<K, T>) -> BTreeMap<K, Change<T>> {
        let keys = before.keys().chain(after.keys());
        let change = |key: &K| Change { before: before.get(key).cloned(), after: after.get(key).cloned() };
        keys.map(|key| (key.clone(), change(key))).collect()
    }
    NetworkChange {
        hosts: of(&before.hosts, &after.hosts),
        rules: of(&before.rules, &after.rules),
        balancers: of(&before.balancers, &after.balancers),
    }
    .without_equals()
}

fn come(spec: &InstanceSpec) -> NetworkChange {
    announced(&[spec]).as_change()
}

/// Starts web servers in the guest.
async fn serve(sandbox: &Sandbox, id: &str, ports: &[u16]) {
    for port in ports {
        // It does not wait for the guest's boot, which waits for a metadata service that is not there.
        let start = format!(
            "systemd-run --quiet --property=DefaultDependencies=no --unit=web-{port} python3 -m http.server {port}"
        );
        sandbox.in_guest(id, &start).await.unwrap();
        sandbox.eventually_in_guest(id, &fetch(Ipv4Addr::LOCALHOST, *port)).await;
    }
}

#[tokio::test]
async fn only_what_a_rule_allows_reaches_a_machine() {
    if skipped("only_what_a_rule_allows_reaches_a_machine") {
        return;
    }
    let sandbox = Sandbox::new().await;
    let (server, client) = (sandbox.spec(11).await, sandbox.spec(12).await);
    sandbox.network.start().await.unwrap();
    let allow = |from: &str| allowing(announced(&[&server, &client]), &server, 8000, from);
    sandbox.network.set(&allow("10.77.0.12/32")).await.unwrap();
    tokio::try_join!(sandbox.instances.launch(&server), sandbox.instances.launch(&client)).unwrap();
    sandbox.wait_for_lease(&server.id, server.private_ip).await;
    sandbox.wait_for_lease(&client.id, client.private_ip).await;
    serve(&sandbox, &server.id, &[8000, 8001]).await;

    sandbox.in_guest(&client.id, &fetch(server.private_ip, 8000)).await.unwrap();
    assert!(sandbox.in_guest(&client.id, &fetch(server.private_ip, 8001)).await.is_err(), "port 8001 is open");
    // A start over what runs changes nothing of it.
    sandbox.network.start().await.unwrap();
    sandbox.in_guest(&client.id, &fetch(server.private_ip, 8000)).await.unwrap();

    // An address that is not the machine's own does not help it, even one that is allowed.
    sandbox.network.set(&allow("10.77.0.99/32")).await.unwrap();
    sandbox.in_guest(&client.id, "ip address add 10.77.0.99/32 dev host0").await.unwrap();
    let spoofed = fetch(server.private_ip, 8000).replace("curl", "curl --interface 10.77.0.99");
    assert!(sandbox.in_guest(&client.id, &spoofed).await.is_err(), "a borrowed address got through");
    assert!(
        sandbox.in_guest(&client.id, &fetch(server.private_ip, 8000)).await.is_err(),
        "a rule that is gone still lets in"
    );

    // The host's own namespace does not know these machines.
    sandbox.network.set(&allow("0.0.0.0/0")).await.unwrap();
    let ask = format!(
        "exec 3<>/dev/tcp/{}/8000; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; timeout 2 cat <&3",
        server.private_ip
    );
    let ask = Command::new("bash").args(["-c", &ask]).limit(Duration::from_secs(3));
    let said_to_host = ask.clone().run().await.unwrap_or_default();
    assert!(!said_to_host.contains(GREETING), "a machine can be reached from the host");
    // The proxy reaches it from inside, and nothing reaches out.
    let said_to_gateway = ask.in_netns(&sandbox.paths.unique_name()).run().await.unwrap();
    assert!(said_to_gateway.contains(GREETING), "{said_to_gateway}");
    assert!(sandbox.in_guest(&client.id, &fetch(Ipv4Addr::new(192, 0, 2, 1), 80)).await.is_err());
}

#[tokio::test]
async fn machines_have_their_names_and_a_reserved_address() {
    if skipped("machines_have_their_names_and_a_reserved_address") {
        return;
    }
    let sandbox = Sandbox::new().await;
    let (known, stranger) = (sandbox.spec(11).await, sandbox.spec(12).await);
    sandbox.network.start().await.unwrap();
    sandbox.network.set(&announced(&[&known])).await.unwrap();
    tokio::try_join!(sandbox.instances.launch(&stranger), sandbox.instances.launch(&known)).unwrap();
    sandbox.wait_for_lease(&known.id, known.private_ip).await;
    let resolved = sandbox.in_guest(&known.id, "getent hosts ip-10-77-0-11.ec2.internal").await.unwrap();
    assert!(resolved.contains("10.77.0.11"), "{resolved}");
    assert!(sandbox.in_guest(&known.id, "timeout 2 getent hosts example.com").await.is_err());
    let routes = sandbox.in_guest(&known.id, "ip route show default").await.unwrap();
    assert!(routes.contains("via 10.77.0.1 "), "{routes}");
    let addresses = sandbox.in_guest(&stranger.id, "ip -4 -o address show dev host0").await.unwrap();
    assert_eq!(addresses, "", "a machine that nobody announced has an address");

    // Announced later, it is served.
    sandbox.network.change(&come(&stranger)).await.unwrap();
    sandbox.wait_for_lease(&stranger.id, stranger.private_ip).await;
}

/// Machines that stay have it in their neighbour tables; were it to change, they would lose each other for a minute.
#[tokio::test]
async fn the_bridge_keeps_its_hardware_address_while_machines_come_and_go() {
    if skipped("the_bridge_keeps_its_hardware_address_while_machines_come_and_go") {
        return;
    }
    let sandbox = Sandbox::new().await;
    sandbox.network.start().await.unwrap();
    let address = || {
        // Unlike nsenter, `ip netns exec` shows the namespace's own /sys.
        let namespace = sandbox.paths.unique_name();
        Command::new("ip").args(["netns", "exec", &namespace, "cat", "/sys/class/net/br0/address"]).run()
    };
    let before = address().await.unwrap();
    let specs = [sandbox.spec(11).await, sandbox.spec(12).await];
    sandbox.network.set(&announced(&[&specs[0], &specs[1]])).await.unwrap();
    for spec in &specs {
        sandbox.instances.launch(spec).await.unwrap();
        assert_eq!(address().await.unwrap(), before);
    }
    for spec in &specs {
        sandbox.instances.terminate(&spec.id).await.unwrap();
        assert_eq!(address().await.unwrap(), before);
    }
}

#[tokio::test]
async fn an_address_passes_to_a_successor() {
    if skipped("an_address_passes_to_a_successor") {
        return;
    }
    let sandbox = Sandbox::new().await;
    let first = sandbox.spec(11).await;
    sandbox.network.start().await.unwrap();
    sandbox.network.set(&announced(&[&first])).await.unwrap();
    sandbox.instances.launch(&first).await.unwrap();
    sandbox.wait_for_lease(&first.id, first.private_ip).await;
    sandbox.instances.terminate(&first.id).await.unwrap();
    let second =
        InstanceSpec { private_ip: first.private_ip, hostname: first.hostname.clone(), ..sandbox.spec(12).await };
    let passed = difference(&announced(&[&first]), &announced(&[&second]));
    sandbox.network.change(&passed).await.unwrap();
    sandbox.instances.launch(&second).await.unwrap();
    sandbox.wait_for_lease(&second.id, second.private_ip).await;
}

#[tokio::test]
async fn a_network_is_mended_and_leaves_nothing() {
    if skipped("a_network_is_mended_and_leaves_nothing") {
        return;
    }
    let sandbox = Sandbox::new().await;
    let name = sandbox.paths.unique_name();
    sandbox.network.start().await.unwrap();
    let dnsmasq = PidFile::new(sandbox.paths.pid_file("dnsmasq"));
    let first = dnsmasq.process().unwrap();
    first.stop(Duration::from_secs(5)).await;
    Command::new("ip").args(["-n", &name, "link", "delete", "br0"]).run().await.unwrap();
    assert!(sandbox.network.start().await.unwrap(), "that it was mended is told");
    assert!(!sandbox.network.start().await.unwrap(), "and then there is nothing to mend");
    let second = dnsmasq.process().unwrap();
    assert_ne!(first, second);

    let address = |n| Ipv4Addr::new(10, 77, 0, n);
    for wanted in [vec![5, 6], vec![6, 7], vec![]] {
        let wanted: BTreeSet<Ipv4Addr> = wanted.into_iter().map(address).collect();
        let balancers = wanted.iter().map(|address| (*address, BTreeSet::new())).collect();
        sandbox.network.set(&NetworkPlan { balancers, ..NetworkPlan::default() }).await.unwrap();
        let show =
            Command::new("ip").args(["-n", &name, "-4", "-o", "address", "show", "dev", "br0"]).run().await.unwrap();
        for n in 5..8 {
            let present = show.contains(&format!("{}/32", address(n)));
            assert_eq!(present, wanted.contains(&address(n)), "{} in {show}", address(n));
        }
        assert!(show.contains("10.77.0.1/16") && show.contains("169.254.169.254/32"), "{show}");
    }

    sandbox.network.stop().await.unwrap();
    sandbox.network.stop().await.unwrap();
    assert!(!second.is_alive());
    assert!(!netns::path(&name).exists());
}

/// A machine as it would be announced, without being one.
fn host(last: u8, groups: &[&str]) -> (Ipv4Addr, Host) {
    let address = Ipv4Addr::new(10, 77, 0, last);
    let groups = groups.iter().map(|&group| group.to_owned()).collect();
    let hostname = format!("ip-10-77-0-{last}");
    (address, Host { mac_address: format!("02:00:0a:4d:00:{last:02x}"), address, hostname, groups })
}

fn rule(port: u16, from: &str) -> AllowRule {
    let is_group = from.starts_with("sg-");
    let from = if is_group { Source::Group(from.to_owned()) } else { Source::Block(from.to_owned()) };
    AllowRule { protocol: Protocol::Tcp, ports: Some((port, port)), from }
}

/// What there is of a network, apart from what is empty: chains, sets and maps by name with their lines in order, the
/// bridge's addresses, and the files of dnsmasq.
async fn portrait(sandbox: &Sandbox) -> BTreeMap<String, BTreeSet<String>> {
    let name = sandbox.paths.unique_name();
    let list = Command::new("nft").args(["-nn", "list", "table", "inet", "localcloud"]).in_netns(&name);
    let text = list.run().await.unwrap().replace("elements = {", "").replace(",\n", "\n");
    let mut parts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut part = String::new();
    for line in text.lines().map(str::trim) {
        if let Some(title) = line.strip_suffix('{') {
            title.trim().clone_into(&mut part);
        } else if !line.is_empty() && line != "}" {
            let elements = line.split(", ").map(|element| element.trim_matches(|c| " ,}".contains(c)).to_owned());
            parts.entry(part.clone()).or_default().extend(elements.filter(|element| !element.starts_with("type ")));
        }
    }
    let bridge = Command::new("ip").args(["-n", &name, "-4", "-o", "address", "show", "dev", "br0"]).run().await;
    let addresses =
        bridge.unwrap().lines().filter_map(|line| Some(line.split_whitespace().nth(3)?.to_owned())).collect();
    parts.insert("bridge".to_owned(), addresses);
    for directory in ["dhcp-hosts.d", "dns-hosts.d"] {
        let files = std::fs::read_dir(sandbox.paths.generated(directory)).unwrap().flatten();
        let lines = files.map(|file| std::fs::read_to_string(file.path()).unwrap());
        parts.insert(directory.to_owned(), lines.collect());
    }
    parts.retain(|_, lines| !lines.is_empty());
    parts
}

#[tokio::test]
async fn changes_one_after_the_other_come_to_what_the_whole_does() {
    if skipped("changes_one_after_the_other_come_to_what_the_whole_does") {
        return;
    }
    let (changed, told) = (Sandbox::new().await, Sandbox::new().await);
    let plan = |hosts: &[(Ipv4Addr, Host)], rules: &[(&str, &[AllowRule])], balancers: &[(u8, &str)]| NetworkPlan {
        hosts: hosts.iter().cloned().collect(),
        rules: rules.iter().map(|(group, rules)| ((*group).to_owned(), rules.iter().cloned().collect())).collect(),
        balancers: balancers
            .iter()
            .map(|(last, group)| (Ipv4Addr::new(10, 77, 255, *last), BTreeSet::from([(*group).to_owned()])))
            .collect(),
    };
    let web = [rule(80, "sg-lb"), rule(22, "0.0.0.0/0")];
    let database = [rule(3306, "sg-web")];
    let mut renewed = host(12, &["sg-web"]);
    renewed.1.mac_address = "02:00:0a:4d:01:0c".to_owned();
    let plans = [
        plan(&[host(11, &["sg-web"])], &[("sg-web", &web), ("sg-db", &database)], &[(1, "sg-lb")]),
        plan(
            &[host(11, &["sg-web"]), host(12, &["sg-db", "sg-web"]), host(13, &["sg-db"])],
            &[("sg-web", &web), ("sg-db", &database)],
            &[(1, "sg-lb"), (2, "sg-web")],
        ),
        // The first one's end has begun, the second's group is another, its balancer's too, and a rule is gone.
        plan(
            &[host(11, &[]), host(12, &["sg-web"]), host(13, &["sg-db"])],
            &[("sg-web", &web[..1]), ("sg-db", &database)],
            &[(1, "sg-db"), (2, "sg-web")],
        ),
        // An address passes to another machine, and a group goes.
        plan(&[renewed, host(13, &["sg-web"])], &[("sg-web", &web)], &[(2, "sg-web")]),
    ];
    for network in [&changed.network, &told.network] {
        assert!(network.start().await.unwrap());
        network.set(&plans[0]).await.unwrap();
    }
    for pair in plans.windows(2) {
        changed.network.change(&difference(&pair[0], &pair[1])).await.unwrap();
        told.network.set(&pair[1]).await.unwrap();
        let (one, other) = (portrait(&changed).await, portrait(&told).await);
        // Chains and combinations that nothing leads to any more may be left until the whole is told.
        for (name, lines) in &other {
            assert_eq!(one.get(name), Some(lines), "{name}");
        }
        changed.network.set(&pair[1]).await.unwrap();
        assert_eq!(portrait(&changed).await, other, "the whole over changes");
    }
}
