//! What the program says, word for word, beside this file: the help of every command and the tables. After a change
//! that is meant: `UPDATE_GOLDEN=1 cargo nextest run -p imagecrud-deploy golden`, and read the difference.

use std::path::Path;
use std::process::Command;

use crate::moto::Moto;

fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    for (number, (kept, now)) in kept.lines().zip(text.lines()).enumerate() {
        assert_eq!(kept, now, "{name}:{}: UPDATE_GOLDEN=1 writes it anew", number + 1);
    }
    assert_eq!(kept, text, "{name}: UPDATE_GOLDEN=1 writes it anew");
}

/// The program without any setting of who runs this.
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imagecrud-deploy"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("IMAGECRUD_") || name.starts_with("LOCALCLOUD_") {
            command.env_remove(name);
        }
    }
    command.env("COLUMNS", "100").env("NO_COLOR", "1");
    command
}

fn says(arguments: &[&str]) -> String {
    let output = program().args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that the help lists.
fn commands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let words = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    words.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

#[test]
fn the_help_of_every_command_is_as_written_down() {
    let main = says(&["--help"]);
    let mut all = format!("$ imagecrud-deploy --help\n{main}");
    let commands = commands(&main);
    assert!(commands.contains(&"teardown".to_owned()), "{commands:?}");
    for command in commands.iter().filter(|command| *command != "help") {
        all.push_str(&format!("\n$ imagecrud-deploy {command} --help\n{}", says(&[command, "--help"])));
    }
    check("help.txt", &all);
}

#[test]
fn completions_and_manual_know_every_command() {
    let commands = commands(&says(&["--help"]));
    let manual = says(&["man"]);
    assert!(manual.contains(".TH imagecrud") && manual.contains("teardown"), "{manual}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = says(&["completions", shell]);
        for command in &commands {
            assert!(script.contains(command.as_str()), "{shell} lacks {command}");
        }
    }
    let directory = tempfile::tempdir().unwrap();
    says(&["man", directory.path().join("man1").to_str().unwrap()]);
    for command in commands.iter().filter(|command| *command != "help") {
        let page = directory.path().join(format!("man1/imagecrud-deploy-{command}.1"));
        assert!(page.exists(), "{}", page.display());
    }
}

#[test]
fn bash_takes_the_completions() {
    let script = says(&["completions", "bash"]);
    let ask = format!(
        "{script}\nCOMP_WORDS=(imagecrud-deploy tear); COMP_CWORD=1; words=($(complete -p imagecrud-deploy)); \
         for i in \"${{!words[@]}}\"; do [ \"${{words[i]}}\" != -F ] || function=${{words[i + 1]}}; done; \
         $function imagecrud-deploy tear imagecrud-deploy; printf '%s' \"${{COMPREPLY[*]}}\""
    );
    let output = Command::new("bash").args(["-c", &ask]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "teardown", "{}", String::from_utf8_lossy(&output.stderr));
}

/// Ids become as many x; what they are made of differs from run to run.
fn redacted(text: &str) -> String {
    let mut out = String::new();
    const SEPARATORS: [char; 9] = [' ', '\n', '/', ',', ':', ';', '(', ')', '@'];
    for word in text.split_inclusive(SEPARATORS) {
        let end = word.trim_end_matches(SEPARATORS).len();
        let (word, rest) = word.split_at(end);
        let tail = word.rsplit('-').next().unwrap_or_default();
        let long = tail.len() >= 8 && tail.len() < word.len() || tail.len() == 10;
        let is_id = long && tail.bytes().all(|b| b.is_ascii_hexdigit());
        let is_port = word.len() == 5 && word.bytes().all(|b| b.is_ascii_digit());
        let is_address = word.parse::<std::net::Ipv4Addr>().is_ok();
        match () {
            () if is_id => {
                out.push_str(&word[..word.len() - tail.len()]);
                out.push_str(&"x".repeat(tail.len()));
            }
            () if is_port => out.push_str("ppppp"),
            () if is_address => out.push_str("ADDRESS"),
            () => out.push_str(word),
        }
        out.push_str(rest);
    }
    out
}

#[tokio::test]
async fn the_tables_are_as_written_down() {
    let moto = Moto::start().await;
    let mut all = String::new();
    let mut tell = async |arguments: &[&str]| {
        let ran = moto.run(arguments).await;
        let said = redacted(&format!("{}{}", ran.out, ran.err));
        all.push_str(&format!("$ imagecrud-deploy {}\n{said}exit {}\n\n", arguments.join(" "), ran.code));
    };
    tell(&["plan"]).await;
    tell(&["status"]).await;
    moto.play_database();
    moto.up().await;
    tell(&["plan"]).await;
    tell(&["status"]).await;
    tell(&["scale", "3", "--plan"]).await;
    tell(&["teardown", "--plan"]).await;
    tell(&["adopt"]).await;
    tell(&["logs", "web"]).await;
    check("tables.txt", &all);
}
