//! `imagecrud-deploy`: brings IMAGE CRUD up on any EC2-compatible cloud. One declaration (`stack`), one trait
//! (`resource`), and walks over them. Knows the AWS APIs; must not know how any cloud works inside.

#![allow(
    clippy::redundant_closure_for_method_calls,
    reason = "the paths of the SDK's methods are four times as long as the closures"
)]

/// Command line types.
pub mod cli;
/// The cloud: clients, capabilities, errors.
pub mod cloud;
/// One file per command.
pub mod commands;
/// Settings.
pub mod config;
/// The walk of `up`.
pub mod converge;
/// The walk of `teardown`.
pub mod demolish;
/// Failures and exit codes.
pub mod error;
/// Ctrl-C.
pub mod interrupt;
/// How fast our own clocks go.
pub mod pace;
/// Order, differences, decisions.
pub mod plan;
/// Progress and results.
pub mod report;
/// The central trait.
pub mod resource;
/// The resources, one file each.
pub mod resources;
/// The declaration.
pub mod stack;
/// What only this machine knows.
pub mod state;
/// cloud-init.
pub mod user_data;
