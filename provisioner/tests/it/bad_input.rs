//! Bad input: every flag and every variable that cannot be, every file that cannot be read. A sentence, a hint, the exit
//! code, and nothing touched.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory as _;
use imagecrud_deploy::cli::Cli;
use imagecrud_deploy::environment::{Kind, VARIABLES};
use imagecrud_deploy::error::Exit;
use imagecrud_deploy::usage;
use imagecrud_deploy::vms::Target;

use crate::moto::{Ran, free_port};

/// The program, in a directory of its own and without any setting of who runs this.
pub(crate) fn program(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imagecrud-deploy"));
    for name in VARIABLES.iter().filter(|variable| variable.kind != Kind::Anything).map(|variable| variable.name) {
        command.env_remove(name);
    }
    command.current_dir(directory).env("HOME", directory).args(arguments);
    command
}

pub(crate) fn ran(mut command: Command) -> Ran {
    Ran::from(command.output().unwrap())
}

/// What is below a directory: names, and what kind.
pub(crate) fn tree(directory: &Path) -> Vec<(PathBuf, u64)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let metadata = entry.path().symlink_metadata().unwrap();
        all.push((entry.path(), metadata.len()));
        if metadata.is_dir() {
            all.extend(tree(&entry.path()));
        }
    }
    all.sort();
    all
}

/// It failed with that code, said so in one line with those words, and hinted at something.
#[track_caller]
pub(crate) fn is_refused(ran: &Ran, code: i32, words: &str, hint: &str) {
    let said = &ran.err;
    assert_eq!(ran.code, code, "{said}");
    let (sentence, rest) = said.split_once("\n\n").unwrap_or_else(|| panic!("no hint: {said}"));
    assert!(sentence.starts_with("error: ") && sentence.lines().count() == 1, "{said}");
    assert!(sentence.contains(words), "{words} in {said}");
    assert!(rest.starts_with("hint: ") && rest.contains(hint), "{hint} in {said}");
    assert!(!said.contains("os error") && !said.contains("panicked"), "{said}");
    assert_eq!(ran.out, "", "nothing is data");
}

/// Whoever has an argument, and the command below which it stands.
fn arguments() -> Vec<(Option<String>, clap::Arg)> {
    let mut command = Cli::command();
    command.build();
    let mut all: Vec<_> = command.get_arguments().map(|arg| (None, arg.clone())).collect();
    for below in command.get_subcommands() {
        all.extend(below.get_arguments().map(|arg| (Some(below.get_name().to_owned()), arg.clone())));
    }
    all.retain(|(_, arg)| arg.get_action().takes_values());
    all
}

/// What no argument of a kind may be.
fn impossible(arg: &clap::Arg) -> Vec<&'static str> {
    let parser = arg.get_value_parser();
    let is = |of: TypeId| parser.type_id() == of;
    if parser.possible_values().is_some() {
        vec!["nonsense", ""]
    } else if is(TypeId::of::<u32>()) {
        vec!["", "x", "-1", "1.5", "0x10", "4294967296", "99999999999999999999"]
    } else if is(TypeId::of::<String>()) {
        vec!["", "a b", "\u{e9}", "0123456789012345678901234567890123456789012345678901234567890123"]
    } else if is(TypeId::of::<Target>()) {
        vec!["", "nonsense", "web/", "web/nonsense", "db/vol-0123abcd"]
    } else if is(TypeId::of::<PathBuf>()) {
        vec![""]
    } else {
        panic!("what {arg} may not be is not known")
    }
}

fn parse(below: Option<&str>, arg: &clap::Arg, value: &str) -> Result<Cli, imagecrud_deploy::error::Failure> {
    let flag = arg.get_long().map(|name| format!("--{name}"));
    let words = ["imagecrud-deploy", below.unwrap_or("status")].map(str::to_owned).into_iter();
    let words: Vec<OsString> = words.chain(flag).chain([value.to_owned()]).map(OsString::from).collect();
    usage::parse(&words)
}

