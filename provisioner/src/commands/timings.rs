//! `--timings`: where the time of a walk went, and which calls had to wait for each other.

use std::time::Duration;

use crate::cloud::calls::{Call, chain};
use crate::converge::{Timing, critical_path};
use crate::report::{Reporter, seconds};
use crate::resource::ResourceKey;
use crate::resources::web_endpoint;

/// Says it of a walk that a look went before.
pub(super) fn tell(report: &Reporter, looking: Duration, timings: &[Timing], calls: &[Call]) {
    report.say(format!("looking took {}, then the longest chain:", seconds(looking)));
    let path = critical_path(timings);
    for timing in &path {
        report.say(line_of(timing));
    }
    for line in chain_of_calls(calls, &path) {
        report.say(line);
    }
}

fn line_of(timing: &Timing) -> String {
    format!(
        "   {:>6}  {} (calls {}, wait {})",
        seconds(timing.ready.saturating_sub(timing.begun)),
        timing.key,
        seconds(timing.called.saturating_sub(timing.begun)),
        seconds(timing.ready.saturating_sub(timing.called)),
    )
}

/// The calls of the longest chain of resources, each of which had to wait for the one before.
fn chain_of_calls(calls: &[Call], path: &[&Timing]) -> Vec<String> {
    let of = |key: Option<&ResourceKey>| {
        let mine = calls.iter().filter(|call| call.on_behalf.as_ref() == key).cloned().collect();
        (key.map_or_else(|| "looking".to_owned(), ToString::to_string), chain(mine))
    };
    let links: Vec<(String, Vec<Call>)> =
        std::iter::once(of(None)).chain(path.iter().map(|timing| of(Some(&timing.key)))).collect();
    let longest: usize = links.iter().map(|(_, calls)| calls.len()).sum();
    let of_the_cloud = calls.iter().filter(|call| call.name != web_endpoint::ASKED).count();
    let asked = calls.len() - of_the_cloud;
    let head = format!(
        "{of_the_cloud} API calls and {asked} of the gallery, {longest} of them in the longest chain that waits for each other:"
    );
    let line = |(of, calls): &(String, Vec<Call>)| {
        let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
        format!("   {of}: {}", names.join(", "))
    };
    std::iter::once(head).chain(links.iter().filter(|(_, calls)| !calls.is_empty()).map(line)).collect()
}
