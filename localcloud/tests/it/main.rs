//! The crate's integration tests: one binary, one file per subject.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod auto_scaling;
mod bad_input;
mod behaviour;
mod cloudwatch;
mod disk_full;
mod ec2;
mod elb;
mod fake_world;
mod faults;
mod fuzz;
mod haproxy;
mod iam;
mod kill;
mod mortal;
mod network;
mod nspawn;
mod object_storage;
mod programs;
mod sandbox;
mod signed;
mod volumes;