#[test]
fn every_value_of_every_flag_that_cannot_be_is_refused_with_what_can_be() {
    let mut flags = 0;
    let mut numbers = 0;
    for (below, arg) in arguments() {
        // Whatever the shell over there makes of it.
        if arg.get_id() == "command" && below.as_deref() == Some("ssh") || arg.get_id() == "subcommand" {
            continue;
        }
        flags += 1;
        for value in impossible(&arg) {
            let call = format!("{below:?} {arg} {value:?}");
            let Err(failure) = parse(below.as_deref(), &arg, value) else { panic!("{call} was taken") };
            assert_eq!(failure.exit, Exit::Usage, "{call}: {failure}");
            let name = arg.get_long().map_or_else(|| arg.to_string(), |name| format!("--{name}"));
            assert!(failure.what.contains(&name), "{call}: {failure}");
            assert!(failure.what.lines().count() == 1 && failure.hint.is_some(), "{call}: {failure}");
            let Some((least, most)) = failure.hint.as_deref().and_then(range) else { continue };
            let refuses = |value: i64| match parse(below.as_deref(), &arg, &value.to_string()) {
                Ok(_) => false,
                Err(failure) => failure.what.contains("is not possible"),
            };
            numbers += 1;
            assert!(refuses(least - 1) && refuses(most + 1), "{call}: more is taken than {least} to {most}");
            assert!(!refuses(least) && !refuses(most), "{call}: {least} to {most} are refused");
        }
    }
    assert!(flags > 200 && numbers > 100, "only {flags} flags were tried, {numbers} with numbers");
}

fn range(hint: &str) -> Option<(i64, i64)> {
    let (least, most) = hint.strip_prefix("a whole number from ")?.split_once(" to ")?;
    Some((least.parse().unwrap(), most.parse().unwrap()))
}

#[test]
fn calls_that_cannot_be_are_told_like_every_other_failure() {
    let directory = tempfile::tempdir().unwrap();
    for (call, words, hint) in [
        (&["up", "--zoen", "a"][..], "unexpected argument '--zoen' found", "--zone"),
        (&["stauts"], "unrecognized subcommand 'stauts'", "'status'"),
        (&["logs"], "required arguments were not provided: <VM>", "imagecrud-deploy logs"),
        (&["scale", "3", "--desired", "4"], "cannot be used with", "imagecrud-deploy scale"),
        (&["logs", "db", "-n", "0"], "--lines <N>: `0` is not possible", "a whole number from 1 to 10000"),
        (&["--cloud", "azure", "up"], "--cloud <CLOUD>: `azure` is not possible", "one of local, aws, eucalyptus"),
        (&["up", "--stack", "Not A Name"], "--stack <NAME>: `Not A Name` is not possible", "3 to 20 lowercase"),
    ] {
        is_refused(&ran(program(directory.path(), call)), 2, words, hint);
    }
    let mut command = program(directory.path(), &["up", "--zone"]);
    command.arg(OsStr::from_bytes(b"\xff"));
    is_refused(&ran(command), 2, "is not text in UTF-8", "only the paths");
    assert!(tree(directory.path()).is_empty());
}

/// An eucarc of a cloud that nobody asks.
fn eucarc(port: u16) -> String {
    let names = ["EC2", "S3", "AWS_ELB", "AWS_AUTO_SCALING", "AWS_CLOUDWATCH", "AWS_IAM"];
    let addresses: String = names.iter().map(|name| format!("{name}_URL=http://127.0.0.1:{port}/\n")).collect();
    format!("{addresses}AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\n")
}

