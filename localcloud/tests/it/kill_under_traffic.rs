//! The daemon is killed at its commits and at its changes of the world, life after life, while a real HAProxy serves:
//! groups grow and shrink, listeners come and go, and no request fails.

use std::{
    net::{IpAddr, Ipv4Addr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use localcloud::{
    drivers::{Drivers, fake::FakeCloud},
    host::netns,
    model::{
        auto_scaling::{AutoScalingGroup, Lifecycle},
        load_balancer::LoadBalancer,
    },
};

use crate::{
    fake_world::FakeWorld,
    haproxy::world::{World, answer, free_port, lasting_client, read_head},
    lives::Lives,
    mortal::{Disk, Life, Moment},
    sandbox::skipped,
};

const LIMIT: Duration = Duration::from_secs(120);
const INSTANCE_PORT: u16 = 8000;
const MOMENTS: [Moment; 4] = [Moment::AfterCall, Moment::BeforeCommit, Moment::AfterCommit, Moment::BeforeCall];

/// A namespace in which every address of the cloud is at home, as long as this lives.
struct Ground(String);

impl Ground {
    async fn new(name: &str) -> Self {
        netns::delete(name).await.unwrap();
        netns::ensure(name).await.unwrap();
        let commands =
            ["link set lo up", "address add 169.254.169.254/32 dev lo", "route add local 10.77.0.0/16 dev lo"];
        netns::ip_batch(name, &commands.map(str::to_owned)).await.unwrap();
        Self(name.to_owned())
    }

    /// The web servers of all instances. Whose instance does not run is not there.
    fn serve(&self, cloud: &FakeCloud) {
        let listen = || TcpListener::bind((Ipv4Addr::UNSPECIFIED, INSTANCE_PORT));
        let listener = netns::within(&self.0, listen).unwrap().unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let cloud = cloud.clone();
        tokio::spawn(async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                let address = stream.local_addr().unwrap().ip();
                let runs =
                    cloud.instances.all().iter().any(|one| one.running && IpAddr::V4(one.spec.private_ip) == address);
                if runs {
                    tokio::spawn(async move {
                        if read_head(&mut stream).await.is_some() {
                            answer(&mut stream, 200, &address.to_string()).await;
                        }
                    });
                }
            }
        });
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let name = self.0.clone();
        let _ = std::process::Command::new("ip").args(["netns", "delete", &name]).status();
    }
}

fn world(disk: &Disk, cloud: &FakeCloud, life: &Life, proxy: &World, namespace: &str) -> FakeWorld {
    // Each daemon has drivers of its own, which know nothing of those before.
    let haproxy = Arc::new(World::driver(&proxy.paths, proxy.port, Some(namespace)));
    let around = |drivers| life.around(Drivers { proxy: haproxy.clone(), ..drivers });
    FakeWorld::over(cloud.clone(), |_| disk.open(life), around)
}

impl Lives {
    /// So many members serve, at the balancer too, and nobody else is there.
    async fn until_serving(&mut self, count: usize) {
        self.until(&format!("{count} members serve"), |world| {
            let (group, balancer) = world.read(|tx| (tx.get::<AutoScalingGroup>("web"), tx.get::<LoadBalancer>("lb")));
            let (Some(group), Some(balancer)) = (group, balancer) else { return false };
            group.members.len() == count
                && group.members.iter().all(|member| member.lifecycle == Lifecycle::InService)
                && balancer.backends.len() == count
                && balancer.backends.values().all(|one| one.healthy == Some(true) && one.draining_since.is_none())
        })
        .await;
    }

