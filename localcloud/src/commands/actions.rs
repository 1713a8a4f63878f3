//! `localcloud actions`: every action that the cloud carries out, as the page `docs/actions.md`.

use std::fmt::Write as _;

use super::Exit;
use crate::{api, behaviour::Behaviour, object_storage};

/// Those that lack actions.
const OTHERS: [Behaviour; 3] = [Behaviour::Eucalyptus44, Behaviour::WithoutInstanceProfiles, Behaviour::Aws];

/// Prints the page.
#[expect(clippy::print_stdout, reason = "the page is the command's data")]
pub fn run() -> Exit {
    print!("{}", page());
    Exit::Done
}

/// The page, in Markdown.
#[must_use]
pub fn page() -> String {
    let services = api::services();
    let mut rows: Vec<(&str, Vec<&str>)> =
        services.iter().map(|service| (service.signing_name, service.actions().collect())).collect();
    rows.push(("s3", object_storage::OPERATIONS.to_vec()));
    let total: usize = rows.iter().map(|(_, actions)| actions.len()).sum();
    let mut page = format!(
        "# Actions\n\nWhat localcloud carries out: {total} actions. Everything else is refused by its name, unknown parameters too.\n\
         This page is written by `cargo run -p localcloud -- actions > docs/actions.md`.\n\n\
         `localcloud serve --behave-like` takes away what another cloud lacks (`–`); some actions stay and lose parameters\n\
         (`localcloud/src/behaviour.rs`). What Eucalyptus has is told by its own sources\n\
         (`localcloud/src/behaviour/eucalyptus-4.4.txt`).\n\n| service | actions |\n| --- | ---: |\n"
    );
    for (service, actions) in &rows {
        let _ = writeln!(page, "| [{service}](#{service}) | {} |", actions.len());
    }
    for (service, actions) in &rows {
        let names = OTHERS.map(Behaviour::name).join(" | ");
        let _ = write!(page, "\n## {service}\n\n| action | {names} |\n| --- | :---: | :---: | :---: |\n");
        for action in actions {
            let has = OTHERS.map(|behaviour| if behaviour.has_action(service, action) { "" } else { "–" });
            let _ = writeln!(page, "| {action} | {} |", has.join(" | "));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_as_the_program_is() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/actions.md");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == page(), "docs/actions.md is stale: cargo run -p localcloud -- actions > docs/actions.md");
    }

    #[test]
    fn all_operations_of_s3_are_listed() {
        let source = include_str!("../object_storage/versions.rs");
        let (_, carried_out) = source.split_once("impl S3 for").expect("the implementation");
        let mut names: Vec<String> = carried_out
            .lines()
            .filter_map(|line| line.strip_prefix("    async fn "))
            .map(|line| {
                let name = line.split('(').next().unwrap_or_default();
                name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
            })
            .collect();
        names.sort();
        assert_eq!(names, object_storage::OPERATIONS);
    }
}