#[test]
fn every_variable_that_cannot_be_is_refused_by_its_name_and_nothing_is_touched() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("file"), "text").unwrap();
    std::fs::write(at("euca2ools.ini"), "[region one]\nuser = jo\n").unwrap();
    std::fs::write(at("eucarc"), eucarc(free_port())).unwrap();
    let before = tree(directory.path());
    let arguments = arguments();
    for variable in VARIABLES {
        let name = variable.name;
        let values: Vec<OsString> = match variable.kind {
            Kind::Flag => {
                let of = arguments.iter().map(|(_, arg)| arg).find(|arg| arg.get_env() == Some(OsStr::new(name)));
                let mut values: Vec<OsString> = impossible(of.unwrap()).into_iter().map(OsString::from).collect();
                match name {
                    "IMAGECRUD_STATE_DIR" | "LOCALCLOUD_STATE_DIR" => values.push(at("file").into()),
                    "IMAGECRUD_CREDENTIALS" | "IMAGECRUD_CONFIG" | "IMAGECRUD_BUNDLE" => {
                        values.extend(["/", "nowhere"].map(OsString::from));
                    }
                    _ => values.push(OsStr::from_bytes(b"\xff").to_owned()),
                }
                values
            }
            Kind::DatabaseUrl => {
                vec!["nonsense".into(), "http://a:b@c/d".into(), OsStr::from_bytes(b"\xff").to_owned()]
            }
            Kind::Files => vec!["nowhere".into(), "/".into(), at("file").into()],
            Kind::Region => vec!["nonsense".into(), OsStr::from_bytes(b"\xff").to_owned()],
            Kind::Proxy => vec!["::".into(), OsStr::from_bytes(b"\xff").to_owned()],
            Kind::LogFilter => vec!["a=b=c".into(), OsStr::from_bytes(b"\xff").to_owned()],
            Kind::Anything => continue,
        };
        for value in values.iter().filter(|value| !value.is_empty()) {
            let mut command = match name {
                "IMAGECRUD_BUNDLE" => program(directory.path(), &["up", "--local-state-dir", "nowhere"]),
                "LOCALCLOUD_STATE_DIR" => program(directory.path(), &["up", "--bundle", "file"]),
                "http_proxy" => program(directory.path(), &["up", "--bundle", "file", "--credentials", "eucarc"]),
                "EUCA_CONFIG_PATH" | "EUCA_DEFAULT_REGION" | "AWS_DEFAULT_REGION" => {
                    let mut command = program(directory.path(), &["up", "--bundle", "file", "--cloud", "eucalyptus"]);
                    command.env("EUCA_CONFIG_PATH", at("euca2ools.ini"));
                    command
                }
                _ => program(directory.path(), &["up", "--bundle", "file", "--local-state-dir", "nowhere"]),
            };
            command.env(name, value);
            let ran = ran(command);
            let told = format!("{name}={}: {}", value.display(), ran.err);
            println!("{told}");
            assert!(ran.code == 2 || name == "LOCALCLOUD_STATE_DIR" && ran.code == 1, "{told}");
            // A path is told as it is.
            let is_path = variable.kind == Kind::Files
                || value.to_str().is_some_and(|value| Path::new(value).exists() || value == "nowhere");
            let names_it = if is_path { value.to_str().unwrap() } else { name };
            assert!(ran.err.starts_with("error: ") && ran.err.contains("\n\nhint: "), "{told}");
            assert!(ran.err.lines().next().unwrap().contains(names_it), "{told}");
            assert_eq!(tree(directory.path()), before, "{told}");
        }
    }
}

#[test]
fn variables_that_are_set_to_nothing_are_not_set_and_those_that_may_be_anything_harm_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let call = ["status", "--local-state-dir", "nowhere"];
    for variable in VARIABLES {
        let anything = [&b""[..], b"\x7f:;=", b"a b", b"\xff"];
        let values = if variable.kind == Kind::Anything { &anything[..] } else { &anything[..1] };
        for value in values.iter().map(|bytes| OsStr::from_bytes(bytes)) {
            let mut command = program(directory.path(), &call);
            command.env(variable.name, value);
            let ran = ran(command);
            assert_eq!(ran.code, 3, "{}={}: {}", variable.name, value.display(), ran.err);
        }
    }
    assert!(tree(directory.path()).is_empty());
}

/// Puts something in the place of a file that cannot be read as one.
fn spoil(path: &Path, how: &str) {
    match how {
        "directory" => std::fs::create_dir(path).unwrap(),
        "dangling" => symlink("nowhere-at-all", path).unwrap(),
        "circle" => symlink(path.file_name().unwrap(), path).unwrap(),
        "bytes" => std::fs::write(path, b"\xff\xfe").unwrap(),
        _ => std::fs::write(path, how).unwrap(),
    }
}

const SPOILT: [(&str, &str); 4] = [
    ("directory", "it is a directory"),
    ("dangling", "it is a link to nowhere-at-all, where nothing is"),
    ("circle", "its links lead in a circle"),
    ("bytes", "it is not text in UTF-8"),
];

