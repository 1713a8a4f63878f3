//! What the commands share: settings, the connection, the state.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::cli::{Cli, Command, GlobalOptions};
use crate::cloud::capabilities;
use crate::cloud::clients::{Clients, for_aws, for_eucarc};
use crate::cloud::euca2ools::Euca2ools;
use crate::cloud::eucarc::Eucarc;
use crate::cloud::{Cloud, local, new_stack_id, recover_stack_id};
use crate::config::{CloudKind, Config};
use crate::converge::Pause;
use crate::environment;
use crate::error::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::lock::{self, Attempt, Lock};
use crate::report::{Reporter, Step, Verbosity};
use crate::resource::Resource;
use crate::stack::{Blueprint, Learned, declare};
use crate::state::{self, State};
use crate::user_data;

/// `adopt`
pub mod adopt;
/// `backup`
pub mod backup;
/// `bake`
pub mod bake;
/// `completions`, `man`, `config-schema`
pub mod describe;
/// `doctor`
pub mod doctor;
/// `drill`
pub mod drill;
/// `events`
pub mod events;
/// Parts of `up` that other commands need.
pub mod heal;
/// `logs`
pub mod logs;
/// `open`
pub mod open;
/// `plan`
pub mod plan;
/// `restore`
pub mod restore;
/// `rollback`
pub mod rollback;
/// `scale`
pub mod scale;
/// `ssh`
pub mod ssh;
/// `status`
pub mod status;
/// `teardown`
pub mod teardown;
/// Where the time of a walk went.
mod timings;
/// `up`
pub mod up;
/// `versions`
pub mod versions;

/// How a state file names the local cloud.
const LOCAL: &str = "local";

/// Runs a command. What ran on a VM ends with its own exit code.
pub async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let Cli { global, command } = cli;
    let given = global.clone();
    let open = |interrupt: fn() -> Interrupt| -> Result<Session, Failure> {
        let report =
            Reporter::new(Verbosity { quiet: global.quiet, verbose: global.verbose, no_progress: global.no_progress });
        Ok(Session { config: configure(&global)?, global: global.clone(), report, interrupt: interrupt() })
    };
    // What changes something ends its calls first when it is interrupted; what only looks may end at once.
    let session = || open(Interrupt::listen);
    let looking = || open(Interrupt::default);
    let exit = match command {
        Command::Plan(options) => plan::run(looking()?, options).await,
        Command::Up(options) => {
            let next = again(&given, "up");
            up::run(session()?, options).await.map_err(|failure| failure.next(next))
        }
        Command::Status(options) => status::run(looking()?, options).await,
        Command::Open => open::run(looking()?).await,
        Command::Events(options) => events::run(looking()?, options).await,
        Command::Logs(options) => logs::run(looking()?, options).await,
        Command::Ssh(options) => return ssh::run(looking()?, options).await.map(ExitCode::from),
        Command::Scale(options) => scale::run(session()?, options).await,
        Command::Teardown(options) => {
            let data = if options.delete_data { " --delete-data" } else { "" };
            let next = again(&given, &format!("teardown --yes{data}"));
            teardown::run(session()?, options).await.map_err(|failure| failure.next(next))
        }
        Command::Doctor => doctor::run(looking()?).await,
        Command::Adopt => adopt::run(session()?).await,
        Command::Completions { shell } => describe::completions(shell),
        Command::Man { directory } => describe::manual(directory.as_deref()),
        Command::ConfigSchema => describe::config_schema(),
        Command::RenderUserData { kind } => {
            print!("{}", user_data::sample(kind).map_err(|error| Failure::new("rendering user-data", error))?);
            Ok(Exit::Done)
        }
        Command::Versions(options) => versions::run(session()?, options).await,
        Command::Rollback(options) => rollback::run(session()?, options).await,
        Command::Backup(options) => backup::run(session()?, options).await,
        Command::Restore(options) => restore::run(session()?, options).await,
        Command::Drill(options) => drill::run(session()?, options).await,
        Command::Bake(options) => bake::run(session()?, options).await,
    };
    exit.map(|exit| ExitCode::from(exit as u8))
}

