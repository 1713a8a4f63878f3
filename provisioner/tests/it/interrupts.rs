//! Ctrl-C, once and twice, at every phase of `up` and of `teardown`; and SIGKILL under the lock.

use std::collections::BTreeSet;
use std::process::{Output, Stdio};
use std::time::Duration;

use imagecrud_deploy::error::Exit;
use imagecrud_deploy::lock;
use localcloud::behaviour::Behaviour;
use tokio::process::{Child, Command};

use crate::calls::Call;
use crate::fake_stack::FakeStack;
use crate::faulty_proxy::Fault;
use crate::stage::{STACK, on_deep_stacks};

const UP: &[&str] = &["up"];
const TEARDOWN: &[&str] = &["teardown", "--yes", "--delete-data"];
/// Longer than any machine is busy with something else.
const LIMIT: Duration = Duration::from_secs(60);

/// Starts the program.
fn program(arguments: Vec<String>) -> Child {
    let mut program = Command::new(env!("CARGO_BIN_EXE_imagecrud-deploy"));
    program.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    program.kill_on_drop(true).spawn().unwrap()
}

/// Starts the program and returns when it stands in that call.
async fn standing_in(stack: &FakeStack, command: &[&str], call: &Call) -> Child {
    stack.proxy.expect(Some((call.clone(), Fault::Held)));
    let child = program(stack.arguments(command));
    tokio::time::timeout(LIMIT, stack.proxy.killed()).await.unwrap_or_else(|_| panic!("{call} did not come up"));
    child
}

fn interrupt(child: &Child) {
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
}

async fn ended(child: Child, call: &Call) -> Output {
    let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await;
    output.unwrap_or_else(|_| panic!("it did not end after Ctrl-C in {call}")).unwrap()
}

/// The first call of each kind: every phase has calls of its own.
async fn phases(stack: &FakeStack, command: &[&str]) -> Vec<Call> {
    stack.proxy.expect(None);
    assert_eq!(stack.run(command).await.unwrap(), Exit::Done);
    let mut seen = BTreeSet::new();
    let (calls, _) = stack.proxy.calls();
    calls.into_iter().filter(|call| seen.insert(format!("{}.{}", call.service(), call.action()))).collect()
}

async fn done(stack: &FakeStack, command: &[&str]) {
    stack.proxy.expect(None);
    assert_eq!(stack.run(command).await.unwrap(), Exit::Done);
}

/// Waits until the program says that, and returns the line.
async fn words_of(child: &mut Child, words: &str) -> String {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    while let Some(line) = tokio::time::timeout(LIMIT, lines.next_line()).await.unwrap().unwrap() {
        if line.contains(words) {
            return line;
        }
    }
    panic!("it ended without a word");
}

async fn every_phase(twice: bool) {
    let stack = FakeStack::start(Behaviour::Everything).await;
    let before = stack.listing().await;
    let (up, teardown) = (phases(&stack, UP).await, phases(&stack, TEARDOWN).await);
    assert!(up.len() > 30 && teardown.len() > 20, "{} and {} phases", up.len(), teardown.len());
    for (command, calls) in [(UP, &up), (TEARDOWN, &teardown)] {
        for call in calls {
            if command == TEARDOWN {
                done(&stack, UP).await;
            }
            let mut child = standing_in(&stack, command, call).await;
            interrupt(&child);
            words_of(&mut child, "Ctrl-C again stops at once").await;
            if twice {
                interrupt(&child); // the call is never answered
            } else {
                assert_eq!(child.try_wait().unwrap(), None, "it did not let {call} end");
                stack.proxy.release();
            }
            let output = ended(child, call).await;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let code = output.status.code();
            // What was almost done may be done.
            assert!(code == Some(130) || !twice && code == Some(0), "{code:?} in {call}: {said}");
            if !twice && code == Some(130) {
                assert!(said.contains("run the same command again to go on"), "{call}: {said}");
                assert!(said.contains("next: imagecrud-deploy --config"), "{call}: {said}");
            }
            stack.proxy.release();
            stack.proxy.idle().await;
            let lock = lock::attempt(&stack.state_dir(), STACK).await.unwrap();
            assert!(matches!(lock, lock::Attempt::Taken(_)), "in {call} it left a lock");
            drop(lock);
            done(&stack, TEARDOWN).await;
            assert_eq!(stack.listing().await, before, "after Ctrl-C in {call}");
        }
    }
    println!("Ctrl-C in {} phases of up and {} of teardown", up.len(), teardown.len());
}

#[test]
fn ctrl_c_lets_the_call_under_way_end_says_how_to_go_on_and_loses_nothing() {
    on_deep_stacks(every_phase(false));
}

#[test]
fn ctrl_c_twice_stops_at_once_and_leaves_no_lock() {
    on_deep_stacks(every_phase(true));
}

#[test]
fn a_second_up_is_told_who_holds_the_lock_or_waits_for_it_and_a_dead_owners_lock_heals() {
    on_deep_stacks(async {
        let stack = FakeStack::start(Behaviour::Everything).await;
        let call = Call { name: "s3.ListBuckets".to_owned(), nth: 1 };
        let mut holder = standing_in(&stack, UP, &call).await;
        let pid = holder.id().unwrap();
        let failure = stack.run(UP).await.unwrap_err();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let told = failure.to_string();
        assert!(told.contains(&format!("another run works on it: process {pid} of ")), "{told}");
        assert!(told.contains(&format!(" on {}, for ", host.trim())), "{told}");
        assert!(told.contains("hint: let this run wait for it with --lock-timeout"), "{told}");
        let failure = stack.run(&["up", "--lock-timeout", "1"]).await.unwrap_err();
        assert!(failure.to_string().contains("hint: it did not end within 1.0s"), "{failure}");

        let mut loud = stack.arguments(&["up", "--lock-timeout", "600"]);
        loud.retain(|argument| argument != "--quiet");
        let mut waiting = program(loud);
        let said = words_of(&mut waiting, "waiting up to 10m for").await;
        assert!(said.contains(&format!("lock: waiting up to 10m for process {pid} of ")), "{said}");
        holder.kill().await.unwrap();
        stack.proxy.expect(None);
        stack.proxy.release();
        // What waited goes on, from what the killed one had begun.
        let output = tokio::time::timeout(LIMIT, waiting.wait_with_output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        stack.proxy.idle().await;
        done(&stack, UP).await;
        done(&stack, TEARDOWN).await;
    });
}
