//! Embeds the files of `cloud-init/` so that the binary can be moved alone. Each kind of VM has a folder:
//! its `user-data.yaml` is the template; everything else beside it and in `shared/` is handed to the
//! template by name.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() {
    let manifest = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let root = manifest.join("../cloud-init");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut code = String::new();
    let shared = root.join("shared");
    println!("cargo::rerun-if-changed={}", shared.display());
    for kind in ["database", "web"] {
        let directory = root.join(kind);
        println!("cargo::rerun-if-changed={}", directory.display());
        let _ = writeln!(code, "pub(super) const {}: &[(&str, &str)] = &[", kind.to_uppercase());
        for path in files(&directory).into_iter().chain(files(&shared)) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let _ = writeln!(code, "    ({name:?}, include_str!({:?})),", path.display().to_string());
        }
        code.push_str("];\n");
    }
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("cargo sets it")).join("cloud_init.rs");
    std::fs::write(&out, code).expect("cargo's own directory can be written");
}

/// The files of a folder, by name; none where it does not exist, which rendering reports.
fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()).collect();
    paths.sort();
    paths
}
