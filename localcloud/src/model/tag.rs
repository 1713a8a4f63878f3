//! Tags on any resource.

use std::collections::BTreeMap;

/// A resource's tags by key. At most 50, keys up to 127 characters
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html>).
pub type Tags = BTreeMap<String, String>;
