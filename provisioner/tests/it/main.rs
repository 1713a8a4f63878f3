//! Integration tests of `imagecrud-deploy`, run as the program that users run.

#![allow(
    clippy::redundant_closure_for_method_calls,
    reason = "the paths of the SDK's methods are four times as long as the closures"
)]
#![allow(clippy::unwrap_used, reason = "a test ends there")]

mod bad_answers;
mod bad_input;
mod behaviours;
mod calls;
mod command_line;
mod economy;
mod fake_stack;
mod faulty_proxy;
mod golden;
mod interrupts;
mod lifecycle;
mod listing;
mod looking;
mod matrix;
mod moto;
mod moto_stack;
mod releases;
mod round_trips;
mod screens;
mod side_by_side;
mod stage;
mod unknown_parameters;
mod versions;
mod vms;
mod whole_way;
mod whole_way_releases;
