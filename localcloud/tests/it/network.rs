//! The cloud's network with real machines on it: leases, names, and what the firewall lets through.

use std::{collections::BTreeSet, net::Ipv4Addr, time::Duration};

use localcloud::{
    drivers::{AllowRule, Host, InstanceDriver as _, InstanceSpec, NetworkDriver as _, Protocol},
    host::{command::Command, netns, process::PidFile},
};

use crate::sandbox::{Sandbox, skipped};

/// What Python's web server answers with. Some networks answer for every address there is, so an answer alone says
/// nothing about who gave it.
const GREETING: &str = "Directory listing for /";

fn host(spec: &InstanceSpec) -> Host {
    Host { mac_address: spec.mac_address.clone(), address: spec.private_ip, hostname: spec.hostname.clone() }
}

fn allow(to: &InstanceSpec, port: u16, from: &str) -> AllowRule {
    AllowRule {
        to: BTreeSet::from([to.private_ip]),
        protocol: Protocol::Tcp,
        ports: Some((port, port)),
        from: BTreeSet::from([from.to_owned()]),
    }
}

fn fetch(address: Ipv4Addr, port: u16) -> String {
    format!("curl --silent --show-error --output /dev/null --max-time 2 http://{address}:{port}/")
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
    sandbox.network.set_hosts(&BTreeSet::from([host(&server), host(&client)])).await.unwrap();
    sandbox.network.set_rules(&BTreeSet::from([allow(&server, 8000, "10.77.0.12/32")])).await.unwrap();
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
    sandbox.network.set_rules(&BTreeSet::from([allow(&server, 8000, "10.77.0.99/32")])).await.unwrap();
    sandbox.in_guest(&client.id, "ip address add 10.77.0.99/32 dev host0").await.unwrap();
    let spoofed = fetch(server.private_ip, 8000).replace("curl", "curl --interface 10.77.0.99");
    assert!(sandbox.in_guest(&client.id, &spoofed).await.is_err(), "a borrowed address got through");
    assert!(
        sandbox.in_guest(&client.id, &fetch(server.private_ip, 8000)).await.is_err(),
        "a rule that is gone still lets in"
    );

    // The host's own namespace does not know these machines.
    sandbox.network.set_rules(&BTreeSet::from([allow(&server, 8000, "0.0.0.0/0")])).await.unwrap();
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
    sandbox.network.set_hosts(&BTreeSet::from([host(&known)])).await.unwrap();
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
    sandbox.network.set_hosts(&BTreeSet::from([host(&known), host(&stranger)])).await.unwrap();
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
    sandbox.network.set_hosts(&specs.iter().map(host).collect()).await.unwrap();
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
    sandbox.network.set_hosts(&BTreeSet::from([host(&first)])).await.unwrap();
    sandbox.instances.launch(&first).await.unwrap();
    sandbox.wait_for_lease(&first.id, first.private_ip).await;
    sandbox.instances.terminate(&first.id).await.unwrap();
    let second =
        InstanceSpec { private_ip: first.private_ip, hostname: first.hostname.clone(), ..sandbox.spec(12).await };
    sandbox.network.set_hosts(&BTreeSet::from([host(&second)])).await.unwrap();
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
    sandbox.network.start().await.unwrap();
    let second = dnsmasq.process().unwrap();
    assert_ne!(first, second);

    let address = |n| Ipv4Addr::new(10, 77, 0, n);
    for wanted in [vec![5, 6], vec![6, 7], vec![]] {
        let wanted: BTreeSet<Ipv4Addr> = wanted.into_iter().map(address).collect();
        sandbox.network.set_balancer_addresses(&wanted).await.unwrap();
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
