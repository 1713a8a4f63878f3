//! What a change costs network and proxy: records looked at and things told, which no machine makes faster or slower. It
//! must not grow with what did not change.

use std::{net::Ipv4Addr, sync::Arc};

use localcloud::{
    drivers::Balancer,
    model::{
        instance::{Instance, InstanceState},
        load_balancer::{Backend, LoadBalancer},
        security_group::{Rule, RuleSource, SecurityGroup},
        time::Timestamp,
    },
    reconcile::{load_balancers::LoadBalancers, network::Network, runner::Reconciler},
    store::StoreError,
};

use super::fake_world::FakeWorld;

const ELB: &str = "elasticloadbalancing";
/// Instances of one balancer.
const BEHIND_ONE: usize = 10;
/// The group of two instances only.
const SMALL_GROUP: &str = "sg-small";

/// A cloud of so many instances behind a tenth as many balancers, with ports that are open to the world.
struct Cloud {
    world: FakeWorld,
    network: Network,
    proxy: LoadBalancers,
    instance: Instance,
}

/// What a change came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    records: u64,
    told_to_network: usize,
    balancers_of_another_plan: usize,
}

impl Cloud {
    async fn of(size: usize) -> Self {
        let mut world = FakeWorld::new();
        let image = world.image_id.clone();
        let run = [("ImageId", image.as_str()), ("MinCount", "1"), ("MaxCount", "1")];
        let id = world.call("ec2", "RunInstances", &run).unwrap().text("instancesSet.0.instanceId");
        let state =
            |world: &FakeWorld, id: &str| world.read(|tx| tx.get::<Instance>(id).map(|instance| instance.state));
        world.until("one runs", |world| state(world, &id) == Some(InstanceState::Running)).await;
        let balancer = [
            ("LoadBalancerName", "lb-0"),
            ("AvailabilityZones.member.1", "PARTI00"),
            ("Listeners.member.1.Protocol", "HTTP"),
            ("Listeners.member.1.LoadBalancerPort", "8080"),
            ("Listeners.member.1.InstancePort", "80"),
        ];
        world.call(ELB, "CreateLoadBalancer", &balancer).unwrap();
        let instance = world.read(|tx| Instance::clone(&*tx.get::<Instance>(&id).unwrap()));
        let balancer = world.read(|tx| LoadBalancer::clone(&*tx.get::<LoadBalancer>("lb-0").unwrap()));
        let group =
            world.read(|tx| SecurityGroup::clone(&*tx.get::<SecurityGroup>(&instance.security_group_ids[0]).unwrap()));
        let rule = Rule {
            id: "sgr-1".into(),
            protocol: "tcp".into(),
            ports: Some((22, 22)),
            source: RuleSource::Cidr("0.0.0.0/0".into()),
            description: None,
        };
        let cloud = Self { world, network: Network::default(), proxy: LoadBalancers::default(), instance };
        cloud.put(|tx| {
            let ingress = vec![rule.clone()];
            tx.put(SecurityGroup { ingress, ..group.clone() });
            tx.put(SecurityGroup { id: SMALL_GROUP.into(), name: "small".into(), ingress: Vec::new(), ..group });
            for number in 0..size {
                let mut instance = cloud.numbered(number);
                if number < 2 {
                    instance.security_group_ids.push(SMALL_GROUP.into());
                }
                tx.put(instance);
            }
            for number in 0..size / BEHIND_ONE {
                let mut balancer = LoadBalancer { name: format!("lb-{number}"), ..balancer.clone() };
                balancer.address = Ipv4Addr::new(10, 77, 255, u8::try_from(number + 1).unwrap());
                balancer.listeners[0].load_balancer_port = 10_000 + u16::try_from(number).unwrap();
                let behind = (0..BEHIND_ONE).map(|index| (id_of(number * BEHIND_ONE + index), backend()));
                balancer.backends = behind.collect();
                tx.put(balancer);
            }
        });
        cloud
    }

    fn numbered(&self, number: usize) -> Instance {
        let mut instance = self.instance.clone();
        let last = u16::try_from(number + 100).unwrap();
        let [third, fourth] = last.to_be_bytes();
        instance.id = id_of(number);
        instance.private_ip = Ipv4Addr::new(10, 77, third, fourth);
        instance.public_ip = Ipv4Addr::new(127, 77, third, fourth);
        instance.mac_address = format!("02:00:0a:4d:{third:02x}:{fourth:02x}");
        instance
    }

