//! A measurement, and no test: how long commands take when every call to the cloud does. `bench/round-trips.sh` runs it.

use std::time::{Duration, Instant};

use localcloud::behaviour::Behaviour;
use tokio::io::AsyncReadExt as _;

use crate::fake_stack::FakeStack;
use crate::stage::on_deep_stacks;

const ROUND_TRIPS_MS: [u64; 4] = [0, 20, 100, 300];
/// Before it, `up --timings` says how many calls it has.
const LONGEST: &str = " of them in the longest chain";
const COMMANDS: [(&str, &[&str]); 3] = [
    ("up from nothing", &["up", "--timings"]),
    ("up with nothing to do", &["up", "--timings"]),
    ("teardown", &["teardown", "--yes", "--delete-data", "--timings"]),
];

struct Ran {
    took: Duration,
    calls: usize,
    /// What it said of its longest chain, and how many calls are in that.
    chain: Option<(usize, String)>,
}

/// Runs the program, at its own pace.
async fn run(stack: &FakeStack, command: &[&str]) -> Ran {
    let arguments = stack.arguments(command).into_iter().filter(|argument| argument != "--quiet");
    let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_imagecrud-deploy"));
    stack.proxy.expect(None);
    let began = Instant::now();
    let output = program.args(arguments).kill_on_drop(true).output().await.unwrap();
    let took = began.elapsed();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    let lines: Vec<&str> = said.lines().skip_while(|line| !line.contains(LONGEST)).collect();
    let chain = lines.first().map(|head| {
        let before = head.split(LONGEST).next().and_then(|text| text.split_whitespace().next_back());
        let of: usize = before.unwrap().parse().unwrap();
        (of, lines.iter().skip(1).take_while(|line| line.starts_with(' ')).map(|line| format!("{line}\n")).collect())
    });
    Ran { took, calls: stack.proxy.calls().0.len(), chain }
}

#[test]
#[ignore = "a measurement of some minutes, made by bench/round-trips.sh"]
fn time_grows_with_the_longest_chain_of_calls_and_not_with_their_number() {
    on_deep_stacks(async {
        let stack = FakeStack::start(Behaviour::Everything).await;
        let mut at_once: Vec<Duration> = Vec::new();
        let mut chains = Vec::new();
        // What is only done once in a process, or once on a disk.
        for (_, command) in COMMANDS {
            run(&stack, command).await;
        }
        println!(
            "| round trip | command | calls | longest chain | took | of chain × round trip | more than without, in round trips |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- |");
        for round_trip_ms in ROUND_TRIPS_MS {
            stack.proxy.set_round_trip(Duration::from_millis(round_trip_ms));
            for (nth, (name, command)) in COMMANDS.iter().enumerate() {
                let Ran { took, calls, chain } = run(&stack, command).await;
                at_once.push(took); // those of no round trip come first
                let secs = round_trip_ms as f64 / 1000.0;
                let of = |number: f64| if round_trip_ms == 0 { "–".to_owned() } else { format!("{number:.1}") };
                let more = of((took.as_secs_f64() - at_once[nth].as_secs_f64()) / secs);
                let (links, ratio) = match &chain {
                    Some((links, _)) => (links.to_string(), of(took.as_secs_f64() / (*links as f64 * secs))),
                    None => ("–".to_owned(), "–".to_owned()),
                };
                println!(
                    "| {round_trip_ms} ms | {name} | {calls} | {links} | {:.2} s | {ratio} | {more} |",
                    took.as_secs_f64()
                );
                if let (300, Some((links, chain))) = (round_trip_ms, chain) {
                    chains.push(format!("{name}, {links} calls:\n{chain}"));
                }
            }
        }
        println!("\nthe longest chains at 300 ms:\n{}", chains.join("\n"));
    });
}

#[test]
#[ignore = "a cloud for bench/beside-ansible.py, which ends with its standard input"]
fn a_cloud_of_fake_drivers_for_benches() {
    on_deep_stacks(async {
        let stack = FakeStack::start(Behaviour::Everything).await;
        println!("\nserving in {}", stack.directory.path().display());
        tokio::io::stdin().read_to_end(&mut Vec::new()).await.unwrap();
    });
}
