//! The program from outside: the real binary, real HTTP, real files, real signals.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::default_trait_access,
    reason = "in a test, stopping with a message is how a failure is told"
)]

mod access;
mod audit;
mod backends;
mod backup;
mod bad_input;
mod cli;
mod cli_policies;
mod cluster;
mod connection_tests;
mod country_database;
mod durability;
mod first_run;
mod frontend;
mod gateways;
mod imported_keys;
mod keys;
mod limits;
mod migration;
mod offline;
mod openapi;
mod other_stores;
mod policies;
mod projects;
mod proxy;
mod proxy_addresses;
mod proxy_bad_input;
mod proxy_browsers;
mod proxy_http2;
mod proxy_injection;
mod proxy_limits;
mod proxy_sdks;
mod proxy_secrecy;
mod proxy_smuggling;
mod proxy_streams;
mod proxy_threats;
mod proxy_tls;
mod proxy_tokens;
mod raw_http;
mod read_through;
mod secret_files;
mod server;
mod service;
mod shared_limits;
mod support;
mod vault;
mod vault_clients;
mod vault_keys;
mod vault_memory;
mod vault_tokens;
mod verdict_codes;
mod web_socket;
mod webhook_app;
mod webhook_delivery;
mod webhook_nodes;
mod webhook_sdks;
mod webhooks;
