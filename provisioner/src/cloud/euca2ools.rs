//! Reads the configuration of euca2ools: users and regions in ini files, chosen as `USER@REGION`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::cloud::eucarc::Eucarc;
use crate::environment;
use crate::error::Failure;
use crate::files;

/// What an option is called here, and as which variable of an eucarc it counts.
const SERVICES: [(&str, &str); 6] = [
    ("ec2-url", "EC2_URL"),
    ("s3-url", "S3_URL"),
    ("elasticloadbalancing-url", "AWS_ELB_URL"),
    ("autoscaling-url", "AWS_AUTO_SCALING_URL"),
    ("monitoring-url", "AWS_CLOUDWATCH_URL"),
    ("iam-url", "AWS_IAM_URL"),
];

/// Sections by name: `global`, `user NAME`, `region NAME`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Euca2ools {
    sections: BTreeMap<String, BTreeMap<String, String>>,
    /// For messages.
    files: Vec<PathBuf>,
}

impl Euca2ools {
    /// Reads the files that euca2ools would read; none where there are none.
    pub fn read() -> Result<Option<Self>, Failure> {
        let mut read = Self::default();
        for path in paths(environment::raw("EUCA_CONFIG_PATH"), std::env::home_dir().as_deref()) {
            let text = files::text(&path).map_err(|why| {
                Failure::usage(format!("reading {}: {why}", path.display()))
                    .hint("EUCA_CONFIG_PATH names other files; --credentials an eucarc")
            })?;
            read.add(&text);
            read.files.push(path);
        }
        Ok((!read.files.is_empty()).then_some(read))
    }

    /// Adds the text of a file. What it says again goes over what was said before.
    fn add(&mut self, text: &str) {
        let mut section = String::new();
        for line in text.lines().map(str::trim) {
            if line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.split_whitespace().collect::<Vec<_>>().join(" ");
                self.sections.entry(section.clone()).or_default();
            } else if let Some((name, value)) = line.split_once(['=', ':']) {
                let options = self.sections.entry(section.clone()).or_default();
                options.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
            }
        }
    }

    /// The credentials and addresses of `USER@REGION`, `REGION`, or of the default region.
    pub fn choose(&self, wanted: Option<&str>) -> Result<Eucarc, Failure> {
        let default = self.option("global", "", "default-region");
        let Some(wanted) = wanted.or(default.as_deref()) else {
            return Err(Failure::usage(format!("{} has no default region", self.names()))
                .hint(format!("choose one with --region [USER@]REGION: it has {}", self.listed("region "))));
        };
        let (user, region) = wanted.rsplit_once('@').map_or((None, wanted), |(user, region)| (Some(user), region));
        if !self.sections.contains_key(&format!("region {region}")) {
            return Err(Failure::usage(format!("the region {region} is unknown to {}", self.names()))
                .hint(format!("it has {}", self.listed("region "))));
        }
        let user = user.map(str::to_owned).or_else(|| self.option("region", region, "user"));
        let Some(user) = user else {
            return Err(Failure::usage(format!("the region {region} names no user"))
                .hint(format!("choose one with --region USER@{region}: there are {}", self.listed("user "))));
        };
        let missing = |what: &str, section: String| {
            Failure::usage(format!("{} has no {what} in [{section}]", self.names()))
                .hint("add it there, or name an eucarc with --credentials")
        };
        let mut variables = BTreeMap::new();
        for (name, variable) in [("key-id", "AWS_ACCESS_KEY_ID"), ("secret-key", "AWS_SECRET_ACCESS_KEY")] {
            let value = self.option("user", &user, name).ok_or_else(|| missing(name, format!("user {user}")))?;
            variables.insert(variable.to_owned(), value);
        }
        for (name, variable) in SERVICES {
            let value = self.option("region", region, name).ok_or_else(|| missing(name, format!("region {region}")))?;
            variables.insert(variable.to_owned(), value);
        }
        variables.insert("AWS_AUTH_REGION".to_owned(), region.to_owned());
        Ok(Eucarc::from_variables(variables))
    }

    /// An option of the section itself, else of the one that it `use`s, else of a pattern that fits its name.
    fn option(&self, kind: &str, name: &str, option: &str) -> Option<String> {
        let own = if name.is_empty() { kind.to_owned() } else { format!("{kind} {name}") };
        let mut section = Some(own.clone());
        // `use` may lead in a circle.
        for _ in 0..self.sections.len() {
            let options = self.sections.get(&section?);
            if let Some(value) = options.and_then(|options| options.get(option)).filter(|value| !value.is_empty()) {
                return Some(value.clone());
            }
            section = options.and_then(|options| options.get("use")).map(|other| format!("{kind} {other}"));
            if section.is_none() {
                break;
            }
        }
        let mut patterns: Vec<&String> =
            self.sections.keys().filter(|pattern| pattern.contains('*') && fits(pattern, &own)).collect();
        patterns.sort_by_key(|pattern| std::cmp::Reverse(pattern.len()));
        patterns.into_iter().find_map(|pattern| self.sections[pattern].get(option).cloned())
    }

    fn names(&self) -> String {
        let names: Vec<String> = self.files.iter().map(|path| path.display().to_string()).collect();
        if names.is_empty() { "euca2ools.ini".to_owned() } else { names.join(", ") }
    }

    fn listed(&self, kind: &str) -> String {
        let names: Vec<&str> = self.sections.keys().filter_map(|name| name.strip_prefix(kind)).collect();
        let names: Vec<&str> = names.into_iter().filter(|name| !name.contains('*')).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }
}