/// A command as the user would write it, with the flags that this run was given.
fn again(global: &GlobalOptions, command: &str) -> String {
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let state_dir = Some(&global.state_dir).filter(|path| **path != Path::new(".imagecrud"));
    let lock_timeout = Some(global.lock_timeout).filter(|secs| *secs > 0);
    let flags = [
        ("--cloud", global.cloud.map(|kind| kind.word().to_owned())),
        ("--credentials", path(&global.credentials)),
        ("--config", path(&global.config)),
        ("--stack", global.stack.clone()),
        ("--state-dir", path(&state_dir.cloned())),
        ("--lock-timeout", lock_timeout.map(|secs| secs.to_string())),
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
    let (mut config, lines) = Config::read(path, global.config.is_some())?;
    if let Some(kind) = global.cloud {
        config.cloud.kind = kind;
    }
    if let Some(credentials) = &global.credentials {
        config.cloud.credentials = Some(credentials.clone());
        if global.cloud.is_none() {
            config.cloud.kind = CloudKind::Eucalyptus;
        }
    }
    let url = environment::text("IMAGECRUD_DATABASE_URL")?;
    let from_variable = url.is_some();
    config.database.url = url.or(config.database.url);
    if let Some(region) = &global.region {
        config.cloud.region = Some(region.clone());
    }
    if let Some(vpc) = &global.vpc {
        config.network.vpc = Some(vpc.clone());
    }
    if !global.subnets.is_empty() {
        config.network.subnets.clone_from(&global.subnets);
    }
    if let Some(stack) = &global.stack {
        config.stack = Some(stack.clone());
    }
    config.check(&lines, global.cloud.is_some())?;
    config.own_database().map_err(|mut failure| {
        if from_variable {
            failure.what = failure.what.replace("database.url", "the variable IMAGECRUD_DATABASE_URL:");
        }
        failure
    })?;
    config.write_token_sha256()?;
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
    /// The stack's lock; where another run holds it, waits as long as it was told to.
    pub async fn lock(&self) -> Result<Lock, Failure> {
        let limit = Duration::from_secs(self.global.lock_timeout.into());
        let (began, mut pause) = (Instant::now(), Pause::default());
        let mut step: Option<Step<'_>> = None;
        loop {
            let held = match lock::attempt(&self.global.state_dir, self.config.stack()).await? {
                Attempt::Taken(lock) => {
                    if let Some(step) = step {
                        step.done("taken");
                    }
                    return Ok(lock);
                }
                Attempt::Held(held) => held,
            };
            if began.elapsed() >= limit {
                if let Some(step) = step {
                    step.failed();
                }
                return Err(held.failure(limit));
            }
            let step = step.get_or_insert_with(|| self.report.step("lock", "another run works on the stack"));
            step.waiting(&format!("{held} to end"), "", began.elapsed(), limit);
            self.interrupt.sleep(pause.lengthen()).await?;
        }
    }

    /// Clients for the chosen cloud; none where that is the local one and it is to be left alone.
    pub async fn clients(&self, when_stopped: WhenStopped) -> Result<Option<Clients>, Failure> {
        let cloud = &self.config.cloud;
        let region = cloud.region.as_deref();
        match cloud.kind {
            CloudKind::Aws => for_aws(region, cloud.profile.as_deref()).await.map(Some),
            CloudKind::Eucalyptus => {
                if let Some(path) = &cloud.credentials {
                    return for_eucarc(&Eucarc::read(path)?, region).await.map(Some);
                }
                let Some(euca2ools) = Euca2ools::read()? else {
                    return Err(Failure::usage("--cloud eucalyptus needs credentials").hint(
                        "name the eucarc of your cloud with --credentials, or write an euca2ools.ini into ~/.euca",
                    ));
                };
                if region.is_some() {
                    return for_eucarc(&euca2ools.choose(region)?, None).await.map(Some);
                }
                for name in ["EUCA_DEFAULT_REGION", "AWS_DEFAULT_REGION"] {
                    let Some(region) = environment::text(name)? else { continue };
                    let chosen = euca2ools.choose(Some(&region)).map_err(|mut failure| {
                        failure.what = format!("the variable {name}: {}", failure.what);
                        failure
                    });
                    return for_eucarc(&chosen?, None).await.map(Some);
                }
                for_eucarc(&euca2ools.choose(None)?, None).await.map(Some)
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

    /// As `clients`, for commands that need a cloud that runs.
    pub async fn running_clients(&self, doing: &str) -> Result<Clients, Failure> {
        let clients = self.clients(WhenStopped::Leave).await?;
        clients.ok_or_else(|| {
            Failure::new(doing, "the local cloud does not run")
                .hint("`imagecrud-deploy up` starts it with its stack, `localcloud serve --detach` by itself")
        })
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

    /// Whether the state file says what the cloud could do when it was last asked.
    pub fn remembers_capabilities(&self) -> Result<bool, Failure> {
        let state = state::load(&self.global.state_dir, self.config.stack())?;
        Ok(state.is_some_and(|state| state.capabilities().is_some()))
    }

    /// The connection for a stack.
    pub async fn connect(&self, clients: Clients) -> Result<(Cloud, State), Failure> {
        let (state, capabilities) =
            tokio::join!(self.state(&clients), capabilities::probe(&clients, self.config.stack()));
        let (state, capabilities) = (state?, capabilities?);
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
            learned: Learned::default(),
        })
    }
}
