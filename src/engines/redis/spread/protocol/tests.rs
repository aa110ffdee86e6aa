//! What the protocol promises, on a model of the servers, and that the servers do what the model does.

mod actor;
mod case;
mod cases;
mod clear;
mod differential;
mod entry;
mod explorer;
mod ghost;
mod load;
mod load_cases;
mod manner;
mod model;
mod units;
mod world;