/// Whether a name fits a pattern in which each `*` stands for any text.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(name) = name.strip_prefix(head) else { return false };
    (0..=name.len()).filter(|at| name.is_char_boundary(*at)).any(|at| fits(rest, &name[at..]))
}

/// The order of euca2ools 3.4: EUCA_CONFIG_PATH alone, else the system's files, then the user's.
/// https://github.com/eucalyptus/euca2ools/blob/master/euca2ools/config.py
fn paths(named: Option<std::ffi::OsString>, home: Option<&Path>) -> Vec<PathBuf> {
    let is_named = named.is_some();
    let patterns: Vec<PathBuf> = match named {
        Some(paths) => std::env::split_paths(&paths).collect(),
        None => {
            let system = ["/etc/euca2ools/euca2ools.ini", "/etc/euca2ools/conf.d/*.ini"].map(PathBuf::from);
            system.into_iter().chain(home.map(|home| home.join(".euca/*.ini"))).collect()
        }
    };
    patterns.iter().flat_map(|pattern| expand(pattern, is_named)).collect()
}

/// The files that a path means, whose last part may have stars; in the order of their names. One that was asked for by its
/// name is among them also where it is none, and so is a link that leads nowhere: whoever reads them will say so.
fn expand(pattern: &Path, is_named: bool) -> Vec<PathBuf> {
    let (Some(directory), Some(name)) = (pattern.parent(), pattern.file_name()) else {
        return if is_named { vec![pattern.to_owned()] } else { Vec::new() };
    };
    let name = name.to_string_lossy();
    if !name.contains('*') {
        return if is_named || is_there(pattern) { vec![pattern.to_owned()] } else { Vec::new() };
    }
    let here = Path::new(".");
    let entries =
        std::fs::read_dir(if directory == Path::new("") { here } else { directory }).into_iter().flatten().flatten();
    let fitting = entries.filter(|entry| fits(&name, &entry.file_name().to_string_lossy()));
    let mut paths: Vec<PathBuf> = fitting.map(|entry| entry.path()).filter(|path| is_there(path)).collect();
    paths.sort();
    paths
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok() && !path.is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "
# The user's own.
[global]
default-region = one
[user jo]
key-id = AKI
secret-key = with=sign
[user 000123:admin]
use = jo
secret-key : other
[region one]
user = jo
ec2-url = http://one/services/compute/
use = defaults
[region *]
iam-url = http://all/services/Euare/
[region defaults]
s3-url = http://one/services/objectstorage/
elasticloadbalancing-url = http://one/services/LoadBalancing/
autoscaling-url = http://one/services/AutoScaling/
monitoring-url = http://one/services/CloudWatch/
[region two]
ec2-url = http://two/
";

    fn sample() -> Euca2ools {
        let mut read = Euca2ools::default();
        read.add(SAMPLE);
        read
    }

    #[test]
    fn the_region_its_user_and_what_they_use_make_credentials() {
        let chosen = sample().choose(None).unwrap();
        assert_eq!(chosen.first(&["AWS_AUTH_REGION"]), Some("one"));
        assert_eq!(chosen.first(&["AWS_ACCESS_KEY_ID"]), Some("AKI"));
        assert_eq!(chosen.first(&["AWS_SECRET_ACCESS_KEY"]), Some("with=sign"));
        assert_eq!(chosen.first(&["EC2_URL"]), Some("http://one/services/compute/"));
        assert_eq!(chosen.first(&["S3_URL"]), Some("http://one/services/objectstorage/"));
        assert_eq!(chosen.first(&["AWS_IAM_URL"]), Some("http://all/services/Euare/"));
        let admin = sample().choose(Some("000123:admin@one")).unwrap();
        assert_eq!(admin.first(&["AWS_ACCESS_KEY_ID"]), Some("AKI"));
        assert_eq!(admin.first(&["AWS_SECRET_ACCESS_KEY"]), Some("other"));
    }

    #[test]
    fn what_is_missing_is_named_with_what_there_is() {
        for (wanted, says) in [
            ("three", "the region three is unknown"),
            ("three", "it has defaults, one, two"),
            ("two", "the region two names no user"),
            ("two", "--region USER@two: there are 000123:admin, jo"),
            ("jo@two", "no s3-url in [region two]"),
            ("al@one", "no key-id in [user al]"),
        ] {
            let failure = sample().choose(Some(wanted)).unwrap_err();
            assert_eq!(failure.exit, crate::error::Exit::Usage);
            assert!(failure.to_string().contains(says), "{failure}");
        }
    }

    #[test]
    fn files_are_those_of_the_variable_or_of_the_home_in_the_order_of_their_names() {
        let home = tempfile::tempdir().unwrap();
        let euca = home.path().join(".euca");
        std::fs::create_dir(&euca).unwrap();
        for name in ["b.ini", "a.ini", "c.txt"] {
            std::fs::write(euca.join(name), "").unwrap();
        }
        let own = [euca.join("a.ini"), euca.join("b.ini")];
        assert!(paths(None, Some(home.path())).ends_with(&own));
        assert_eq!(paths(Some(euca.join("b*").into_os_string()), Some(home.path())), own[1..]);
    }

    #[test]
    fn a_circle_ends() {
        let mut read = Euca2ools::default();
        read.add("[region a]\nuse = b\n[region b]\nuse = a\n");
        assert_eq!(read.option("region", "a", "user"), None);
    }
}