    fn desire(&mut self, capacity: &str) {
        let desired = [("AutoScalingGroupName", "web"), ("DesiredCapacity", capacity)];
        self.call("autoscaling", "SetDesiredCapacity", &desired, &[]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_is_killed_again_and_again_fails_no_request() {
    if skipped("a_daemon_that_is_killed_again_and_again_fails_no_request") {
        return;
    }
    let namespace = "localcloud-test-kills";
    let proxy = World::in_namespace("kills", Some(namespace)).await;
    let ground = Ground::new(namespace).await;
    let (disk, cloud, life) = (Disk::default(), FakeCloud::new(), Life::new(None));
    ground.serve(&cloud);
    let proxy = Arc::new(proxy);
    let first = world(&disk, &cloud, &life, &proxy, namespace);
    let mut run = Lives::new((life, first), LIMIT, |_| String::new(), {
        let proxy = Arc::clone(&proxy);
        move |kills| {
            // Some end in what each daemon begins with, the others wherever the work has come to.
            let life = Life::new(Some((MOMENTS[kills % MOMENTS.len()], 1 + kills % 3)));
            let world = world(&disk, &cloud, &life, &proxy, namespace);
            life.begin();
            (life, world)
        }
    });
    let (image, zone) = (run.world.image_id.clone(), run.world.site.home.name.clone());
    let (port, second) = (free_port().await, free_port().await);
    let (port_text, second_text, instance_port) = (port.to_string(), second.to_string(), INSTANCE_PORT.to_string());
    let (elb, asg) = ("elasticloadbalancing", "autoscaling");
    let target = format!("HTTP:{INSTANCE_PORT}/");
    let listener = |port| [("Listeners.member.1.Protocol", "HTTP"), ("Listeners.member.1.LoadBalancerPort", port)];
    let to_instances = ("Listeners.member.1.InstancePort", instance_port.as_str());
    let name = ("LoadBalancerName", "lb");
    let create = [&[name, ("AvailabilityZones.member.1", &zone), to_instances][..], &listener(&port_text)].concat();
    run.call(elb, "CreateLoadBalancer", &create, &[]);
    let check = [
        name,
        ("HealthCheck.Target", &target),
        ("HealthCheck.Interval", "5"),
        ("HealthCheck.Timeout", "2"),
        ("HealthCheck.HealthyThreshold", "2"),
        ("HealthCheck.UnhealthyThreshold", "10"),
    ];
    run.call(elb, "ConfigureHealthCheck", &check, &[]);
    let draining = [
        name,
        ("LoadBalancerAttributes.ConnectionDraining.Enabled", "true"),
        ("LoadBalancerAttributes.ConnectionDraining.Timeout", "30"),
    ];
    run.call(elb, "ModifyLoadBalancerAttributes", &draining, &[]);
    let configuration = [("LaunchConfigurationName", "lc"), ("ImageId", &*image), ("InstanceType", "t3.micro")];
    run.call(asg, "CreateLaunchConfiguration", &configuration, &[]);
    let group = [
        ("AutoScalingGroupName", "web"),
        ("LaunchConfigurationName", "lc"),
        ("MinSize", "1"),
        ("MaxSize", "4"),
        ("DesiredCapacity", "2"),
        ("AvailabilityZones.member.1", &zone),
        ("LoadBalancerNames.member.1", "lb"),
    ];
    run.call(asg, "CreateAutoScalingGroup", &group, &[]);
    run.until_serving(2).await;

    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..3).map(|_| lasting_client(port, &done)).collect();
    // From here on no daemon lives long.
    run.life.end();
    run.desire("4");
    run.until_serving(4).await;
    let more = [&[name, to_instances][..], &listener(&second_text)].concat();
    run.call(elb, "CreateLoadBalancerListeners", &more, &["DuplicateListener"]);
    run.desire("1");
    run.until_serving(1).await;
    let less = [name, ("LoadBalancerPorts.member.1", second_text.as_str())];
    run.call(elb, "DeleteLoadBalancerListeners", &less, &[]);
    run.desire("2");
    run.until_serving(2).await;
    done.store(true, Ordering::SeqCst);
    let mut requests = 0;
    for client in clients {
        requests += client.await.expect("no request failed");
    }
    let kills = run.kills;
    println!("{kills} daemons killed, {requests} requests");
    assert!(kills >= 10 && requests > 200, "{kills} kills, {requests} requests");
    drop(run);
    Arc::into_inner(proxy).unwrap().end().await;
}
