//! What a failed `up` or `teardown` prints: what, why, what is left, what to do next. The screens are in `screens/`; with
//! `UPDATE_SCREENS=1` they are written anew, to be read before they are kept.

use std::path::Path;
use std::time::{Duration, Instant};

use imagecrud_deploy::error::{Exit, Failure, Left};
use imagecrud_deploy::pace::Pace;
use localcloud::behaviour::Behaviour;

use crate::calls::{Call, without_ids};
use crate::fake_stack::FakeStack;
use crate::faulty_proxy::Fault;
use crate::stage::on_deep_stacks;

const UP: &[&str] = &["up"];
const TEARDOWN: &[&str] = &["teardown", "--yes", "--delete-data"];
/// Minutes pass in seconds.
const SOON: Pace = Pace { pauses: 20, limits: 150, answers: 1 };
const CONSOLE: &str = "[    1.2] Cloud-init v. 22.4.2 running 'init' at Fri, 27 Nov 2026 10:00:00 +0000. Up 1.2 seconds.\n\
    [    4.1] Cloud-init v. 22.4.2 running 'modules:final' at Fri, 27 Nov 2026 10:00:03 +0000. Up 4.1 seconds.\n\
    install-mysql.sh: looking for the data volume\n\
    install-mysql.sh: mkfs.ext4: No space left on device\n";

/// Without what is another in every run.
fn screen(stack: &FakeStack, failure: &Failure) -> String {
    let text = failure.to_string().replace(stack.directory.path().to_str().unwrap(), "DIR");
    let lines = text.lines().map(|line| {
        let words = line.split(' ').map(|word| match word {
            // The cloud's addresses.
            _ if word.starts_with("10.77.") => "ADDRESS".to_owned(),
            word => without_ids(word),
        });
        words.collect::<Vec<_>>().join(" ")
    });
    lines.map(|line| line + "\n").collect()
}

fn is_as_kept(name: &str, stack: &FakeStack, failure: &Failure) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/screens/{name}.txt"));
    let screen = screen(stack, failure);
    assert!(screen.lines().count() <= 40, "more than a screen:\n{screen}");
    if std::env::var_os("UPDATE_SCREENS").is_some() {
        std::fs::write(path, screen).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    // How much else stood by then is a race, and so is how far the end of a VM has come.
    let steady = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with("standing: "));
        lines.collect::<Vec<_>>().join("\n").replace(" is stopping: ", " is stopped: ")
    };
    assert_eq!(steady(&screen), steady(&kept), "{name}");
    assert!(screen.contains("\nstanding: ") == kept.contains("\nstanding: "), "{screen}");
}

/// `up` after the trouble is over, and `teardown`.
async fn heals(stack: &FakeStack) {
    assert_eq!(stack.run(UP).await.unwrap(), Exit::Done);
    assert_eq!(stack.run(TEARDOWN).await.unwrap(), Exit::Done);
}

#[test]
fn a_quota_that_is_used_up_is_said_and_how_to_go_on() {
    on_deep_stacks(async {
        let stack = FakeStack::with_quota(Behaviour::Everything, 0).await;
        let failure = stack.run(UP).await.unwrap_err();
        is_as_kept("quota", &stack, &failure);
        assert_eq!(failure.left, Left::Nothing);
        assert_eq!(stack.run(TEARDOWN).await.unwrap(), Exit::Done);
    });
}

#[test]
fn a_quota_of_any_api_that_is_used_up_is_said_and_up_goes_on_once_it_is_raised() {
    on_deep_stacks(async {
        let stack = FakeStack::start(Behaviour::Everything).await;
        stack.proxy.expect(None);
        heals(&stack).await;
        let (calls, _) = stack.proxy.calls();
        for limited in [
            "elasticloadbalancing.CreateLoadBalancer",
            "iam.CreateRole",
            "iam.CreateInstanceProfile",
            "autoscaling.CreateAutoScalingGroup",
            "s3.CreateBucket",
            "ec2.CreateVolume",
            "ec2.CreateSecurityGroup",
        ] {
            let is_limited = |call: &&Call| {
                format!("{}.{}", call.service(), call.action()) == limited && !call.name.contains("-probe")
            };
            let call = calls.iter().find(is_limited).unwrap_or_else(|| panic!("no {limited}")).clone();
            stack.proxy.expect(Some((call, Fault::Quota)));
            let failure = stack.run(UP).await.unwrap_err();
            let said = failure.to_string();
            println!("{limited}: {said}");
            assert!(said.starts_with("creating ") && said.contains("\nstanding: "), "{limited}: {said}");
            assert!(said.contains("hint: the account has reached a limit of its own"), "{limited}: {said}");
            assert_eq!(failure.left, Left::Nothing, "{limited}");
            stack.proxy.expect(None);
            assert_eq!(stack.run(UP).await.unwrap(), Exit::Done, "{limited}");
            assert_eq!(stack.run(TEARDOWN).await.unwrap(), Exit::Done, "{limited}");
        }
    });
}

