//! The client tools: plain HTTP against any server with the same routes. An exit code tells the truth; errors are sentences
//! with a hint; progress is for people at a terminal, on stderr.

/// Delete one or all.
pub mod delete;
/// Fetch the index and pictures.
pub mod get;
/// HTTP as all tools need it: names, retries, sentences.
pub mod http;
/// The pages of the index.
pub mod index;
/// How much and how fast.
pub mod pace;
/// Counting what many requests came to.
pub mod tally;
/// Upload one or many.
pub mod upload;
