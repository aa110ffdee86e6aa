//! How a step is exchanged with a server: its command, and what the reply means. The scripts describe both.

mod commands;
mod parts;
mod replies;
