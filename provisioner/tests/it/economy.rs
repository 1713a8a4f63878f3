//! How many calls a command makes, and that none of what they are for is lost by making few.

use std::collections::BTreeSet;

use imagecrud_deploy::error::Exit;
use localcloud::behaviour::Behaviour;

use crate::calls::{is_probe, is_read};
use crate::fake_stack::FakeStack;
use crate::stage::on_deep_stacks;

/// Of an `up` that finds nothing to do, S3's included.
const MOST_CALLS: usize = 25;

/// The calls of an `up`, by name.
async fn calls_of_up(stack: &FakeStack) -> Vec<String> {
    stack.proxy.expect(None);
    assert_eq!(stack.run(&["up"]).await.unwrap(), Exit::Done);
    stack.proxy.calls().0.iter().map(ToString::to_string).collect()
}

async fn second_up_is_cheap(behaviour: Behaviour) {
    let stack = FakeStack::start(behaviour).await;
    calls_of_up(&stack).await;
    let again = calls_of_up(&stack).await;
    assert!(again.len() <= MOST_CALLS, "{} calls:\n{}", again.len(), again.join("\n"));
    let (calls, _) = stack.proxy.calls();
    let changing: Vec<_> = calls.iter().filter(|call| !is_read(call.action()) || is_probe(call)).collect();
    assert!(changing.is_empty(), "nothing is tried on a cloud that is as it should be: {changing:?}");
    let kinds: BTreeSet<&str> = calls.iter().map(|call| call.name.as_str()).collect();
    assert_eq!(kinds.len(), calls.len(), "nothing is asked twice: {calls:?}");
    println!("{behaviour:?}: {} calls of {MOST_CALLS}\n{}", again.len(), again.join("\n"));
}

#[test]
fn up_with_nothing_to_do_makes_at_most_25_calls() {
    on_deep_stacks(second_up_is_cheap(Behaviour::Everything));
}

#[test]
fn up_with_nothing_to_do_makes_at_most_25_calls_by_launch_configurations_as_on_eucalyptus() {
    on_deep_stacks(second_up_is_cheap(Behaviour::Eucalyptus44));
}

#[test]
fn up_with_nothing_to_do_makes_at_most_25_calls_by_users_keys_without_instance_profiles() {
    on_deep_stacks(second_up_is_cheap(Behaviour::WithoutInstanceProfiles));
}

#[test]
fn up_with_nothing_to_do_makes_at_most_25_calls_as_on_aws() {
    on_deep_stacks(second_up_is_cheap(Behaviour::Aws));
}

#[test]
fn what_changed_by_hand_is_noticed_with_few_calls_too_and_mended_with_what_the_cloud_can_do_now() {
    on_deep_stacks(async {
        let stack = FakeStack::start(Behaviour::Everything).await;
        calls_of_up(&stack).await;
        let standing = stack.listing().await;
        let clients = &stack.clients;
        let region = &clients.endpoints.region;
        let put = clients.iam.put_role_policy().role_name(format!("matrix-{region}-web")).policy_name("imagecrud");
        let nothing = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}"#;
        put.policy_document(nothing).send().await.unwrap();
        let policy = clients.autoscaling.put_scaling_policy().auto_scaling_group_name("matrix-web");
        let policy = policy.policy_name("scale-in").adjustment_type("ChangeInCapacity").scaling_adjustment(-2);
        policy.send().await.unwrap();
        clients.cloudwatch.delete_alarms().alarm_names("matrix-cpu-low").send().await.unwrap();
        let groups = clients.ec2.describe_security_groups().send().await.unwrap();
        let web = groups.security_groups().iter().find(|group| group.group_name() == Some("matrix-web")).unwrap();
        let open = clients.ec2.authorize_security_group_ingress().group_id(web.group_id().unwrap()).ip_protocol("tcp");
        open.from_port(8000).to_port(8000).cidr_ip("0.0.0.0/0").send().await.unwrap();
        assert_ne!(stack.listing().await, standing);

        let calls = calls_of_up(&stack).await;
        assert_eq!(stack.listing().await, standing);
        let asks = |what: &str| calls.iter().any(|call| call.contains(what));
        for mended in ["iam.PutRolePolicy", "PutScalingPolicy", "PutMetricAlarm", "RevokeSecurityGroupIngress"] {
            assert!(asks(mended), "{mended} is missing:\n{}", calls.join("\n"));
        }
        assert!(asks("matrix-probe"), "what it can do is asked before it is done:\n{}", calls.join("\n"));
    });
}
