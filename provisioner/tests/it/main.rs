//! Integration tests of `imagecrud-deploy`, run as the program that users run.

mod command_line;
mod lifecycle;
mod moto;
