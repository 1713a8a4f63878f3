//! Running the recipe: one build at a time on a cache, in a directory beside the images that is renamed when whole. A
//! build that was killed is ended and removed by the next.

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, Signal};

use super::{
    BuildOptions, BuiltImage, Description, ImageError, RECIPE, Result, architecture, place,
    progress::{Progress, Step},
    read, recipe_hash,
};
use crate::host::{
    command::Command,
    mount,
    process::{self, PidFile, ProcessId},
};

const POLL: Duration = Duration::from_millis(200);
/// How long a build that is interrupted may take to put away what it has made.
const INTERRUPTED: Duration = Duration::from_secs(5);
const UNDER_WAY: &str = ".building-";

pub(super) async fn run(images: &Path, options: &BuildOptions) -> Result<BuiltImage> {
    let suite = &options.suite;
    let place = place(images, suite);
    if let Some(image) = read(&place) {
        return Ok(image);
    }
    if process::find_program("mmdebstrap").is_none() {
        return Err(ImageError::new("building the VM image", "`mmdebstrap` is not installed")
            .hint("apt-get install mmdebstrap"));
    }
    fs::create_dir_all(images).map_err(|error| ImageError::new(format!("creating {}", images.display()), error))?;
    let mut progress = Progress::new(format!("VM image {suite}"));
    let _lock = lock(images, &mut progress).await?;
    // Whoever held the lock before may have built it.
    if let Some(image) = read(&place) {
        return Ok(image);
    }
    remove_abandoned(images).await?;
    let building = Building::begin(images, suite)?;
    let result = tokio::select! {
        result = building.recipe(suite, &mut progress) => result,
        _ = tokio::signal::ctrl_c() => Err(ImageError::new("building the VM image", "interrupted")),
    };
    if let Err(error) = result {
        building.end().await;
        let _ = remove(&building.directory).await;
        return Err(error);
    }
    let image = building.keep(&place, suite)?;
    remove(&building.directory).await?;
    progress.done("built");
    Ok(image)
}

/// The lock of the cache, held until it is dropped. It is the kernel's: a killed holder has it no more.
async fn lock(images: &Path, progress: &mut Progress) -> Result<fs::File> {
    let path = images.join("build.lock");
    let failed = |error: std::io::Error| ImageError::new(format!("locking {}", path.display()), error);
    let file = fs::File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) => {
                progress.doing(&Step::named("waiting for another build"));
                tokio::time::sleep(POLL).await;
            }
            Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

/// Ends and removes builds whose owner was killed. Only the holder of the lock may call this: every other build is
/// then abandoned.
async fn remove_abandoned(images: &Path) -> Result<()> {
    let entries =
        fs::read_dir(images).map_err(|error| ImageError::new(format!("reading {}", images.display()), error))?;
    for entry in entries.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(UNDER_WAY.as_bytes()) {
            let abandoned = Building { directory: entry.path() };
            abandoned.end().await;
            remove(&abandoned.directory).await?;
        }
    }
    Ok(())
}

async fn remove(directory: &Path) -> Result<()> {
    mount::unmount_below(directory)?;
    let owned = directory.to_owned();
    let removed = tokio::task::spawn_blocking(move || fs::remove_dir_all(owned)).await;
    let doing = || format!("removing {}", directory.display());
    removed.map_err(|error| ImageError::new(doing(), error))?.map_err(|error| ImageError::new(doing(), error))
}

/// One build: `image/` becomes the image, the rest goes away.
struct Building {
    directory: PathBuf,
}

impl Building {
    fn begin(images: &Path, suite: &str) -> Result<Self> {
        let directory = images.join(format!("{UNDER_WAY}{suite}-{}", std::process::id()));
        for part in ["image", "tmp"] {
            let part = directory.join(part);
            fs::create_dir_all(&part)
                .map_err(|error| ImageError::new(format!("creating {}", part.display()), error))?;
        }
        Ok(Self { directory })
    }

    fn root(&self) -> PathBuf {
        self.directory.join("image").join("root")
    }

    fn log(&self) -> PathBuf {
        self.directory.join("build.log")
    }

    fn pid_file(&self) -> PathBuf {
        self.directory.join("build.pid")
    }