#[test]
fn files_that_cannot_be_read_are_named_with_the_reason_and_nothing_is_touched() {
    type Set = fn(&Path) -> (PathBuf, Vec<&'static str>);
    let cases: [(&str, i32, &str, Set); 9] = [
        ("the settings", 2, "--config", |home| (home.join("s.toml"), vec!["status", "--config", "s.toml"])),
        ("the settings by default", 2, "--config", |home| (home.join("imagecrud.toml"), vec!["status"])),
        ("an eucarc", 2, "--credentials", |home| {
            (home.join("rc"), vec!["up", "--bundle", "app", "--credentials", "rc"])
        }),
        ("euca2ools.ini", 2, "EUCA_CONFIG_PATH", |home| {
            std::fs::create_dir(home.join(".euca")).unwrap();
            (home.join(".euca/a.ini"), vec!["status", "--cloud", "eucalyptus"])
        }),
        ("the local cloud's eucarc", 2, "local", |home| {
            std::fs::create_dir(home.join("local")).unwrap();
            (home.join("local/eucarc"), vec!["status", "--local-state-dir", "local"])
        }),
        ("the app's binary", 2, "make build", |home| {
            (home.join("binary"), vec!["up", "--bundle", "binary", "--credentials", "eucarc"])
        }),
        ("an authority", 2, "certificate", |home| {
            let text = "[database]\nurl = \"mysql://a:b@c/d\"\nauthority = \"ca.pem\"\n";
            std::fs::write(home.join("imagecrud.toml"), text).unwrap();
            (home.join("ca.pem"), vec!["plan"])
        }),
        ("a token", 2, "hard to guess", |home| {
            std::fs::write(home.join("imagecrud.toml"), "[web]\nwrite_token_file = \"token\"\n").unwrap();
            (home.join("token"), vec!["plan"])
        }),
        ("the state", 1, "remove it", |home| {
            std::fs::create_dir(home.join(".imagecrud")).unwrap();
            (home.join(".imagecrud/imagecrud.json"), vec!["teardown", "--yes", "--credentials", "eucarc"])
        }),
    ];
    for (what, code, hint, set) in cases {
        for (how, words) in SPOILT {
            // A binary is no text, and a directory holds what euca2ools would not read.
            if (what, how) == ("the app's binary", "bytes") || (what, how) == ("euca2ools.ini", "directory") {
                continue;
            }
            let home = tempfile::tempdir().unwrap();
            std::fs::write(home.path().join("app"), "app").unwrap();
            std::fs::write(home.path().join("eucarc"), eucarc(free_port())).unwrap();
            let (path, call) = set(home.path());
            spoil(&path, how);
            let before = tree(home.path());
            let ran = ran(program(home.path(), &call));
            println!("{what} {how}: {}", ran.err);
            is_refused(&ran, code, words, hint);
            assert!(ran.err.contains(path.file_name().unwrap().to_str().unwrap()), "{}", ran.err);
            // What is in the state's place may be a state.
            let is_lock = |path: &Path| what == "the state" && path.ends_with("imagecrud.lock");
            let after: Vec<_> = tree(home.path()).into_iter().filter(|(path, _)| !is_lock(path)).collect();
            assert_eq!(after, before, "{what} {how}");
        }
    }
}

#[test]
fn files_that_hold_something_else_are_named_and_nothing_is_touched() {
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
    write("app", "app");
    write("empty", "");
    write("nonsense", "<html>");
    write("address", &eucarc(1).replace("EC2_URL=http://", "EC2_URL=nonsense"));
    write("key", &eucarc(1).replace("AWS_SECRET_ACCESS_KEY", "OTHER"));
    write("euca.ini", "nonsense");
    write("authority.toml", "[database]\nurl = \"mysql://a:b@c/d\"\nauthority = \"nonsense\"\n");
    write("token.toml", "[web]\nwrite_token_file = \"nonsense\"\n");
    write("good", &eucarc(1));
    std::fs::create_dir(home.path().join(".imagecrud")).unwrap();
    write(".imagecrud/half.json", "{ \"stack\": \"half\", \"stack_id\"");
    let before = tree(home.path());
    for (call, code, words, hint) in [
        (&["up", "--bundle", "empty", "--credentials", "good"][..], 2, "binary empty: it is empty", "make build"),
        (&["up", "--bundle", "/dev/null"], 2, "binary /dev/null: it is no file", "make build"),
        (&["status", "--credentials", "nonsense"], 2, "is not set in the eucarc", "download the credentials"),
        (
            &["status", "--credentials", "address"],
            2,
            "EC2_URL is `nonsense127.0.0.1:1/`, which is no address",
            "http://HOST",
        ),
        (&["status", "--credentials", "key"], 2, "AWS_SECRET_ACCESS_KEY", "export NAME=value"),
        (&["plan", "--config", "token.toml"], 2, "a token has 16 characters at least", "hard to guess"),
        (&["status", "--config", "authority.toml"], 2, "database.authority holds no certificate", "BEGIN CERTIFICATE"),
        (
            &["plan", "--stack", "half", "--credentials", "good"],
            1,
            "half.json: it is not what this program wrote",
            "remove it",
        ),
        (&["up", "--bundle", "app", "--state-dir", "app"], 2, "the state directory app is no directory", "--state-dir"),
        (&["man", "app"], 1, "writing the manual to app", "a directory that can be written"),
    ] {
        let ran = ran(program(home.path(), call));
        println!("{call:?}: {}", ran.err);
        is_refused(&ran, code, words, hint);
        assert_eq!(tree(home.path()), before, "{call:?}");
    }
    let mut command = program(home.path(), &["status", "--cloud", "eucalyptus"]);
    command.env("EUCA_CONFIG_PATH", "euca.ini");
    is_refused(&ran(command), 2, "euca.ini has no default region", "--region");
}
