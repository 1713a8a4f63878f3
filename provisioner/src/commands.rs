//! What the commands share: settings, the connection, the state.

use std::path::{Path, PathBuf};

use crate::cli::{Cli, Command, GlobalOptions};
use crate::cloud::capabilities::{self, Capabilities};
use crate::cloud::clients::{Clients, for_aws, for_eucarc};
use crate::cloud::eucarc::Eucarc;
use crate::cloud::{Cloud, local, new_stack_id, recover_stack_id};
use crate::config::{CloudKind, Config};
use crate::error::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::report::{Reporter, Verbosity};
use crate::resource::Resource;
use crate::stack::{Blueprint, declare};
use crate::state::{self, State};
use crate::user_data;

/// `doctor`
pub mod doctor;
/// `scale`
pub mod scale;
/// `status`
pub mod status;
/// `teardown`
pub mod teardown;
/// `up`
pub mod up;

/// How a state file names the local cloud.
const LOCAL: &str = "local";

/// Runs a command.
pub async fn run(cli: Cli) -> Result<Exit, Failure> {
    let Cli { global, command } = cli;
    let given = global.clone();
    let session = || {
        let report =
            Reporter::new(Verbosity { quiet: global.quiet, verbose: global.verbose, no_progress: global.no_progress });
        Ok(Session { config: configure(&global)?, global, report, interrupt: Interrupt::listen() })
    };
    match command {
        Command::Up(options) => {
            let next = again(&given, "up");
            up::run(session()?, options).await.map_err(|failure| failure.next(next))
        }
        Command::Status(options) => status::run(session()?, options).await,
        Command::Scale(options) => scale::run(session()?, options).await,
        Command::Teardown(options) => {
            let data = if options.delete_data { " --delete-data" } else { "" };
            let next = again(&given, &format!("teardown --yes{data}"));
            teardown::run(session()?, options).await.map_err(|failure| failure.next(next))
        }
        Command::Doctor => doctor::run(session()?).await,
        Command::RenderUserData { kind } => {
            print!("{}", user_data::sample(kind).map_err(|error| Failure::new("rendering user-data", error))?);
            Ok(Exit::Done)
        }
    }
}

/// A command as the user would write it, with the flags that this run was given.
fn again(global: &GlobalOptions, command: &str) -> String {
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let state_dir = Some(&global.state_dir).filter(|path| **path != Path::new(".imagecrud"));
    let flags = [
        ("--cloud", global.cloud.map(|kind| kind.word().to_owned())),
        ("--credentials", path(&global.credentials)),
        ("--config", path(&global.config)),
        ("--stack", global.stack.clone()),
        ("--state-dir", path(&state_dir.cloned())),
    ];
    let mut text = "imagecrud-deploy".to_owned();
    for (flag, value) in flags {
        if let Some(value) = value {
            text.push_str(&format!(" {flag} {value}"));
        }
    }
    format!("{text} {command}")
}

/// The settings file with flags and environment over it.
fn configure(global: &GlobalOptions) -> Result<Config, Failure> {
    let path = global.config.as_deref().unwrap_or(Path::new("imagecrud.toml"));
    let mut config = Config::read(path, global.config.is_some())?;
    if let Some(kind) = global.cloud {
        config.cloud.kind = kind;
    }
    if let Some(credentials) = &global.credentials {
        config.cloud.credentials = Some(credentials.clone());
        if global.cloud.is_none() {
            config.cloud.kind = CloudKind::Eucalyptus;
        }
    }
    if let Some(stack) = &global.stack {
        config.stack = Some(stack.clone());
    }
    config.check()?;
    Ok(config)
}

/// One run of a command.
pub struct Session {
    /// The settings.
    pub config: Config,
    /// The flags.
    pub global: GlobalOptions,
    /// Where output goes.
    pub report: Reporter,
    /// Ctrl-C.
    pub interrupt: Interrupt,
}

/// What to do where the local cloud does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenStopped {
    /// Start it.
    Start,
    /// Start it if it was there before, as it then holds something.
    StartIfFounded,
    /// Leave it.
    Leave,
}

impl Session {
    /// Clients for the chosen cloud; none where that is the local one and it is to be left alone.
    pub async fn clients(&self, when_stopped: WhenStopped) -> Result<Option<Clients>, Failure> {
        let cloud = &self.config.cloud;
        let region = cloud.region.as_deref();
        match cloud.kind {
            CloudKind::Aws => for_aws(region, cloud.profile.as_deref()).await.map(Some),
            CloudKind::Eucalyptus => {
                let Some(path) = &cloud.credentials else {
                    return Err(Failure::usage("--cloud eucalyptus needs credentials")
                        .hint("name the eucarc of your cloud with --credentials"));
                };
                for_eucarc(&Eucarc::read(path)?, region).await.map(Some)
            }
            CloudKind::Local => {
                let directory = &self.global.local_state_dir;
                let eucarc = match local::running(directory).await? {
                    Some(eucarc) => eucarc,
                    None if when_stopped == WhenStopped::Leave => return Ok(None),
                    None if when_stopped == WhenStopped::StartIfFounded && !local::eucarc_path(directory).exists() => {
                        return Ok(None);
                    }
                    None => local::ensure_running(directory, &self.report).await?,
                };
                for_eucarc(&eucarc, region).await.map(Some)
            }
        }
    }

    /// Which cloud a state file is about.
    pub fn cloud_identity(&self, clients: &Clients) -> String {
        match self.config.cloud.kind {
            CloudKind::Local => LOCAL.to_owned(),
            CloudKind::Aws => format!("aws {}", clients.endpoints.region),
            CloudKind::Eucalyptus => format!("eucalyptus {}", clients.endpoints.ec2),
        }
    }

    /// The state: from its file, or with the id found again in the cloud, or a new one.
    pub async fn state(&self, clients: &Clients) -> Result<State, Failure> {
        let stack = self.config.stack();
        let identity = self.cloud_identity(clients);
        if let Some(state) = state::load(&self.global.state_dir, stack)? {
            if state.cloud != identity {
                return Err(Failure::usage(format!(
                    "the stack {stack} of this directory is on another cloud ({}), not on {identity}",
                    state.cloud
                ))
                .hint("choose that cloud with --cloud, another name with --stack, or another --state-dir"));
            }
            return Ok(state);
        }
        let recovered = recover_stack_id(&clients.s3, stack)
            .await
            .map_err(|error| Failure::cloud("looking for the stack's bucket", &error))?;
        if let Some(id) = &recovered {
            self.report.detail(format!(" = the stack's id {id} was found again by its bucket"));
        }
        let id = recovered.unwrap_or_else(new_stack_id);
        Ok(State::new(stack, &id, &identity))
    }

    /// The connection for a stack.
    pub async fn connect(&self, clients: Clients) -> Result<(Cloud, State), Failure> {
        let (state, capabilities) = tokio::join!(self.state(&clients), capabilities::probe(&clients));
        let (state, capabilities): (State, Capabilities) = (state?, capabilities?);
        let cloud = Cloud::new(clients, &state.stack, &state.stack_id, capabilities);
        Ok((cloud, state))
    }

    /// The declaration for commands that only look: no site, no binary.
    pub fn declaration(&self, cloud: &Cloud, state: &State) -> Vec<Box<dyn Resource>> {
        declare(Blueprint {
            config: &self.config,
            cloud,
            site: crate::cloud::site::Site::default(),
            binary: None,
            bounds: state.scale.unwrap_or_else(|| self.config.bounds()),
            state_dir: &self.global.state_dir,
        })
    }
}