    /// Runs the recipe to its end, telling how far it is.
    async fn recipe(&self, suite: &str, progress: &mut Progress) -> Result<()> {
        let (recipe, status) = (self.directory.join("recipe.sh"), self.directory.join("status"));
        fs::write(&recipe, RECIPE).map_err(|error| ImageError::new(format!("writing {}", recipe.display()), error))?;
        let command = Command::new("sh")
            .args(["-c", r#"bash "$1" "$2" "$3"; echo "$?" >"$4""#, "build"])
            .arg(&recipe)
            .arg(suite)
            .arg(self.root())
            .arg(&status)
            // What the recipe leaves there when it is killed goes with the directory.
            .env("TMPDIR", self.directory.join("tmp"));
        let builder = process::spawn(command, &self.log(), &self.pid_file()).await?;
        let mut step = Step::named("starting");
        let mut read = 0;
        while builder.is_alive() {
            self.follow(&mut read, &mut step);
            progress.doing(&step);
            tokio::time::sleep(POLL).await;
        }
        let status = fs::read_to_string(status).unwrap_or_default();
        if status.trim() == "0" { Ok(()) } else { Err(self.failure(&step)) }
    }

    /// Reads what was added to the log.
    fn follow(&self, read: &mut u64, step: &mut Step) {
        let mut text = Vec::new();
        if let Ok(mut log) = fs::File::open(self.log())
            && log.seek(SeekFrom::Start(*read)).is_ok()
            && log.read_to_end(&mut text).is_ok()
        {
            let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
            String::from_utf8_lossy(&text[..whole]).lines().for_each(|line| step.read(line));
            *read += whole as u64;
        }
    }

    fn failure(&self, step: &Step) -> ImageError {
        let end = process::tail(&self.log(), 12);
        let kept = self.directory.with_file_name("failed-build.log");
        let whole = match fs::copy(self.log(), &kept) {
            Ok(_) => format!("; all of it: {}", kept.display()),
            Err(_) => String::new(),
        };
        let error = ImageError::new("building the VM image", format!("it failed while {}{whole}\n{end}", step.name));
        match reason(&end) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    /// Names the finished tree: from here on it is an image.
    fn keep(&self, place: &Path, suite: &str) -> Result<BuiltImage> {
        let failed = |cause: &dyn std::fmt::Display| ImageError::new(format!("keeping {}", place.display()), cause);
        let description = Description {
            created: jiff::Timestamp::now(),
            recipe_hash: recipe_hash(),
            suite: suite.to_owned(),
            architecture: architecture().to_owned(),
        };
        let text = serde_json::to_string_pretty(&description).map_err(|error| failed(&error))?;
        let whole = self.directory.join("image");
        fs::write(whole.join("image.json"), text).map_err(|error| failed(&error))?;
        // A directory of that name without a description is none of ours that is whole.
        if place.exists() {
            fs::remove_dir_all(place).map_err(|error| failed(&error))?;
        }
        fs::rename(&whole, place).map_err(|error| failed(&error))?;
        read(place).ok_or_else(|| failed(&"it is not there"))
    }

    /// Ends the recipe and all that it has started.
    async fn end(&self) {
        let Some(builder) = PidFile::new(self.pid_file()).process() else { return };
        signal_group(builder, Signal::TERM);
        if !builder.wait(INTERRUPTED).await {
            signal_group(builder, Signal::KILL);
            builder.wait(INTERRUPTED).await;
        }
    }
}

fn signal_group(leader: ProcessId, signal: Signal) {
    if leader.is_alive()
        && let Some(group) = Pid::from_raw(leader.pid)
    {
        let _ = rustix::process::kill_process_group(group, signal);
    }
}

/// What the user can do about a failure whose words are known.
fn reason(log: &str) -> Option<&'static str> {
    let says = |words: &[&str]| words.iter().any(|word| log.contains(word));
    if says(&["No space left on device"]) {
        Some("make room: an image needs 2 GB while it is built; or choose another --cache-dir")
    } else if says(&["NO_PUBKEY", "EXPKEYSIG", "not signed"]) {
        Some("apt-get install debian-archive-keyring")
    } else if says(&[
        "Could not resolve",
        "Temporary failure",
        "Failed to fetch",
        "Could not connect",
        "Unable to connect",
    ]) {
        Some("the package mirror cannot be reached: check the network, or set http_proxy")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_failure_comes_with_what_to_do() {
        assert!(reason("E: Failed to fetch http://x").unwrap().contains("mirror"));
        assert!(reason("cp: No space left on device").unwrap().contains("make room"));
        assert_eq!(reason("something else"), None);
    }

    #[tokio::test]
    async fn what_a_killed_build_has_left_is_removed() {
        let images = tempfile::tempdir().unwrap();
        let abandoned = Building::begin(images.path(), "bookworm").unwrap();
        let sleeper =
            process::spawn(Command::new("sleep").arg("600"), &abandoned.log(), &abandoned.pid_file()).await.unwrap();
        remove_abandoned(images.path()).await.unwrap();
        assert!(!sleeper.is_alive());
        assert!(!abandoned.directory.exists());
    }
}
