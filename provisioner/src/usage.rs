//! Wrong calls, told in the form of every other failure: a sentence, a hint, and exit code 2.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory, FromArgMatches};

use crate::cli::Cli;
use crate::config::settings::Kind;
use crate::environment;
use crate::error::Failure;

/// Reads the command line and the variables that stand for flags. Help and version end the program.
pub fn parse(arguments: &[OsString]) -> Result<Cli, Failure> {
    let mut command = without_empty(Cli::command());
    let matches = command.try_get_matches_from_mut(arguments);
    match matches.and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches)) {
        Ok(cli) => Ok(cli),
        Err(error) if !error.use_stderr() => error.exit(),
        Err(error) => {
            let error = error.format(&mut command);
            Err(told(&command, arguments, &error))
        }
    }
}

/// A variable that is set to nothing is not set, as everywhere else.
fn without_empty(command: Command) -> Command {
    let is_empty = |arg: &Arg| arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    command.mut_args(|arg| if is_empty(&arg) { arg.env(None::<&str>) } else { arg }).mut_subcommands(without_empty)
}

fn told(command: &Command, arguments: &[OsString], error: &clap::Error) -> Failure {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let usage = text.split_once("Usage: ").map(|(_, rest)| rest.lines().next().unwrap_or_default().to_owned());
    match (error.kind(), context(ContextKind::InvalidArg)) {
        (ErrorKind::InvalidValue | ErrorKind::ValueValidation, Some(arg)) => {
            let value = context(ContextKind::InvalidValue).unwrap_or_default();
            let allowed = match context(ContextKind::ValidValue) {
                Some(words) => format!("one of {words}"),
                None => std::error::Error::source(error).map_or("a value".to_owned(), ToString::to_string),
            };
            let place = variable(command, arguments, &arg).map_or(arg, |variable| format!("the variable {variable}"));
            let what = if value.is_empty() { "it is empty".to_owned() } else { format!("`{value}` is not possible") };
            Failure::usage(format!("{place}: {what}")).hint(allowed)
        }
        (ErrorKind::InvalidUtf8, _) => {
            let broken = arguments.iter().find(|argument| argument.to_str().is_none());
            let is_broken = |name: &'static str| environment::raw(name).is_some_and(|value| value.to_str().is_none());
            let variable = || {
                let name = environment::VARIABLES.iter().map(|variable| variable.name).find(|name| is_broken(name));
                format!("the variable {}", name.unwrap_or_default())
            };
            let broken = broken.map_or_else(variable, |argument| format!("`{}`", argument.display()));
            Failure::usage(format!("{broken} is not text in UTF-8"))
                .hint("only the paths of files may be something else")
        }
        _ => {
            // What clap says in its first paragraph is the sentence; it brings more for a few mistakes.
            let sentence: Vec<&str> = text.split("\n\n").next().unwrap_or(text).lines().map(str::trim).collect();
            let tip = text.lines().find_map(|line| line.trim().strip_prefix("tip: ").map(str::to_owned));
            let usage = usage.map(|usage| format!("it is `{usage}`; with --help it says more"));
            let all = || "`imagecrud-deploy --help` lists what there is".to_owned();
            Failure::usage(sentence.join(" ")).hint(tip.or(usage).unwrap_or_else(all))
        }
    }
}

/// The variable that a value came from, where it was not given as a flag.
fn variable(command: &Command, arguments: &[OsString], shown: &str) -> Option<String> {
    let all = command.get_subcommands().flat_map(Command::get_arguments).chain(command.get_arguments());
    let flag = shown.split_whitespace().next()?;
    let arg = all.filter(|arg| arg.get_env().is_some()).find(|arg| arg.get_long() == flag.strip_prefix("--"))?;
    let is_given = arguments.iter().any(|given| given.to_string_lossy().split('=').next() == Some(flag));
    (!is_given).then(|| arg.get_env().map(|name| name.to_string_lossy().into_owned())).flatten()
}

/// A whole number between two, both included.
pub fn whole(least: u32, most: u32) -> impl Fn(&str) -> Result<u32, String> + Clone + Send + Sync + 'static {
    move |text| match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(Kind::Whole(least, most).allowed()),
    }
}

/// A name or an id of the cloud.
pub fn name(text: &str) -> Result<String, String> {
    of_kind(Kind::Name, text)
}

/// The name of a stack.
pub fn stack_name(text: &str) -> Result<String, String> {
    of_kind(Kind::StackName, text)
}

fn of_kind(kind: Kind, text: &str) -> Result<String, String> {
    let allowed = || kind.allowed().trim_end_matches(", in quotes").to_owned();
    if kind.trouble(text).is_none() { Ok(text.to_owned()) } else { Err(allowed()) }
}
