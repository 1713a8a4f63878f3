//! A new version of the web servers is made once, whatever becomes of the answer.

use std::time::Duration;

use localcloud::behaviour::Behaviour;

use crate::calls::Call;
use crate::fake_stack::FakeStack;
use crate::faulty_proxy::Fault;
use crate::stage::{Stage, on_deep_stacks};

/// Nobody answers here as a web server of the new version, so that each is soon rolled back.
const UP: &[&str] = &["up", "--health-limit", "1"];
const LIMIT: Duration = Duration::from_secs(120);

async fn versions(stage: &Stage) -> usize {
    let versions = stage.clients.ec2.describe_launch_template_versions().launch_template_name("matrix-web");
    versions.send().await.unwrap().launch_template_versions().len()
}

async fn up(stage: &Stage) {
    tokio::select! {
        () = stage.proxy.killed() => {}
        ended = tokio::time::timeout(LIMIT, stage.run(UP)) => drop(ended.expect("it ends")),
    }
    stage.proxy.idle().await;
}

#[test]
fn a_version_whose_answer_is_lost_is_recognised_and_not_made_again() {
    on_deep_stacks(async {
        let stack = FakeStack::start(Behaviour::Everything).await;
        stack.proxy.expect(None);
        up(&stack).await;
        assert_eq!(versions(&stack).await, 1);
        let call = Call { name: "ec2.CreateLaunchTemplateVersion LaunchTemplateName=matrix-web".to_owned(), nth: 1 };
        for (made, fault) in [Fault::AfterOnce, Fault::After, Fault::Hidden, Fault::Killed].into_iter().enumerate() {
            std::fs::write(stack.directory.path().join("app"), format!("{fault:?}")).unwrap();
            stack.proxy.expect(Some((call.clone(), fault)));
            up(&stack).await;
            assert!(stack.proxy.calls().1, "{fault:?}: the call did not come up: {:?}", stack.proxy.calls().0);
            stack.proxy.expect(None);
            up(&stack).await;
            assert_eq!(versions(&stack).await, made + 2, "{fault:?}");
        }
    });
}
