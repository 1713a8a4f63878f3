//! Integration tests of `imagecrud-deploy`, run as the program that users run.

#![allow(
    clippy::redundant_closure_for_method_calls,
    reason = "the paths of the SDK's methods are four times as long as the closures"
)]
#![allow(clippy::unwrap_used, reason = "a test ends there")]

mod calls;
mod command_line;
mod fake_stack;
mod faulty_proxy;
mod interrupts;
mod lifecycle;
mod listing;
mod matrix;
mod moto;
mod screens;
mod whole_way;
