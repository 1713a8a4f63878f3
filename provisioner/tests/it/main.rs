//! Integration tests of `imagecrud-deploy`, run as the program that users run.

#![allow(
    clippy::redundant_closure_for_method_calls,
    reason = "the paths of the SDK's methods are four times as long as the closures"
)]
#![allow(clippy::unwrap_used, reason = "a test ends there")]

mod behaviours;
mod command_line;
mod lifecycle;
mod moto;
mod releases;
mod whole_way;
mod whole_way_releases;
