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
/// Variables that are read.
pub mod environment;
/// Failures and exit codes.
pub mod error;
/// Files that people write.
pub mod files;
/// Ctrl-C.
pub mod interrupt;
/// One run at a time.
pub mod lock;
/// How fast our own clocks go.
pub mod pace;
/// Order, differences, decisions.
pub mod plan;
/// Waiting for what no declaration names.
pub mod poll;
/// What a plan costs, by the user's own table.
pub mod prices;
/// A connection to a VM, by ssh.
pub mod remote;
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
/// Wrong calls.
pub mod usage;
/// cloud-init.
pub mod user_data;
/// The VMs of the stack, as people name them.
pub mod vms;
