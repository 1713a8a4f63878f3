//! EC2 from its actions down to the drivers, which are fakes here.

mod carried_out;
mod cloud;
mod clients;
mod worded;
