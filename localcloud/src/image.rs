//! The Debian tree from which instances boot, built once by `image/recipe.sh` and cached by what the recipe says. A
//! tree that is built is never written to again: instances overlay it.
//!
//! `CACHE/images/SUITE-HASH/{root,image.json}`; a build under way is `.building-…` beside it, and is renamed when whole.

/// Running the recipe.
mod build;
/// What a build says while it works.
mod progress;

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{config::Config, host::HostError};

const RECIPE: &str = include_str!("../image/recipe.sh");
const DEFAULT_SUITE: &str = "bookworm";

/// Why there is no image, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{message}{}", hint.as_deref().map(|hint| format!("\n\nhint: {hint}")).unwrap_or_default())]
pub struct ImageError {
    pub message: String,
    pub hint: Option<String>,
}

impl ImageError {
    fn new(doing: impl std::fmt::Display, cause: impl std::fmt::Display) -> Self {
        Self { message: format!("{doing}: {cause}"), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<HostError> for ImageError {
    fn from(error: HostError) -> Self {
        Self { message: error.message, hint: error.hint }
    }
}

pub type Result<T> = std::result::Result<T, ImageError>;

/// What to build.
#[derive(Debug, Clone, Args)]
pub struct BuildOptions {
    /// Debian release of the image
    #[arg(long, default_value = DEFAULT_SUITE, value_parser = parse_suite)]
    pub suite: String,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self { suite: DEFAULT_SUITE.to_owned() }
    }
}

/// A suite becomes part of a directory's name and an argument.
fn parse_suite(text: &str) -> std::result::Result<String, String> {
    let is_name = text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if is_name {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not the name of a Debian release such as bookworm"))
    }
}

/// A tree that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltImage {
    pub name: String,
    pub description: String,
    /// The tree.
    pub root: PathBuf,
    pub created: jiff::Timestamp,
    pub recipe_hash: String,
    pub suite: String,
    /// As EC2 calls it: `x86_64`, `arm64`.
    pub architecture: String,
}

/// `image.json`: what the tree itself does not tell.
#[derive(Debug, Serialize, Deserialize)]
struct Description {
    created: jiff::Timestamp,
    recipe_hash: String,
    suite: String,
    architecture: String,
}

/// The image of this program's own recipe, if it is built: of the default suite, or else the newest.
///
/// # Errors
/// When the cache cannot be read.
pub fn find(config: &Config) -> Result<Option<BuiltImage>> {
    let hash = recipe_hash();
    let own = list(config)?.into_iter().filter(|image| image.recipe_hash == hash);
    Ok(own.max_by_key(|image| (image.suite == DEFAULT_SUITE, image.created)))
}

/// Every image in the cache, the oldest first.
///
/// # Errors
/// When the cache cannot be read.
pub fn list(config: &Config) -> Result<Vec<BuiltImage>> {
    let directory = images(config);
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ImageError::new(format!("reading {}", directory.display()), error)),
    };
    let whole = entries.flatten().filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    let mut images: Vec<BuiltImage> = whole.filter_map(|entry| read(&entry.path())).collect();
    images.sort_by_key(|image| image.created);
    Ok(images)
}

/// Builds the image, unless it is built already.
///
/// # Errors
/// With the end of the build's log, and a hint where the reason is known.
pub async fn build(config: &Config, options: &BuildOptions) -> Result<BuiltImage> {
    build::run(&images(config), options).await
}

fn images(config: &Config) -> PathBuf {
    let images = config.cache_dir.join("images");
    std::path::absolute(&images).unwrap_or(images)
}

/// Where the image of this suite and this recipe is, or will be.
fn place(images: &Path, suite: &str) -> PathBuf {
    images.join(format!("{suite}-{}", recipe_hash()))
}

fn read(directory: &Path) -> Option<BuiltImage> {
    let description: Description = serde_json::from_slice(&fs::read(directory.join("image.json")).ok()?).ok()?;
    let root = directory.join("root");
    let Description { created, recipe_hash, suite, architecture } = description;
    root.is_dir().then(|| BuiltImage {
        name: format!("debian-{suite}-{architecture}-{recipe_hash}"),
        description: format!("Debian {suite} with systemd, cloud-init and MariaDB, built on this machine"),
        root,
        created,
        recipe_hash,
        suite,
        architecture,
    })
}

fn recipe_hash() -> String {
    let digest = Sha256::digest(RECIPE);
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Prefix;

    fn config(cache_dir: &Path) -> Config {
        Config {
            state_dir: PathBuf::from("/nonexistent"),
            cache_dir: cache_dir.to_owned(),
            port: 1,
            subnet: Prefix(10, 77),
            public_subnet: Prefix(127, 77),
            instance_limit: 40,
            zones: 2,
        }
    }

    fn put(images: &Path, name: &str, recipe_hash: &str, suite: &str, created: i64) {
        let directory = images.join(name);
        fs::create_dir_all(directory.join("root")).unwrap();
        let description = Description {
            created: jiff::Timestamp::from_second(created).unwrap(),
            recipe_hash: recipe_hash.to_owned(),
            suite: suite.to_owned(),
            architecture: "x86_64".to_owned(),
        };
        fs::write(directory.join("image.json"), serde_json::to_string(&description).unwrap()).unwrap();
    }

    #[test]
    fn an_image_of_another_recipe_or_half_built_is_not_found() {
        let cache = tempfile::tempdir().unwrap();
        let config = config(cache.path());
        assert_eq!(find(&config).unwrap(), None);
        let images = images(&config);
        put(&images, "bookworm-other", "other", "bookworm", 30);
        put(&images, ".building-bookworm-1", &recipe_hash(), "bookworm", 40);
        assert_eq!(find(&config).unwrap(), None);
        put(&images, "trixie-own", &recipe_hash(), "trixie", 20);
        assert_eq!(find(&config).unwrap().unwrap().suite, "trixie");
        put(&images, "bookworm-own", &recipe_hash(), "bookworm", 10);
        assert_eq!(find(&config).unwrap().unwrap().suite, "bookworm");
        assert_eq!(list(&config).unwrap().len(), 3);
    }

    #[test]
    fn a_suite_is_a_name_and_nothing_else() {
        assert!(parse_suite("bookworm").is_ok());
        for bad in ["", "../x", "-a", "book worm"] {
            assert!(parse_suite(bad).is_err(), "{bad}");
        }
    }
}
