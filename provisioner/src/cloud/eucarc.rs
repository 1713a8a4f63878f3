//! Reads an eucarc: a shell file of `export NAME=VALUE` lines. It is parsed, never executed; of the shell
//! only quotes and `${EUCA_KEY_DIR}` (and variables set above) are understood.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::Failure;
use crate::files;

/// The variables of an eucarc.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Eucarc(BTreeMap<String, String>);

impl Eucarc {
    /// Reads the file at a path.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = files::text(path).map_err(|why| {
            Failure::usage(format!("reading the credentials {}: {why}", path.display()))
                .hint("--credentials names the eucarc of your cloud")
        })?;
        let directory = path.parent().unwrap_or(Path::new("."));
        Ok(Self::parse(&text, &directory.to_string_lossy()))
    }

    /// Reads the text of an eucarc that lies in a directory.
    pub fn parse(text: &str, directory: &str) -> Self {
        let mut variables = BTreeMap::new();
        for line in text.lines() {
            let line = line.trim();
            let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
            let Some((name, value)) = line.split_once('=') else { continue };
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                continue;
            }
            // The genuine file computes its own place with $(cd $(dirname …); pwd): that is where it lies.
            let value = if name == "EUCA_KEY_DIR" { directory.to_owned() } else { expand(value, &variables) };
            variables.insert(name.to_owned(), value);
        }
        Self(variables)
    }

    /// What another file says in other words.
    pub fn from_variables(variables: BTreeMap<String, String>) -> Self {
        Self(variables)
    }

    /// The first of several names that is set and not empty.
    pub fn first(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.0.get(*name).map(String::as_str).filter(|value| !value.is_empty()))
    }

    /// As `require`, for an address.
    pub fn require_url(&self, names: &[&str]) -> Result<&str, Failure> {
        let url = self.require(names)?;
        let usable =
            reqwest::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if usable {
            return Ok(url);
        }
        Err(Failure::usage(format!("reading the credentials: {} is `{url}`, which is no address", names.join(" or ")))
            .hint("write it as http://HOST:PORT/PATH"))
    }

    /// As `first`, but it has to be there.
    pub fn require(&self, names: &[&str]) -> Result<&str, Failure> {
        self.first(names).ok_or_else(|| {
            Failure::usage(format!("reading the credentials: {} is not set in the eucarc", names.join(" or ")))
                .hint("download the credentials of your cloud again, or add the line `export NAME=value`")
        })
    }
}

/// Takes quotes off and puts variables in. Text in single quotes is taken as it is.
fn expand(raw: &str, variables: &BTreeMap<String, String>) -> String {
    let mut value = String::new();
    let mut characters = raw.trim().chars().peekable();
    let mut quote: Option<char> = None;
    while let Some(character) = characters.next() {
        match character {
            '\'' | '"' if quote.is_none() => quote = Some(character),
            _ if quote == Some(character) => quote = None,
            '\\' if quote != Some('\'') => value.extend(characters.next()),
            '#' | ';' if quote.is_none() => break,
            ' ' | '\t' if quote.is_none() => break,
            '$' if quote != Some('\'') => {
                let braced = characters.next_if_eq(&'{').is_some();
                let mut name = String::new();
                while let Some(next) = characters.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(next);
                }
                if braced {
                    characters.next_if_eq(&'}');
                }
                value.push_str(variables.get(&name).map_or("", String::as_str));
            }
            other => value.push(other),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"
# comment
EUCA_KEY_DIR=$(cd $(dirname ${BASH_SOURCE:-$0}); pwd -P)
export EC2_URL=http://10.1.1.1:8773/services/compute
export S3_URL="http://10.1.1.1:8773/services/objectstorage"   # where pictures go
export AWS_ACCESS_KEY_ID='AKI$NOT'
export EC2_CERT=${EUCA_KEY_DIR}/cert.pem
export AWS_SECRET_ACCESS_KEY="a\"b"
alias ec2-bundle-image="ec2-bundle-image --cert ${EC2_CERT}"
export EMPTY=
rm -rf $(echo /)
"#;

    #[test]
    fn quotes_comments_and_the_key_directory_are_understood() {
        let eucarc = Eucarc::parse(SAMPLE, "/keys");
        assert_eq!(eucarc.first(&["EC2_URL"]), Some("http://10.1.1.1:8773/services/compute"));
        assert_eq!(eucarc.first(&["S3_URL"]), Some("http://10.1.1.1:8773/services/objectstorage"));
        assert_eq!(eucarc.first(&["AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID"]), Some("AKI$NOT"));
        assert_eq!(eucarc.first(&["EC2_CERT"]), Some("/keys/cert.pem"));
        assert_eq!(eucarc.first(&["AWS_SECRET_ACCESS_KEY"]), Some("a\"b"));
    }

    #[test]
    fn a_missing_name_is_named() {
        let failure = Eucarc::parse(SAMPLE, "/keys").require(&["EMPTY", "TOKEN_URL"]).unwrap_err().to_string();
        assert!(failure.contains("EMPTY or TOKEN_URL is not set"), "{failure}");
    }
}