#[test]
fn a_token_that_runs_out_in_the_middle_is_said_and_how_to_go_on() {
    on_deep_stacks(async {
        let stack = FakeStack::start(Behaviour::Everything).await;
        stack.faults.set("[[fault]]\naction = \"ec2.RunInstances\"\neffect = \"expired-token\"\n").unwrap();
        is_as_kept("expired-token", &stack, &stack.run(UP).await.unwrap_err());
        stack.faults.clear().unwrap();
        heals(&stack).await;
    });
}

#[test]
fn a_database_vm_that_dies_while_it_is_waited_for_is_noticed_at_once_with_its_last_words() {
    on_deep_stacks(async {
        let stack = FakeStack::start(Behaviour::Everything).await;
        stack.is_silent.store(true, std::sync::atomic::Ordering::SeqCst);
        let instances = stack.machines.instances.clone();
        let dies = async {
            // Looked for once before, and now waited for.
            let waited_for = Call { name: "s3.GetObject config/database.json".to_owned(), nth: 2 };
            while !stack.proxy.calls().0.contains(&waited_for) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let id = crate::moto::live_instances(&stack.clients, "instance/database").await.pop().unwrap();
            instances.write_console(&id, CONSOLE);
            instances.power_off(&id);
            Instant::now()
        };
        let (failure, died) = tokio::join!(stack.run(UP), dies);
        let noticed = died.elapsed();
        is_as_kept("database-died", &stack, &failure.unwrap_err());
        assert!(noticed < Duration::from_secs(30), "noticed after {noticed:?}, and not by the limit of ten minutes");
        stack.is_silent.store(false, std::sync::atomic::Ordering::SeqCst);
        stack.run(UP).await.ok(); // starts it again
        assert_eq!(stack.run(TEARDOWN).await.unwrap(), Exit::Done);
    });
}

#[test]
fn a_database_that_never_serves_is_shown_with_cloud_inits_stage() {
    on_deep_stacks(async {
        let mut stack = FakeStack::start(Behaviour::Everything).await;
        stack.pace = SOON;
        stack.is_silent.store(true, std::sync::atomic::Ordering::SeqCst);
        let instances = stack.machines.instances.clone();
        let speaks = async {
            loop {
                if let Some(id) = crate::moto::live_instances(&stack.clients, "instance/database").await.pop() {
                    instances.write_console(&id, CONSOLE);
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let (failure, ()) = tokio::join!(stack.run(UP), speaks);
        is_as_kept("database-never-serves", &stack, &failure.unwrap_err());
        stack.is_silent.store(false, std::sync::atomic::Ordering::SeqCst);
        stack.pace = Pace { pauses: 20, limits: 1, answers: 1 };
        heals(&stack).await;
    });
}

#[test]
fn web_servers_that_never_get_healthy_are_shown_with_the_load_balancers_reason() {
    on_deep_stacks(async {
        let mut stack = FakeStack::start(Behaviour::Everything).await;
        stack.pace = SOON;
        stack.machines.proxy.set_health_of_others(Some(false));
        let failure = stack.run(UP).await.unwrap_err();
        is_as_kept("web-never-healthy", &stack, &failure);
        stack.pace = Pace { pauses: 20, limits: 1, answers: 1 };
        assert_eq!(stack.run(TEARDOWN).await.unwrap(), Exit::Done);
    });
}

#[test]
fn a_dependency_violation_of_minutes_is_waited_out_and_its_blocker_named_where_it_stays() {
    on_deep_stacks(async {
        let mut stack = FakeStack::start(Behaviour::Everything).await;
        assert_eq!(stack.run(UP).await.unwrap(), Exit::Done);
        stack.pace = SOON;
        let rule = "[[fault]]\naction = \"ec2.DeleteSecurityGroup\"\neffect = \"dependency-violation\"\n";
        stack.faults.set(rule).unwrap();
        is_as_kept("dependency-violation", &stack, &stack.run(TEARDOWN).await.unwrap_err());
        // Two seconds here are five minutes there.
        stack.faults.set(&format!("{rule}for_seconds = 2.0\n")).unwrap();
        assert_eq!(stack.run(TEARDOWN).await.unwrap(), Exit::Done);
    });
}

#[test]
fn a_group_whose_terminations_are_suspended_is_resumed_and_goes() {
    on_deep_stacks(async {
        let stack = FakeStack::start(Behaviour::Everything).await;
        assert_eq!(stack.run(UP).await.unwrap(), Exit::Done);
        let suspend = stack.clients.autoscaling.suspend_processes().auto_scaling_group_name("matrix-web");
        suspend.scaling_processes("Terminate").send().await.unwrap();
        let delete = stack.clients.autoscaling.delete_auto_scaling_group().auto_scaling_group_name("matrix-web");
        delete.force_delete(true).send().await.unwrap();
        assert_eq!(stack.run(TEARDOWN).await.unwrap(), Exit::Done);
    });
}
