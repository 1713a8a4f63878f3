//! Every operation, told wrong things by the service models of its own clients.

use std::collections::BTreeMap;

use localcloud::api;

use crate::{
    boto3::{Front, while_living},
    fake_world::FakeWorld,
};

const SCRIPT: &str = include_str!("operations.py");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_names_the_parameter_that_is_missing_malformed_or_unknown() {
    let mut world = FakeWorld::new();
    let services = api::services();
    let actions: BTreeMap<&str, Vec<&str>> =
        services.iter().map(|service| (service.signing_name, service.actions().collect())).collect();
    let script = format!("ACTIONS = {}\n{SCRIPT}", serde_json::to_string(&actions).unwrap());
    let front = Front::serve(&world).await;
    if let Some(said) = while_living(&mut world, front.run(&script)).await {
        assert!(said.starts_with("refused "), "{said}");
        let count: usize = said["refused ".len()..].parse().unwrap();
        assert!(count > 1000, "{said}");
    }
}
