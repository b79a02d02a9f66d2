//! The program from outside: the real binary, real HTTP, real files, real signals.

mod access;
mod audit;
mod bad_input;
mod cli;
mod durability;
mod first_run;
mod keys;
mod openapi;
mod projects;
mod server;
mod support;
