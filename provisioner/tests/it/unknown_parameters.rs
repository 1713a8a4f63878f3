//! Clouds that refuse a call for one parameter of it which others take.

use std::process::Stdio;

use imagecrud_deploy::error::Exit;
use localcloud::behaviour::Behaviour;

use crate::calls::{Call, is_probe};
use crate::fake_stack::FakeStack;
use crate::faulty_proxy::Fault;
use crate::stage::on_deep_stacks;

const TEARDOWN: &[&str] = &["teardown", "--yes", "--delete-data"];

/// A cloud as Eucalyptus 4.4.2 is by its source: its CreateVolume binds no ClientToken (StorageMessages, ComputeMessages).
async fn without_tokens_of_volumes() -> FakeStack {
    let stack = FakeStack::start(Behaviour::Eucalyptus44).await;
    stack.unknown.lock().unwrap().push(("CreateVolume", "ClientToken"));
    stack
}

fn calls_of(stack: &FakeStack, action: &str) -> Vec<Call> {
    let (calls, _) = stack.proxy.calls();
    calls.into_iter().filter(|call| call.action() == action && !is_probe(call)).collect()
}

#[test]
fn a_volume_is_made_without_the_token_that_sdks_add_where_the_cloud_refuses_it() {
    on_deep_stacks(async {
        let usual = FakeStack::start(Behaviour::Eucalyptus44).await;
        let nothing = usual.listing().await;
        assert_eq!(usual.run(&["up"]).await.unwrap(), Exit::Done);

        let stack = without_tokens_of_volumes().await;
        stack.proxy.expect(None);
        assert_eq!(stack.run(&["up"]).await.unwrap(), Exit::Done);
        let calls = calls_of(&stack, "CreateVolume");
        assert_eq!(calls.len(), 1, "the refusal is asked for before anything is made: {calls:?}");
        assert_eq!(stack.listing().await, usual.listing().await);
        assert_eq!(stack.run(TEARDOWN).await.unwrap(), Exit::Done);
        assert_eq!(stack.listing().await, nothing);
    });
}

#[test]
fn without_a_token_one_volume_comes_of_a_call_that_fails_before_its_effect_or_after_it() {
    on_deep_stacks(async {
        let stack = without_tokens_of_volumes().await;
        let nothing = stack.listing().await;
        stack.proxy.expect(None);
        assert_eq!(stack.run(&["up"]).await.unwrap(), Exit::Done);
        let create = calls_of(&stack, "CreateVolume").remove(0);
        let standing = stack.listing().await;
        assert_eq!(stack.run(TEARDOWN).await.unwrap(), Exit::Done);
        for (fault, heals) in
            [(Fault::After, true), (Fault::AfterOnce, true), (Fault::Before, false), (Fault::Throttled, false)]
        {
            stack.proxy.expect(Some((create.clone(), fault)));
            let first = stack.run(&["up"]).await;
            let (_, struck) = stack.proxy.calls();
            assert!(struck, "{fault:?}");
            if heals {
                assert_eq!(first.unwrap(), Exit::Done, "{fault:?}: the volume is found by looking");
            }
            stack.proxy.expect(None);
            assert_eq!(stack.run(&["up"]).await.unwrap(), Exit::Done, "{fault:?}");
            assert_eq!(stack.listing().await, standing, "{fault:?}");
            assert_eq!(stack.run(TEARDOWN).await.unwrap(), Exit::Done, "{fault:?}");
            assert_eq!(stack.listing().await, nothing, "{fault:?}");
        }
    });
}

#[test]
fn without_a_token_somebody_elses_volume_is_not_taken_for_one_whose_answer_was_lost() {
    on_deep_stacks(async {
        let stack = without_tokens_of_volumes().await;
        stack.proxy.expect(None);
        assert_eq!(stack.run(&["up"]).await.unwrap(), Exit::Done);
        let create = calls_of(&stack, "CreateVolume").remove(0);
        assert_eq!(stack.run(TEARDOWN).await.unwrap(), Exit::Done);

        // As large, in the same zone, without tags, and there before.
        let zones = stack.clients.ec2.describe_availability_zones().send().await.unwrap();
        let zone = zones.availability_zones()[0].zone_name().unwrap();
        let foreign = stack.clients.ec2.create_volume().availability_zone(zone).size(10).send().await.unwrap();
        stack.proxy.expect(Some((create, Fault::After)));
        assert_eq!(stack.run(&["up"]).await.unwrap(), Exit::Done);
        stack.proxy.expect(None);
        let shown = stack.clients.ec2.describe_volumes().send().await.unwrap();
        let tagged: Vec<(&str, bool)> =
            shown.volumes().iter().map(|v| (v.volume_id().unwrap(), !v.tags().is_empty())).collect();
        assert_eq!(tagged.len(), 2, "{tagged:?}");
        assert!(tagged.contains(&(foreign.volume_id().unwrap(), false)), "{tagged:?}");
        assert!(tagged.iter().any(|(_, is_tagged)| *is_tagged), "{tagged:?}");
    });
}

#[test]
fn where_the_cloud_knows_no_types_of_keys_it_makes_the_one_type_that_it_has() {
    on_deep_stacks(async {
        let usual = FakeStack::start(Behaviour::Eucalyptus44).await;
        assert_eq!(usual.run(&["up"]).await.unwrap(), Exit::Done);

        let stack = FakeStack::start(Behaviour::Eucalyptus44).await;
        stack.unknown.lock().unwrap().push(("CreateKeyPair", "KeyType"));
        stack.proxy.expect(None);
        assert_eq!(stack.run(&["up"]).await.unwrap(), Exit::Done);
        let calls = calls_of(&stack, "CreateKeyPair");
        let typed: Vec<bool> = calls.iter().map(|call| call.name.contains("KeyType")).collect();
        assert_eq!(typed, [true, false], "{calls:?}");
        assert_eq!(stack.listing().await, usual.listing().await);
        assert!(std::fs::read_to_string(stack.state_dir().join("matrix.pem")).unwrap().contains("KEY"));
    });
}

#[test]
fn teardown_tells_its_longest_chain_of_calls_first_to_last() {
    on_deep_stacks(async {
        let stack = FakeStack::start(Behaviour::Everything).await;
        assert_eq!(stack.run(&["up"]).await.unwrap(), Exit::Done);
        let command = [TEARDOWN, &["--timings"]].concat();
        let arguments = stack.arguments(&command).into_iter().filter(|argument| argument != "--quiet");
        let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_imagecrud-deploy"));
        let output = program.args(arguments).stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{told}");
        let chain: Vec<&str> = told.lines().skip_while(|line| !line.contains("in the longest chain")).collect();
        let place = |what: &str| chain.iter().position(|line| line.trim_start().starts_with(what));
        let group = place("auto-scaling-group/web: ").unwrap_or_else(|| panic!("{told}"));
        let last = chain.iter().skip(group + 1).any(|line| line.starts_with("   ") && line.contains("Delete"));
        assert!(last, "what goes after the group stands after it:\n{told}");
    });
}
