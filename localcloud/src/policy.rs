//! Policies: documents are read, and requests are held against them. Pure: no service, no records, no wire.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies.html>

/// Conditions under which a statement counts.
pub mod condition;
/// What a request is, beside its action and resource.
pub mod context;
/// Documents as they are written.
pub mod document;
/// Who may what: several documents, one answer.
pub mod evaluate;
/// Whose request it is, and what their policies say.
pub mod identity;
/// Wildcards and variables.
pub mod pattern;
/// Whom a statement of a resource's policy means.
pub mod principal;

pub use context::Context;
pub use document::{Document, Kind};
pub use evaluate::{Refusal, Request, Source};
pub use identity::Identity;