    fn put(&self, change: impl FnOnce(&mut localcloud::store::Transaction<'_>)) {
        let written = self.world.store.transact(|tx| {
            change(tx);
            Ok::<_, StoreError>(())
        });
        written.unwrap();
    }

    fn balancers(&self) -> Vec<Arc<Balancer>> {
        self.world.cloud.proxy.plan().map(|plan| plan.balancers).unwrap_or_default()
    }

    /// What it takes until network and proxy have followed.
    async fn cost(&mut self) -> Cost {
        let (records, told) = (self.world.store.handed_out(), self.world.cloud.network.state().told);
        let before = self.balancers();
        // The health that the proxy reports is written, which is a change of its own.
        for _ in 0..3 {
            self.network.reconcile(self.world.context()).await.unwrap();
            self.proxy.reconcile(self.world.context()).await.unwrap();
        }
        let after = self.balancers();
        let others = after.iter().filter(|balancer| !before.iter().any(|known| Arc::ptr_eq(known, balancer)));
        Cost {
            records: self.world.store.handed_out() - records,
            told_to_network: self.world.cloud.network.state().told - told,
            balancers_of_another_plan: others.count(),
        }
    }

    /// Changes of one thing each.
    async fn costs(&mut self, size: usize) -> Vec<(&'static str, Cost)> {
        let mut costs = Vec::new();
        let all = self.cost().await;
        assert!(all.records as usize > size && all.told_to_network > size, "at first everything is looked at: {all:?}");
        let newcomer = self.numbered(size + 1);
        self.put(|tx| tx.put(newcomer.clone()));
        costs.push(("an instance comes", self.cost().await));
        self.put(|tx| {
            tx.update::<Instance>(&newcomer.id, |instance| drop(instance.tags.insert("a".into(), "b".into())));
        });
        costs.push(("an instance is tagged", self.cost().await));
        self.put(|tx| {
            tx.update::<LoadBalancer>("lb-1", |lb| drop(lb.backends.insert(newcomer.id.clone(), backend())));
        });
        costs.push(("an instance is registered", self.cost().await));
        self.put(|tx| {
            tx.update::<LoadBalancer>("lb-1", |lb| lb.idle_timeout_secs += 1);
        });
        costs.push(("a balancer is changed", self.cost().await));
        self.put(|tx| {
            tx.update::<SecurityGroup>(SMALL_GROUP, |group| {
                let source = RuleSource::Group(SMALL_GROUP.into());
                let rule = Rule {
                    id: "sgr-2".into(),
                    protocol: "tcp".into(),
                    ports: Some((80, 80)),
                    source,
                    description: None,
                };
                group.ingress.push(rule);
            });
        });
        costs.push(("a group lets more in", self.cost().await));
        self.put(|tx| {
            tx.update::<Instance>(&newcomer.id, |instance| instance.state = InstanceState::Terminated);
        });
        costs.push(("an instance goes", self.cost().await));
        costs
    }
}

fn id_of(number: usize) -> String {
    format!("i-{number:017x}")
}

fn backend() -> Backend {
    Backend {
        registered: Timestamp::now(),
        draining_since: None,
        healthy: None,
        passing: false,
        last_check: String::new(),
        current_sessions: 0,
    }
}

#[tokio::test]
async fn a_change_costs_network_and_proxy_what_changed_however_large_the_cloud() {
    let (small, large) = (Cloud::of(40).await.costs(40).await, Cloud::of(800).await.costs(800).await);
    for ((what, small), (_, large)) in small.iter().zip(&large) {
        println!("{what}: {small:?} of 40, {large:?} of 800");
        assert_eq!(small.told_to_network, large.told_to_network, "{what}");
        assert_eq!(small.balancers_of_another_plan, large.balancers_of_another_plan, "{what}");
        // A balancer that something is awaited of may be looked at once more, or not, as time goes by.
        assert!(large.records <= small.records + 3 * (BEHIND_ONE as u64 + 3), "{what}: {small:?}, {large:?}");
        assert!(large.told_to_network <= 1 && large.balancers_of_another_plan <= 1, "{what}: {large:?}");
    }
}
