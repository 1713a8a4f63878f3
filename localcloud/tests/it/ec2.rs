//! EC2 from its actions down to the drivers, which are fakes here.

mod carried_out;
pub(crate) mod clients;
mod cloud;
mod snapshots;
mod worded;
