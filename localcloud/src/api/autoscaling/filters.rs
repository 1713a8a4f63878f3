//! Filters of group and tag listings: name and values, of which one must match.

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Filter {
    pub name: String,
    #[serde(default)]
    pub values: Vec<String>,
}

impl Filter {
    pub fn admits(&self, value: &str) -> bool {
        self.values.iter().any(|wanted| wanted == value)
    }
}
